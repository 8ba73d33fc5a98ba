//! What the cluster tells of its own API server, and the ranges of service addresses.

mod support;

use serde_json::{Value, json};
use support::{World, condition};

const RANGES: (&str, &str) = ("networking.k8s.io", "servicecidrs");

#[tokio::test(start_paused = true)]
async fn the_service_kubernetes_leads_to_the_api_server_and_is_put_back() {
    let world = World::start().await;
    let service = world.until("the service", || world.get("", "services", "default", "kubernetes")).await;
    assert_eq!((&service["spec"]["clusterIP"], &service["spec"]["ports"][0]["targetPort"]), (&json!("10.96.0.1"), &json!(6443)));
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    assert_eq!(service["metadata"]["labels"], labels);
    let endpoints = || world.get("", "endpoints", "default", "kubernetes");
    let subsets = json!([{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]}]);
    let first = world.until("endpoints", endpoints).await;
    assert_eq!(first["subsets"], subsets);
    let slice = world.until("a slice", || world.get("discovery.k8s.io", "endpointslices", "default", "kubernetes")).await;
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["192.0.2.1"]));
    assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "kubernetes");

    // Nobody mirrors it, and whatever is done to it does not last.
    world.patch("", "endpoints", "default", "kubernetes", json!({"subsets": []})).await;
    world.delete("", "services", "default", "kubernetes", None).await;
    world.until("right endpoints", || async { endpoints().await.filter(|endpoints| endpoints["subsets"] == subsets) }).await;
    let uid = |object: &Value| object["metadata"]["uid"].clone();
    let old = uid(&service);
    let new = || async { world.get("", "services", "default", "kubernetes").await.filter(|service| uid(service) != old) };
    assert_eq!(world.until("a new service", new).await["spec"]["clusterIP"], "10.96.0.1");
    let slices = world.list("discovery.k8s.io", "endpointslices", "default").await;
    assert_eq!(slices.len(), 1, "{slices:?}");
}

#[tokio::test(start_paused = true)]
async fn the_record_of_an_address_is_put_back_and_removed_as_services_have_it() {
    let world = World::start().await;
    let service =
        world.create("", "services", "default", json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}})).await;
    let address = service["spec"]["clusterIP"].as_str().expect("an address").to_owned();
    let record = |name: String| {
        let world = &world;
        async move { world.get(RANGES.0, "ipaddresses", "", &name).await }
    };
    let first = record(address.clone()).await.expect("came with the service");
    world.delete(RANGES.0, "ipaddresses", "", &address, None).await;
    let again = || async { record(address.clone()).await.filter(|again| again["metadata"]["uid"] != first["metadata"]["uid"]) };
    let again = world.until("another record", again).await;
    assert_eq!((&again["spec"], &again["metadata"]["labels"]), (&first["spec"], &first["metadata"]["labels"]));
    world.delete("", "services", "default", "a", None).await;
    assert!(record(address.clone()).await.is_none(), "goes with the service");

    // One that no service has goes; one that somebody made by hand is somebody's.
    let parent = json!({"parentRef": {"resource": "services", "namespace": "default", "name": "gone"}});
    let own = json!({"metadata": {"name": "10.96.7.7"}, "spec": parent});
    world.create(RANGES.0, "ipaddresses", "", own).await;
    let labels = json!({"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"});
    world.create(RANGES.0, "ipaddresses", "", json!({"metadata": {"name": "10.96.7.8", "labels": labels}, "spec": parent})).await;
    world.until("the orphan is gone", || async { record("10.96.7.8".to_owned()).await.is_none().then_some(()) }).await;
    assert!(record("10.96.7.7".to_owned()).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_range_stays_until_no_address_needs_it() {
    let world = World::start().await;
    let range = |name: &'static str| world.get(RANGES.0, RANGES.1, "", name);
    let ready = |name: &'static str, status: &'static str| async move {
        range(name).await.filter(|range| condition(range, "Ready").is_some_and(|ready| ready["status"] == status))
    };
    world.until("the default range", || ready("kubernetes", "True")).await;
    world.create(RANGES.0, RANGES.1, "", json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.50.0.0/24"]}})).await;
    world.until("another range", || ready("more", "True")).await;
    let service = json!({"metadata": {"name": "a"}, "spec": {"clusterIP": "10.50.0.9", "ports": [{"port": 80}]}});
    world.create("", "services", "default", service).await;
    world.delete(RANGES.0, RANGES.1, "", "more", None).await;
    let waiting = world.until("a range that waits", || ready("more", "False")).await;
    assert_eq!(condition(&waiting, "Ready").expect("is there")["reason"], "Terminating");
    world.delete("", "services", "default", "a", None).await;
    world.until("the range is gone", || async { range("more").await.is_none().then_some(()) }).await;
}

#[tokio::test(start_paused = true)]
async fn ingresses_get_the_class_of_the_nodes_proxies_and_their_addresses() {
    const GROUP: &str = "networking.k8s.io";
    let world = World::start().await;
    world.add_node("edge").await;
    let rules = json!({"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}});
    let make = |name: &'static str, spec: Value| {
        world.create(GROUP, "ingresses", "default", json!({"metadata": {"name": name}, "spec": spec}))
    };
    let early = make("early", rules.clone()).await;
    assert_eq!(early["spec"]["ingressClassName"], Value::Null, "there is no class yet");
    let announce = |addresses: Value| {
        let annotation = json!({"metadata": {"annotations": {"mizzen.dev/ingress-addresses": addresses}}});
        world.patch("", "nodes", "", "edge", annotation)
    };
    announce(json!("192.0.2.7,edge.example")).await;
    let class = world.until("the class", || world.get(GROUP, "ingressclasses", "", "mizzen")).await;
    assert_eq!(class["spec"]["controller"], "mizzen.dev/ingress");
    assert_eq!(make("late", rules.clone()).await["spec"]["ingressClassName"], "mizzen");
    let mut foreign = rules;
    foreign["ingressClassName"] = json!("other");
    make("foreign", foreign).await;

    let told = |name: &'static str, expected: Value| {
        let world = &world;
        async move {
            world
                .until(name, || async {
                    let ingress = world.get(GROUP, "ingresses", "default", name).await?;
                    let points = ingress.pointer("/status/loadBalancer/ingress").cloned().unwrap_or_else(|| json!([]));
                    (points == expected).then_some(())
                })
                .await;
        }
    };
    let both = json!([{"ip": "192.0.2.7"}, {"hostname": "edge.example"}]);
    told("early", both.clone()).await;
    told("late", both).await;
    announce(json!("192.0.2.8")).await;
    told("late", json!([{"ip": "192.0.2.8"}])).await;
    world.silent.lock().insert("edge".to_owned());
    told("late", json!([])).await;
    world.silent.lock().remove("edge");
    told("early", json!([{"ip": "192.0.2.8"}])).await;
    told("foreign", json!([])).await;

    // A class that is taken away comes back while there is a proxy.
    world.delete(GROUP, "ingressclasses", "", "mizzen", None).await;
    world.until("the class is back", || world.get(GROUP, "ingressclasses", "", "mizzen")).await;
    announce(Value::Null).await;
    told("late", json!([])).await;
}
