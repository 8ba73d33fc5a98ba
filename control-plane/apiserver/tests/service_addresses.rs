//! Addresses and node ports of services, in process.

mod support;

use std::collections::BTreeSet;

use futures::future::join_all;
use mizzen_api::Reason;
use mizzen_client::{ApiRequest, Client, DeleteOptions, PatchKind, WriteOptions};
use serde_json::{Value, json};
use support::{gvr, server};

fn services() -> mizzen_api::GroupVersionResource {
    gvr("", "v1", "services")
}

async fn create(client: &dyn Client, name: &str, spec: Value) -> Result<Value, mizzen_api::Status> {
    let service = json!({"metadata": {"name": name}, "spec": spec});
    let written = client.write(ApiRequest::create(&services(), "default", service)).await?;
    Ok(written.object.value().expect("JSON"))
}

async fn patch(client: &dyn Client, name: &str, patch: Value) -> Result<Value, mizzen_api::Status> {
    let written = client.write(ApiRequest::patch(&services(), "default", name, PatchKind::Merge, patch)).await?;
    Ok(written.object.value().expect("JSON"))
}

async fn is_taken(client: &dyn Client, address: &Value) -> bool {
    client.get(&gvr("networking.k8s.io", "v1", "ipaddresses"), "", address.as_str().expect("an address")).await.is_ok()
}

#[tokio::test]
async fn a_service_gets_an_address_that_goes_back_with_it() {
    let (_server, client) = server().await;
    let service = create(client.as_ref(), "a", json!({"ports": [{"port": 80}]})).await.expect("creates");
    let address = service["spec"]["clusterIP"].clone();
    assert!(address.as_str().is_some_and(|address| address.starts_with("10.96.")), "{address}");
    assert_eq!(service["spec"]["clusterIPs"], json!([address]));
    assert_eq!((&service["spec"]["ipFamilies"], &service["spec"]["ipFamilyPolicy"]), (&json!(["IPv4"]), &json!("SingleStack")));
    assert!(is_taken(client.as_ref(), &address).await);

    let same = create(client.as_ref(), "b", json!({"clusterIP": address, "ports": [{"port": 80}]})).await.expect_err("is taken");
    assert_eq!((same.reason, same.code), (Reason::Invalid, 422));
    assert!(same.message.contains("provided IP is already allocated"), "{}", same.message);
    let outside =
        create(client.as_ref(), "b", json!({"clusterIP": "10.1.1.1", "ports": [{"port": 80}]})).await.expect_err("is outside");
    assert!(outside.message.contains("the provided network does not match the current range"), "{}", outside.message);

    client.write(ApiRequest::delete(&services(), "default", "a", DeleteOptions::default())).await.expect("deletes");
    assert!(!is_taken(client.as_ref(), &address).await);
    create(client.as_ref(), "b", json!({"clusterIP": address, "ports": [{"port": 80}]})).await.expect("is free again");
}

#[tokio::test]
async fn no_two_services_have_the_same_address_or_node_port_however_many_come_at_once() {
    let (_server, client) = server().await;
    let names: Vec<String> = (0..200).map(|number| format!("s{number}")).collect();
    let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
    let made = join_all(names.iter().map(|name| create(client.as_ref(), name, spec.clone()))).await;
    let made: Vec<_> = made.into_iter().map(|made| made.expect("creates")).collect();
    let distinct =
        |pointer: &str| made.iter().filter_map(|made| made.pointer(pointer)).map(Value::to_string).collect::<BTreeSet<_>>().len();
    assert_eq!((distinct("/spec/clusterIP"), distinct("/spec/ports/0/nodePort")), (200, 200));
    // Two who ask for the same: one has it.
    let spec = json!({"clusterIP": "10.96.0.10", "ports": [{"port": 80}]});
    let both = join_all(["x", "y"].map(|name| create(client.as_ref(), name, spec.clone()))).await;
    assert_eq!(both.iter().filter(|made| made.is_ok()).count(), 1);
}

#[tokio::test]
async fn headless_and_external_services_have_no_address_and_a_change_of_type_gives_or_takes_them() {
    let (_server, client) = server().await;
    let client = client.as_ref();
    let headless = create(client, "headless", json!({"clusterIP": "None", "selector": {"a": "b"}})).await.expect("creates");
    assert_eq!((&headless["spec"]["clusterIPs"], &headless["spec"]["ipFamilyPolicy"]), (&json!(["None"]), &json!("SingleStack")));
    let by_hand = create(client, "by-hand", json!({"clusterIP": "None"})).await.expect("creates");
    assert_eq!(by_hand["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]), "whoever fills it in knows");
    let external = create(client, "x", json!({"type": "ExternalName", "externalName": "example.com"})).await.expect("creates");
    assert_eq!(external["spec"].get("clusterIP"), None);

    let given = json!({"spec": {"type": "NodePort", "externalName": null, "ports": [{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]}});
    let given = patch(client, "x", given).await.expect("becomes a node port");
    let (address, port) = (given["spec"]["clusterIP"].clone(), given["spec"]["ports"][0]["nodePort"].clone());
    assert!(is_taken(client, &address).await && port.as_u64().is_some_and(|port| (30000..=32767).contains(&port)));
    assert_eq!(given["spec"]["ports"][1]["nodePort"], port, "the same port of two protocols has one node port");

    let plain = patch(client, "x", json!({"spec": {"type": "ClusterIP"}})).await.expect("becomes plain");
    assert_eq!((&plain["spec"]["clusterIP"], plain["spec"]["ports"][0].get("nodePort")), (&address, None));
    create(client, "y", json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": port}]}))
        .await
        .expect("the port is free again");
    let refused = patch(client, "x", json!({"spec": {"type": "NodePort", "ports": [{"port": 1, "nodePort": port}]}})).await;
    assert!(refused.expect_err("is taken").message.contains("provided port is already allocated"));
    let changed = patch(client, "x", json!({"spec": {"clusterIP": "10.96.9.9"}})).await.expect_err("may not change");
    assert!(changed.message.contains("may not change once set"), "{}", changed.message);

    let again =
        patch(client, "x", json!({"spec": {"type": "ExternalName", "externalName": "example.com"}})).await.expect("is external");
    assert_eq!(again["spec"].get("clusterIP"), None);
    assert!(!is_taken(client, &address).await);
}

#[tokio::test]
async fn a_dry_run_takes_nothing_and_a_port_out_of_range_is_refused() {
    let (_server, client) = server().await;
    let service = json!({"metadata": {"name": "dry"}, "spec": {"ports": [{"port": 80}]}});
    let mut request = ApiRequest::create(&services(), "default", service);
    request.write = WriteOptions { dry_run: true, ..request.write };
    let shown = client.write(request).await.expect("would create").object.value().expect("JSON");
    assert!(!is_taken(client.as_ref(), &shown["spec"]["clusterIP"]).await);
    let low = create(client.as_ref(), "low", json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]})).await;
    assert!(low.expect_err("is low").message.contains("The range of valid ports is 30000-32767"));
}

#[tokio::test]
async fn a_load_balancer_that_keeps_traffic_on_the_node_has_a_port_to_ask_for_its_health() {
    let (_server, client) = server().await;
    let client = client.as_ref();
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
    let service = create(client, "lb", spec).await.expect("creates");
    let port = service["spec"]["healthCheckNodePort"].clone();
    assert!(port.as_u64().is_some_and(|port| port >= 30000) && port != service["spec"]["ports"][0]["nodePort"], "{service}");
    let taken = create(client, "np", json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": port}]})).await;
    assert_eq!(taken.expect_err("is taken").code, 422);
    // An update that does not mention them keeps both.
    let kept =
        patch(client, "lb", json!({"spec": {"healthCheckNodePort": null, "ports": [{"port": 81}]}})).await.expect("updates");
    assert_eq!(kept["spec"]["healthCheckNodePort"], port);
    assert_eq!(kept["spec"]["ports"][0]["nodePort"], service["spec"]["ports"][0]["nodePort"]);
    let plain = patch(client, "lb", json!({"spec": {"type": "ClusterIP"}})).await.expect("becomes plain");
    for field in ["healthCheckNodePort", "allocateLoadBalancerNodePorts", "externalTrafficPolicy"] {
        assert_eq!(plain["spec"].get(field), None, "{field} went with the type");
    }
    create(client, "np", json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": port}]})).await.expect("is free again");
}

#[tokio::test]
async fn addresses_come_from_every_range_that_is_there_and_go_back_when_a_finalizer_lets_the_service_go() {
    let (_server, client) = server().await;
    let client = client.as_ref();
    let ranges = gvr("networking.k8s.io", "v1", "servicecidrs");
    let more = json!({"clusterIP": "10.50.0.3", "ports": [{"port": 80}]});
    create(client, "early", more.clone()).await.expect_err("no range has it");
    for (name, range) in [("kubernetes", "10.96.0.0/30"), ("more", "10.50.0.0/29")] {
        let range = json!({"metadata": {"name": name}, "spec": {"cidrs": [range]}});
        client.write(ApiRequest::create(&ranges, "", range)).await.expect("creates");
    }
    let service = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}, "spec": more});
    client.write(ApiRequest::create(&services(), "default", service)).await.expect("creates");
    // One of three in the first (its lowest is reserved), five more in the second; then nothing is left.
    for number in 0..6 {
        create(client, &format!("s{number}"), json!({"ports": [{"port": 80}]})).await.expect("creates");
    }
    let full = create(client, "full", json!({"ports": [{"port": 80}]})).await.expect_err("nothing is left");
    assert_eq!(
        (full.code, full.message.as_str()),
        (500, "Internal error occurred: failed to allocate a serviceIP: range is full")
    );

    client.write(ApiRequest::delete(&services(), "default", "held", DeleteOptions::default())).await.expect("is marked");
    assert!(is_taken(client, &json!("10.50.0.3")).await, "it is held still");
    patch(client, "held", json!({"metadata": {"finalizers": null}})).await.expect("lets go");
    assert!(!is_taken(client, &json!("10.50.0.3")).await);
    create(client, "full", json!({"ports": [{"port": 80}]})).await.expect("has the one that went");
}
