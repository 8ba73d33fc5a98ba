//! Where services lead, through the real pipeline.

mod support;

use mizzen_client::{ApiRequest, PatchKind};
use serde_json::{Value, json};
use support::{World, gvr};

const SLICES: (&str, &str) = ("discovery.k8s.io", "endpointslices");

fn service(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "labels": {"own": "yes"}}, "spec": spec})
}

async fn add_pod(world: &World, name: &str, ip: &str, port: i32) {
    let container = json!({"name": "main", "image": "a:1", "ports": [{"name": "http", "containerPort": port}]});
    let pod = json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": [container]}});
    world.create("", "pods", "default", pod).await;
    report(world, name, ip, "True").await;
}

async fn report(world: &World, name: &str, ip: &str, ready: &str) {
    let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let request = ApiRequest::patch(&gvr("", "pods"), "default", name, PatchKind::Strategic, status).subresource("status");
    world.client.write(request).await.expect("the status is stored");
}

async fn slices_of(world: &World, service: &str) -> Vec<Value> {
    let mut slices = world.list(SLICES.0, SLICES.1, "default").await;
    slices.retain(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service);
    slices
}

/// Addresses and whether they are ready, of all slices of a service.
async fn told(world: &World, service: &str) -> Vec<(String, bool)> {
    let mut told: Vec<_> = slices_of(world, service)
        .await
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default())
        .map(|endpoint| (endpoint["addresses"][0].as_str().unwrap_or("").to_owned(), endpoint["conditions"]["ready"] == true))
        .collect();
    told.sort();
    told
}

async fn until_told(world: &World, service: &str, expected: &[(&str, bool)]) {
    let expected: Vec<_> = expected.iter().map(|(ip, ready)| ((*ip).to_owned(), *ready)).collect();
    world
        .until(&format!("the slices of {service} tell {expected:?}"), || async {
            (told(world, service).await == expected).then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_matches_no_pods_has_an_empty_slice_and_empty_endpoints_until_it_goes() {
    let world = World::start().await;
    let spec = json!({"selector": {"app": "none"}, "ports": [{"port": 80}]});
    world.create("", "services", "default", service("web", spec)).await;
    let slice = world.until("its slice", || async { slices_of(&world, "web").await.pop() }).await;
    let labels = &slice["metadata"]["labels"];
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.k8s.io");
    assert_eq!((&labels["own"], &slice["endpoints"].as_array().map_or(0, Vec::len)), (&json!("yes"), &0));
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    let endpoints = world.until("its endpoints", || world.get("", "endpoints", "default", "web")).await;
    assert_eq!(endpoints["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"], "endpoint-controller");
    world.delete("", "services", "default", "web", None).await;
    world
        .until("both are gone", || async {
            let gone = slices_of(&world, "web").await.is_empty() && world.get("", "endpoints", "default", "web").await.is_none();
            gone.then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn slices_and_endpoints_follow_the_pods() {
    let world = World::start().await;
    let spec = json!({"selector": {"app": "web"}, "ports": [{"name": "web", "port": 80, "targetPort": "http"}]});
    world.create("", "services", "default", service("web", spec)).await;
    add_pod(&world, "a", "10.0.0.1", 8080).await;
    add_pod(&world, "b", "10.0.0.2", 8080).await;
    until_told(&world, "web", &[("10.0.0.1", true), ("10.0.0.2", true)]).await;
    let slices = slices_of(&world, "web").await;
    assert_eq!(slices.len(), 1);
    assert_eq!(slices[0]["ports"], json!([{"name": "web", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(slices[0]["endpoints"][0]["targetRef"]["kind"], "Pod");

    report(&world, "b", "10.0.0.2", "False").await;
    until_told(&world, "web", &[("10.0.0.1", true), ("10.0.0.2", false)]).await;
    let endpoints = world
        .until("the endpoints say so too", || async {
            let endpoints = world.get("", "endpoints", "default", "web").await?;
            endpoints.pointer("/subsets/0/notReadyAddresses/0").is_some().then_some(endpoints)
        })
        .await;
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "10.0.0.1");
    assert_eq!(endpoints["subsets"][0]["notReadyAddresses"][0]["ip"], "10.0.0.2");
    assert_eq!(endpoints["subsets"][0]["ports"], json!([{"name": "web", "port": 8080, "protocol": "TCP"}]));

    world.patch("", "pods", "default", "b", json!({"metadata": {"labels": {"app": "other"}}})).await;
    until_told(&world, "web", &[("10.0.0.1", true)]).await;
    assert_eq!(slices_of(&world, "web").await[0]["metadata"]["name"], slices[0]["metadata"]["name"]);

    add_pod(&world, "c", "10.0.0.3", 9090).await;
    until_told(&world, "web", &[("10.0.0.1", true), ("10.0.0.3", true)]).await;
    assert_eq!(slices_of(&world, "web").await.len(), 2, "another port is another slice");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_or_spoilt_slice_is_put_right() {
    let world = World::start().await;
    let spec = json!({"selector": {"app": "web"}, "clusterIP": "None", "ports": [{"port": 80}]});
    world.create("", "services", "default", service("web", spec)).await;
    add_pod(&world, "a", "10.0.0.1", 8080).await;
    until_told(&world, "web", &[("10.0.0.1", true)]).await;
    let slice = slices_of(&world, "web").await.remove(0);
    assert_eq!(slice["metadata"]["labels"]["service.kubernetes.io/headless"], "");
    let name = slice["metadata"]["name"].as_str().expect("has a name");
    world.patch(SLICES.0, SLICES.1, "default", name, json!({"endpoints": []})).await;
    until_told(&world, "web", &[("10.0.0.1", true)]).await;
    world.delete(SLICES.0, SLICES.1, "default", name, None).await;
    world.delete("", "endpoints", "default", "web", None).await;
    until_told(&world, "web", &[("10.0.0.1", true)]).await;
    world.until("the endpoints are back", || world.get("", "endpoints", "default", "web")).await;
}

#[tokio::test(start_paused = true)]
async fn many_pods_share_slices_of_a_hundred() {
    let world = World::start().await;
    for number in 0..120 {
        add_pod(&world, &format!("p{number}"), &format!("10.0.1.{number}"), 80).await;
    }
    world.create("", "services", "default", service("web", json!({"selector": {"app": "web"}, "ports": [{"port": 80}]}))).await;
    world.until("all are told", || async { (told(&world, "web").await.len() == 120).then_some(()) }).await;
    let mut sizes: Vec<_> =
        slices_of(&world, "web").await.iter().map(|slice| slice["endpoints"].as_array().map_or(0, Vec::len)).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [20, 100]);
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_somebody_wrote_are_mirrored_through_create_update_and_delete() {
    let world = World::start().await;
    world.create("", "services", "default", service("own", json!({"ports": [{"port": 80}]}))).await;
    let subsets = json!([{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}]);
    let written = json!({"metadata": {"name": "own", "labels": {"mine": "yes"}}, "subsets": subsets});
    world.create("", "endpoints", "default", written.clone()).await;
    until_told(&world, "own", &[("10.1.2.3", true)]).await;
    let slice = slices_of(&world, "own").await.remove(0);
    let labels = &slice["metadata"]["labels"];
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "endpointslicemirroring-controller.k8s.io");
    assert_eq!((&labels["mine"], &slice["ports"]), (&json!("yes"), &json!([{"name": "http", "port": 80, "protocol": "TCP"}])));

    let changed = json!({"subsets": [{"notReadyAddresses": [{"ip": "10.2.3.4"}], "ports": [{"name": "http", "port": 80}]}]});
    world.patch("", "endpoints", "default", "own", changed).await;
    until_told(&world, "own", &[("10.2.3.4", false)]).await;

    world
        .patch(
            "",
            "endpoints",
            "default",
            "own",
            json!({"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}}),
        )
        .await;
    until_told(&world, "own", &[]).await;
    world
        .patch(
            "",
            "endpoints",
            "default",
            "own",
            json!({"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": null}}}),
        )
        .await;
    until_told(&world, "own", &[("10.2.3.4", false)]).await;
    world.delete("", "endpoints", "default", "own", None).await;
    world.until("the slices are gone", || async { slices_of(&world, "own").await.is_empty().then_some(()) }).await;
    // Endpoints that belong to no service are nobody's business.
    let alone = json!({"metadata": {"name": "alone"}, "subsets": written["subsets"]});
    world.create("", "endpoints", "default", alone).await;
    world.create("", "endpoints", "default", written).await;
    until_told(&world, "own", &[("10.1.2.3", true)]).await;
    assert!(world.get("", "endpoints", "default", "alone").await.is_some());
}
