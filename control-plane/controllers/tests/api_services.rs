//! APIServices that the server keeps itself, through the real pipeline.

mod support;

use serde_json::{Value, json};
use support::{World, condition};

const GROUP: &str = "apiregistration.k8s.io";
const LABEL: &str = "/metadata/labels/kube-aggregator.kubernetes.io~1automanaged";

async fn until_there(world: &World, name: &str) -> Value {
    world.until(&format!("apiservice {name}"), || async { world.get(GROUP, "apiservices", "", name).await }).await
}

fn definition() -> Value {
    json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
            {"name": "v2", "served": false, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
}

#[tokio::test(start_paused = true)]
async fn every_built_in_group_version_has_one_that_is_available() {
    let world = World::start().await;
    for (name, priority) in [("v1.", 18_000), ("v1.apps", 17_800), ("v2.autoscaling", 17_500)] {
        let service = until_there(&world, name).await;
        assert_eq!(service.pointer(LABEL), Some(&json!("onstart")), "{name}");
        assert_eq!(service["spec"]["groupPriorityMinimum"], priority, "{name}");
        assert_eq!(condition(&service, "Available").map(|c| c["reason"].clone()), Some(json!("Local")), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_custom_group_version_has_one_as_long_as_it_is_served() {
    let world = World::start().await;
    world.create("apiextensions.k8s.io", "customresourcedefinitions", "", definition()).await;
    let service = until_there(&world, "v1.example.com").await;
    assert_eq!(service.pointer(LABEL), Some(&json!("true")));
    assert_eq!((&service["spec"]["groupPriorityMinimum"], &service["spec"]["versionPriority"]), (&json!(1000), &json!(100)));
    assert!(world.get(GROUP, "apiservices", "", "v2.example.com").await.is_none(), "the version is not served");
    world.delete(GROUP, "apiservices", "", "v1.example.com", None).await;
    until_there(&world, "v1.example.com").await;
    world.delete("apiextensions.k8s.io", "customresourcedefinitions", "", "widgets.example.com", None).await;
    world
        .until("its APIService is gone", || async {
            world.get(GROUP, "apiservices", "", "v1.example.com").await.is_none().then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn api_servers_of_others_find_whom_to_believe() {
    let world = World::start().await;
    let map = world
        .until("the trust is published", || async {
            world.get("", "configmaps", "kube-system", "extension-apiserver-authentication").await
        })
        .await;
    assert_eq!(map["data"]["client-ca-file"], "the root");
    assert_eq!(map["data"]["requestheader-client-ca-file"], "the front proxy's root");
    assert_eq!(map["data"]["requestheader-allowed-names"], "[\"front-proxy-client\"]");
}
