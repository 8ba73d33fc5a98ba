//! Each rule of ownership by create, update and patch.

use serde_json::json;

use super::World;
use crate::test_schema::deployment;

#[test]
fn whoever_creates_owns_everything() {
    let mut world = World::new();
    let object = deployment(
        json!({"labels": {"a": "1"}, "uid": "u"}),
        json!({"replicas": 1, "containers": [{"name": "x", "resources": {}}]}),
    );
    world.write("creator", "", |new| *new = object);
    assert_eq!(
        world.fields("creator"),
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:resources": {}}}},
        })
    );
    assert_eq!(world.managers(), ["creator/Update"]);
}

#[test]
fn what_changes_moves_and_what_is_removed_is_nobodys() {
    let mut world = World::new();
    world.apply("a", &deployment(json!({"labels": {"x": "1", "y": "1"}}), json!({"replicas": 1, "paused": true})));
    world.write("b", "", |new| {
        new["spec"] = json!({"replicas": 2});
        new["metadata"]["labels"] = json!({"x": "1", "z": "1"});
    });
    assert_eq!(world.fields("a"), json!({"f:metadata": {"f:labels": {"f:x": {}}}}));
    assert_eq!(world.fields("b"), json!({"f:metadata": {"f:labels": {"f:z": {}}}, "f:spec": {"f:replicas": {}}}));
}

#[test]
fn an_update_without_change_leaves_the_entries_alone() {
    let mut world = World::new();
    world.write("a", "", |new| new["spec"] = json!({"replicas": 1}));
    let before = world.live().clone();
    world.write("b", "", |_| {});
    assert_eq!(world.live(), &before);
}

#[test]
fn one_manager_has_one_entry_per_subresource() {
    let mut world = World::new();
    world.write("a", "", |new| new["spec"] = json!({"replicas": 1}));
    world.write("a", "", |new| new["spec"]["paused"] = json!(true));
    world.write("a", "status", |new| new["status"] = json!({"replicas": 1}));
    assert_eq!(world.entries().len(), 2);
    assert_eq!(world.entries()[0]["fieldsV1"], json!({"f:spec": {"f:replicas": {}, "f:paused": {}}}));
    assert_eq!(world.entries()[1]["subresource"], "status");
    assert_eq!(world.entries()[1]["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
}

#[test]
fn managed_fields_that_a_client_drops_are_kept() {
    let mut world = World::new();
    world.apply("a", &deployment(json!({}), json!({"replicas": 1})));
    world.write("b", "", |new| {
        new["metadata"].as_object_mut().unwrap().remove("managedFields");
        new["spec"]["paused"] = json!(true);
    });
    assert_eq!(world.managers(), ["a/Apply", "b/Update"]);
    world.write("b", "", |new| new["metadata"]["managedFields"] = json!([{"manager": "broken"}]));
    assert_eq!(world.managers(), ["a/Apply", "b/Update"]);
}

#[test]
fn managed_fields_can_be_reset() {
    for empty in [json!([]), json!([{}])] {
        let mut world = World::new();
        world.apply("a", &deployment(json!({}), json!({"replicas": 1})));
        world.write("b", "status", |new| new["metadata"]["managedFields"] = empty.clone());
        assert_eq!(world.managers(), ["a/Apply"], "not through a subresource");
        world.write("b", "", |new| new["metadata"]["managedFields"] = empty.clone());
        assert_eq!(world.live()["metadata"].get("managedFields"), None);
        world.write("b", "", |new| new["spec"]["paused"] = json!(true));
        assert_eq!(world.live()["metadata"].get("managedFields"), None, "nobody manages until the next apply");
    }
}

#[test]
fn a_value_of_another_kind_takes_what_was_inside() {
    let mut world = World::new();
    world.apply("a", &deployment(json!({}), json!({"other": {"x": 1}, "replicas": 1})));
    world.write("b", "", |new| new["spec"]["other"] = json!("text"));
    assert_eq!(world.fields("a"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(world.fields("b"), json!({"f:spec": {"f:other": {}}}));
}

#[test]
fn the_oldest_updaters_are_merged_beyond_ten() {
    let mut world = World::new();
    for n in 0..13 {
        world.write(&format!("m{n}"), "", |new| new["metadata"]["labels"][format!("l{n}")] = json!("1"));
    }
    assert_eq!(world.entries().len(), 10);
    let ancient = world.fields("ancient-changes");
    for n in 0..4 {
        assert_eq!(ancient["f:metadata"]["f:labels"][format!("f:l{n}")], json!({}));
    }
    assert_eq!(world.managers().last().unwrap(), "m12/Update");
    let ancient = world.managers().iter().filter(|manager| manager.starts_with("ancient-changes")).count();
    assert_eq!(ancient, 1);
}

#[test]
fn lists_that_cannot_be_told_apart_keep_the_owners() {
    let mut world = World::new();
    world.apply("a", &deployment(json!({}), json!({"replicas": 1})));
    world.write("b", "", |new| new["spec"]["containers"] = json!([{"image": "x"}]));
    assert_eq!(world.managers(), ["a/Apply"]);
}
