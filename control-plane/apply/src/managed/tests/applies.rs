//! Each rule of server-side apply.

use serde_json::{Value, json};

use super::World;
use crate::managed::ApplyError;
use crate::test_schema::deployment;

fn spec(spec: Value) -> Value {
    deployment(json!({}), spec)
}

fn refused(result: Result<(), ApplyError>) -> crate::managed::Conflicts {
    match result {
        Err(ApplyError::Conflicts(conflicts)) => conflicts,
        other => panic!("expected conflicts, got {other:?}"),
    }
}

#[test]
fn creating_owns_what_is_applied_and_no_identity() {
    let mut world = World::new();
    world.apply("a", &deployment(json!({"labels": {"x": "1"}}), json!({"replicas": 1})));
    assert_eq!(world.fields("a"), json!({"f:metadata": {"f:labels": {"f:x": {}}}, "f:spec": {"f:replicas": {}}}));
    let entry = &world.entries()[0];
    assert_eq!(entry["operation"], "Apply");
    assert_eq!(entry["apiVersion"], "apps/v1");
    assert_eq!(entry["fieldsType"], "FieldsV1");
    assert_eq!(entry["time"], "1970-01-01T00:00:01Z");
    assert_eq!(entry.get("subresource"), None);
}

#[test]
fn what_is_no_longer_applied_is_removed() {
    let mut world = World::new();
    let two = json!({"paused": true, "replicas": 1, "containers": [{"name": "x"}, {"name": "y", "image": "i"}]});
    world.apply("a", &deployment(json!({"labels": {"x": "1"}, "finalizers": ["f", "g"]}), two));
    world.apply("a", &deployment(json!({"finalizers": ["g"]}), json!({"replicas": 1, "containers": [{"name": "x"}]})));
    let live = world.live();
    assert_eq!(live["spec"], json!({"replicas": 1, "containers": [{"name": "x"}]}));
    assert_eq!(live["metadata"]["finalizers"], json!(["g"]));
    assert_eq!(live["metadata"].get("labels"), None);
}

#[test]
fn what_others_own_too_stays() {
    let mut world = World::new();
    world.apply("a", &spec(json!({"replicas": 1, "containers": [{"name": "x", "image": "i"}]})));
    world.apply("b", &spec(json!({"containers": [{"name": "x", "image": "i"}]})));
    world.apply("a", &spec(json!({"paused": true})));
    assert_eq!(world.live()["spec"], json!({"paused": true, "containers": [{"name": "x", "image": "i"}]}));
    world.apply("b", &spec(json!({})));
    assert_eq!(world.live()["spec"], json!({"paused": true}));
    assert_eq!(world.fields("b"), json!({"f:spec": {}}), "an empty struct is owned itself");
}

#[test]
fn a_manager_that_applies_nothing_is_gone() {
    let mut world = World::new();
    world.apply("a", &spec(json!({"replicas": 1})));
    world.apply("b", &spec(json!({"paused": true})));
    world.apply("b", &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}));
    assert_eq!(world.live()["spec"], json!({"replicas": 1}));
    assert_eq!(world.managers(), ["a/Apply"]);
}

#[test]
fn what_is_applied_empty_stays_empty() {
    let mut world = World::new();
    world.apply("a", &deployment(json!({"labels": {"x": "1"}}), json!({"paused": true})));
    world.apply("a", &deployment(json!({"labels": {}}), json!({})));
    assert_eq!(world.live()["metadata"]["labels"], json!({}));
    assert_eq!(world.live()["spec"], json!({}));
}

#[test]
fn an_item_that_only_its_applier_owns_goes_with_all_that_is_in_it() {
    let mut world = World::new();
    world.apply("a", &spec(json!({"containers": [{"name": "x", "image": "i"}]})));
    world.write("b", "", |new| new["spec"]["containers"][0]["args"] = json!(["1"]));
    world.apply("a", &spec(json!({"paused": true})));
    assert_eq!(world.live()["spec"], json!({"paused": true}));
    assert_eq!(world.managers(), ["a/Apply"]);
}

#[test]
fn changing_what_another_owns_conflicts() {
    let mut world = World::new();
    world.apply("kubectl-1", &spec(json!({"replicas": 1, "containers": [{"name": "web", "image": "a"}]})));
    let conflicts = refused(world.try_apply("b", &spec(json!({"replicas": 2})), false));
    assert_eq!(conflicts.to_string(), "Apply failed with 1 conflict: conflict with \"kubectl-1\": .spec.replicas");

    world.write("controller", "", |new| new["spec"]["paused"] = json!(true));
    let config = spec(json!({"paused": false, "replicas": 3, "containers": [{"name": "web", "image": "b"}]}));
    let error = world.try_apply("b", &config, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 3 conflicts: conflicts with \"controller\" using apps/v1:\n- .spec.paused\n\
         conflicts with \"kubectl-1\":\n- .spec.replicas\n- .spec.containers[name=\"web\"].image"
    );
    let status = error.to_status();
    assert_eq!((status.code, status.details.causes.len()), (409, 3));
    assert_eq!(status.details.causes[0].reason, "FieldManagerConflict");
    assert_eq!(status.details.causes[0].message, "conflict with \"controller\" using apps/v1");
    assert_eq!(status.details.causes[0].field, ".spec.paused");
}

#[test]
fn force_takes_over() {
    let mut world = World::new();
    world.apply("a", &spec(json!({"replicas": 1, "paused": true})));
    world.try_apply("b", &spec(json!({"replicas": 2})), true).unwrap();
    assert_eq!(world.live()["spec"]["replicas"], 2);
    assert_eq!(world.fields("a"), json!({"f:spec": {"f:paused": {}}}));
    assert_eq!(world.fields("b"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn the_same_value_is_shared_without_conflict() {
    let mut world = World::new();
    world.apply("a", &spec(json!({"replicas": 1})));
    world.apply("b", &spec(json!({"replicas": 1})));
    assert_eq!(world.managers(), ["a/Apply", "b/Apply"]);
}

#[test]
fn applying_again_changes_nothing_not_even_the_time() {
    let mut world = World::new();
    let config = spec(json!({"replicas": 1, "containers": [{"name": "x"}]}));
    world.apply("a", &config);
    let before = world.live().clone();
    world.apply("a", &config);
    assert_eq!(world.live(), &before);
    world.apply("a", &spec(json!({"replicas": 2, "containers": [{"name": "x"}]})));
    assert_eq!(world.time("a"), "1970-01-01T00:00:03Z");
}

#[test]
fn items_keep_their_place() {
    let names = |world: &World| -> Vec<String> {
        world.live()["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let containers =
        |names: &[&str]| spec(json!({"containers": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()}));
    let mut world = World::new();
    world.apply("a", &containers(&["1", "2", "3"]));
    world.apply("b", &containers(&["4", "2", "5"]));
    assert_eq!(names(&world), ["1", "4", "2", "3", "5"]);
    world.apply("b", &containers(&["2", "1"]));
    assert_eq!(names(&world), ["2", "3", "1"]);
}

#[test]
fn ports_are_told_apart_by_port_and_protocol() {
    let ports = |ports: Value| spec(json!({"containers": [{"name": "x", "ports": ports}]}));
    let mut world = World::new();
    world.apply("a", &ports(json!([{"containerPort": 53, "protocol": "UDP"}])));
    world.apply("b", &ports(json!([{"containerPort": 53, "name": "tcp"}])));
    world.apply("c", &ports(json!([{"containerPort": 53, "protocol": "TCP"}])));
    assert_eq!(
        world.live()["spec"]["containers"][0]["ports"],
        json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "name": "tcp", "protocol": "TCP"}])
    );
}

#[test]
fn atomic_values_are_replaced_as_one() {
    let mut world = World::new();
    world.apply("a", &spec(json!({"nodeSelector": {"a": "1"}, "extension": {"x": 1}})));
    let conflicts = refused(world.try_apply("b", &spec(json!({"nodeSelector": {"b": "1"}})), false));
    assert_eq!(conflicts.0[0].path, ".spec.nodeSelector");
    world.apply("a", &spec(json!({"nodeSelector": {"b": "1"}, "extension": {"y": 2}})));
    assert_eq!(world.live()["spec"], json!({"nodeSelector": {"b": "1"}, "extension": {"y": 2}}));
}

#[test]
fn a_null_unsets_but_is_owned() {
    let mut world = World::new();
    world.apply("a", &spec(json!({"replicas": 1, "paused": true})));
    world.apply("a", &spec(json!({"replicas": null, "paused": true})));
    assert_eq!(world.live()["spec"], json!({"paused": true}));
    assert_eq!(world.fields("a")["f:spec"]["f:replicas"], json!({}));
}

#[test]
fn fields_that_the_write_resets_are_neither_merged_nor_owned() {
    let mut world = World::new();
    let mut config = spec(json!({"replicas": 1}));
    config["status"] = json!({"replicas": 7});
    world.apply("a", &config);
    assert_eq!(world.live().get("status"), None);
    assert_eq!(world.fields("a"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn fields_of_before_the_first_apply_have_an_owner() {
    let mut world = World::new();
    world.live = Some(deployment(json!({"uid": "u", "labels": {"a": "1"}}), json!({"replicas": 1})));
    let conflicts = refused(world.try_apply("b", &spec(json!({"replicas": 2})), false));
    assert_eq!(conflicts.0[0].manager, "\"before-first-apply\" using apps/v1");
    world.apply("b", &spec(json!({"paused": true})));
    assert_eq!(world.managers(), ["b/Apply", "before-first-apply/Update"]);
    assert_eq!(
        world.fields("before-first-apply"),
        json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:replicas": {}}})
    );
}

#[test]
fn kubectl_takes_over_what_it_applied_from_the_client() {
    let applied = spec(json!({"replicas": 1})).to_string();
    let annotations = json!({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied}});
    let mut world = World::new();
    world.write("kubectl-client-side-apply", "", |new| *new = deployment(annotations, json!({"replicas": 1, "paused": true})));
    assert!(world.try_apply("other", &spec(json!({"replicas": 2})), false).is_err(), "only kubectl may");
    let conflicts = refused(world.try_apply("kubectl", &spec(json!({"replicas": 2, "paused": false})), false));
    assert_eq!(conflicts.0.len(), 1, "paused was never applied: {conflicts}");
    world.apply("kubectl", &spec(json!({"replicas": 2})));
    assert_eq!(world.live()["spec"]["replicas"], 2);
    let annotation = &world.live()["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    assert_eq!(serde_json::from_str::<Value>(annotation.as_str().unwrap()).unwrap(), spec(json!({"replicas": 2})));
}

#[test]
fn configurations_that_cannot_be_applied_are_refused() {
    let mut managed = spec(json!({}));
    managed["metadata"]["managedFields"] = json!([{"manager": "a"}]);
    let mut version = spec(json!({}));
    version["apiVersion"] = json!("apps/v2");
    let twice = spec(json!({"containers": [{"name": "x"}, {"name": "x"}]}));
    let keyless = spec(json!({"containers": [{"image": "x"}]}));
    let mut deep = json!({});
    for _ in 0..200 {
        deep = json!({ "a": deep });
    }
    let cases = [
        (managed, 400, "managedFields must be nil"),
        (version, 400, "Incorrect version specified in apply patch"),
        (twice, 500, ".spec.containers: duplicate entries for key [name=\"x\"]"),
        (keyless, 500, ".spec.containers: element 0: associative list with keys has an element that omits all key fields"),
        (json!([]), 400, "not an object"),
        (spec(json!({"extension": deep})), 400, "levels deep"),
    ];
    for (config, code, expected) in cases {
        let error = World::new().try_apply("a", &config, false).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.to_status().code, code);
    }
}
