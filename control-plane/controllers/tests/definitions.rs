//! Custom resource definitions through the real pipeline.

mod support;

use mizzen_client::Propagation;
use serde_json::{Value, json};
use support::{World, condition};

const GROUP: &str = "apiextensions.k8s.io";
const DEFINITIONS: &str = "customresourcedefinitions";

fn definition(plural: &str, kind: &str, scope: &str) -> Value {
    json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com", "scope": scope,
        "names": {"plural": plural, "kind": kind, "shortNames": ["x"]},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
}

fn widget(metadata: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata})
}

async fn until_condition(world: &World, name: &str, kind: &str, status: &str) -> Value {
    world
        .until(&format!("{name} is {kind}={status}"), || async {
            let definition = world.get(GROUP, DEFINITIONS, "", name).await?;
            (condition(&definition, kind)?["status"] == status).then_some(definition)
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn a_definition_is_established_and_takes_its_objects_along_when_it_goes() {
    let world = World::start().await;
    world.create(GROUP, DEFINITIONS, "", definition("widgets", "Widget", "Namespaced")).await;
    let established = until_condition(&world, "widgets.example.com", "Established", "True").await;
    assert_eq!(condition(&established, "NamesAccepted").map(|c| c["reason"].clone()), Some(json!("NoConflicts")));
    assert_eq!(established["status"]["acceptedNames"]["listKind"], "WidgetList");
    world.create("example.com", "widgets", "default", widget(&json!({"name": "a"}))).await;
    let held = widget(&json!({"name": "held", "finalizers": ["example.com/hold"]}));
    world.create("example.com", "widgets", "default", held).await;
    world.delete(GROUP, DEFINITIONS, "", "widgets.example.com", None).await;
    world
        .until("only what is held is left", || async {
            let left = world.list("example.com", "widgets", "default").await;
            (left.len() == 1).then_some(())
        })
        .await;
    let terminating = until_condition(&world, "widgets.example.com", "Terminating", "True").await;
    assert!(terminating["metadata"]["deletionTimestamp"].is_string());
    world.patch("example.com", "widgets", "default", "held", json!({"metadata": {"finalizers": null}})).await;
    world
        .until("the definition is gone", || async {
            world.get(GROUP, DEFINITIONS, "", "widgets.example.com").await.is_none().then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn names_in_use_are_refused_until_they_are_free() {
    let world = World::start().await;
    world.create(GROUP, DEFINITIONS, "", definition("widgets", "Widget", "Namespaced")).await;
    until_condition(&world, "widgets.example.com", "Established", "True").await;
    world.create(GROUP, DEFINITIONS, "", definition("gadgets", "Gadget", "Cluster")).await;
    let refused = until_condition(&world, "gadgets.example.com", "NamesAccepted", "False").await;
    let why = condition(&refused, "NamesAccepted").expect("stands");
    assert_eq!((&why["reason"], &why["message"]), (&json!("ShortNamesConflict"), &json!("\"x\" is already in use")));
    assert_eq!(condition(&refused, "Established").map(|c| c["reason"].clone()), Some(json!("NotAccepted")));
    world.delete(GROUP, DEFINITIONS, "", "widgets.example.com", None).await;
    until_condition(&world, "gadgets.example.com", "Established", "True").await;
}

#[tokio::test(start_paused = true)]
async fn custom_objects_go_with_their_owner_and_their_namespace() {
    let world = World::start().await;
    world.create(GROUP, DEFINITIONS, "", definition("widgets", "Widget", "Namespaced")).await;
    until_condition(&world, "widgets.example.com", "Established", "True").await;
    let owner = world.create("example.com", "widgets", "default", widget(&json!({"name": "owner"}))).await;
    let reference = json!({"apiVersion": "example.com/v1", "kind": "Widget", "name": "owner", "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": true});
    let owned = |name: &str| json!({"name": name, "ownerReferences": [reference]});
    world.create("", "configmaps", "default", json!({"metadata": owned("map")})).await;
    world.create("example.com", "widgets", "default", widget(&owned("below"))).await;
    world.delete("example.com", "widgets", "default", "owner", Some(Propagation::Background)).await;
    world
        .until("both are collected", || async {
            let gone = world.get("", "configmaps", "default", "map").await.is_none()
                && world.get("example.com", "widgets", "default", "below").await.is_none();
            gone.then_some(())
        })
        .await;
    world.create("", "namespaces", "", json!({"metadata": {"name": "team"}})).await;
    world.create("example.com", "widgets", "team", widget(&json!({"name": "inside"}))).await;
    world.delete("", "namespaces", "", "team", None).await;
    world
        .until("the namespace is gone", || async { world.get("", "namespaces", "", "team").await.is_none().then_some(()) })
        .await;
    assert!(world.get("example.com", "widgets", "team", "inside").await.is_none());
}
