use std::sync::Arc;

use mizzen_api::schema::{Field, ListKind, ObjectShape, PatchStrategy, Schema, SchemaSet, Shape};
use serde_json::{Value, json};

use super::apply;
use crate::PatchError;

fn schema(shape: Shape) -> Schema {
    Schema { description: None, shape }
}

fn string() -> Schema {
    schema(Shape::String { format: None, enumeration: Vec::new() })
}

fn list(items: Schema) -> Schema {
    schema(Shape::List { items: Box::new(items), kind: ListKind::Atomic })
}

fn object(fields: Vec<(&str, Schema, PatchStrategy)>) -> Schema {
    let fields = fields
        .into_iter()
        .map(|(name, schema, patch)| (Arc::from(name), Field { schema, required: false, default: None, patch }))
        .collect();
    schema(Shape::Object(ObjectShape { fields, ..ObjectShape::default() }))
}

fn by(key: &str) -> PatchStrategy {
    PatchStrategy { merge: true, merge_key: Some(Arc::from(key)), ..PatchStrategy::default() }
}

fn as_set() -> PatchStrategy {
    PatchStrategy { merge: true, ..PatchStrategy::default() }
}

fn pods() -> SchemaSet {
    let none = PatchStrategy::default;
    let map = || schema(Shape::Map { values: Box::new(string()), atomic: false });
    let port = object(vec![("containerPort", schema(Shape::Integer { format: None }), none()), ("name", string(), none())]);
    let container = object(vec![
        ("name", string(), none()),
        ("image", string(), none()),
        ("args", list(string()), none()),
        ("ports", list(port), by("containerPort")),
    ]);
    let strategy = object(vec![("type", string(), none()), ("rollingUpdate", schema(Shape::Any), none())]);
    let pod = object(vec![
        ("labels", map(), none()),
        ("finalizers", list(string()), as_set()),
        ("containers", list(schema(Shape::Ref(Arc::from("Container")))), by("name")),
        ("tolerations", list(schema(Shape::Any)), none()),
        ("keyless", list(schema(Shape::Any)), as_set()),
        ("strategy", strategy, PatchStrategy { retain_keys: true, ..none() }),
    ]);
    let mut set = SchemaSet::default();
    set.insert("Container", container);
    set.insert("Pod", pod);
    set
}

fn patched(doc: Value, patch: &Value) -> Value {
    let mut doc = doc;
    apply(&pods(), "Pod", &mut doc, patch).unwrap_or_else(|error| panic!("{patch}: {error}"));
    doc
}

fn names(doc: &Value) -> Vec<&str> {
    doc["containers"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

fn three() -> Value {
    json!({"containers": [{"name": "a", "image": "1"}, {"name": "b"}, {"name": "c"}]})
}

#[test]
fn what_each_rule_makes_of_a_document() {
    let cases = [
        (
            "maps merge and nulls delete",
            json!({"labels": {"a": "1", "b": "2"}}),
            json!({"labels": {"a": null, "c": "3"}}),
            json!({"labels": {"b": "2", "c": "3"}}),
        ),
        ("unmatched nulls are not stored", json!({}), json!({"labels": {"a": null, "b": "2"}}), json!({"labels": {"b": "2"}})),
        (
            "keyed elements merge",
            json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}]}),
            json!({"containers": [{"name": "a", "image": "2"}]}),
            json!({"containers": [{"name": "a", "image": "2", "args": ["x"]}]}),
        ),
        (
            "lists without a strategy are replaced",
            json!({"tolerations": [{"key": "a"}]}),
            json!({"tolerations": [{"key": "b", "$patch": "merge"}]}),
            json!({"tolerations": [{"key": "b"}]}),
        ),
        (
            "nested lists have their own keys",
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "http"}]}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "web"}]}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "web"}]}]}),
        ),
        (
            "elements are deleted by key",
            three(),
            json!({"containers": [{"name": "b", "$patch": "delete"}]}),
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "c"}]}),
        ),
        (
            "a list is replaced by an element that says so",
            three(),
            json!({"containers": [{"name": "z"}, {"$patch": "replace"}]}),
            json!({"containers": [{"name": "z"}]}),
        ),
        (
            "as it is, though two of its elements have one key",
            three(),
            json!({"containers": [{"name": "z", "image": "1"}, {"name": "z", "image": "2"}, {"$patch": "replace"}]}),
            json!({"containers": [{"name": "z", "image": "1"}, {"name": "z", "image": "2"}]}),
        ),
        (
            "an object is replaced",
            json!({"labels": {"a": "1"}}),
            json!({"labels": {"$patch": "replace", "b": "2"}}),
            json!({"labels": {"b": "2"}}),
        ),
        ("an object is emptied", json!({"labels": {"a": "1"}}), json!({"labels": {"$patch": "delete"}}), json!({"labels": {}})),
        ("deleting what is not there leaves nothing", json!({}), json!({"labels": {"$patch": "delete"}}), json!({})),
        (
            "merge is what happens anyway",
            json!({"labels": {"a": "1"}}),
            json!({"labels": {"$patch": "merge", "b": "2"}}),
            json!({"labels": {"a": "1", "b": "2"}}),
        ),
        (
            "scalars merge as a set",
            json!({"finalizers": ["a", "b"]}),
            json!({"finalizers": ["b", "c"], "$setElementOrder/finalizers": ["a", "b", "c"]}),
            json!({"finalizers": ["a", "b", "c"]}),
        ),
        (
            "scalars are deleted",
            json!({"finalizers": ["a", "b", "c"]}),
            json!({"$deleteFromPrimitiveList/finalizers": ["a", "c"]}),
            json!({"finalizers": ["b"]}),
        ),
        (
            "retained keys clear the others",
            json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}),
            json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}),
            json!({"strategy": {"type": "Recreate"}}),
        ),
        (
            "a value of another type is replaced",
            json!({"labels": "x"}),
            json!({"labels": {"a": "1"}}),
            json!({"labels": {"a": "1"}}),
        ),
        (
            "unknown fields merge as objects",
            json!({"other": {"a": 1, "l": [1]}}),
            json!({"other": {"b": 2, "l": [2]}}),
            json!({"other": {"a": 1, "b": 2, "l": [2]}}),
        ),
        (
            "directives of new elements do not stay",
            json!({}),
            json!({"containers": [{"name": "a", "$setElementOrder/ports": [{"containerPort": 1}], "ports": [{"containerPort": 1}, {"containerPort": 2, "$patch": "delete"}]}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 1}]}]}),
        ),
    ];
    for (rule, doc, patch, expected) in cases {
        assert_eq!(patched(doc, &patch), expected, "{rule}");
    }
}

#[test]
fn new_elements_without_an_order_go_first() {
    assert_eq!(names(&patched(three(), &json!({"containers": [{"name": "d"}]}))), ["d", "a", "b", "c"]);
    assert_eq!(names(&patched(three(), &json!({"containers": [{"name": "b"}, {"name": "d"}]}))), ["a", "b", "d", "c"]);
}

#[test]
fn set_element_order_places_elements() {
    let patch = json!({
        "$setElementOrder/containers": [{"name": "c"}, {"name": "d"}, {"name": "a"}],
        "containers": [{"name": "d"}],
    });
    assert_eq!(names(&patched(three(), &patch)), ["b", "c", "d", "a"]);
    let only_order = json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}]});
    assert_eq!(names(&patched(three(), &only_order)), ["c", "b", "a"]);
}

#[test]
fn malformed_patches_are_refused() {
    let cases = [
        (json!({"labels": {"$patch": "explode"}}), 422),
        (json!({"containers": [{"image": "x"}]}), 422),
        (json!({"containers": [{"$patch": "delete"}]}), 422),
        (json!({"containers": ["x"]}), 422),
        (json!({"keyless": [{"a": 1}]}), 422),
        (json!({"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}), 400),
        (json!({"strategy": {"$retainKeys": "type"}}), 400),
        (json!({"$deleteFromPrimitiveList/finalizers": "a"}), 400),
        (json!({"$setElementOrder/containers": 1, "containers": []}), 400),
        (json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}), 422),
        (json!([]), 400),
    ];
    for (patch, code) in cases {
        let error = apply(&pods(), "Pod", &mut three(), &patch).expect_err(&patch.to_string());
        assert_eq!(error.to_status().code, code, "{patch}: {error}");
    }
}

#[test]
fn an_unknown_schema_is_an_unsupported_media_type() {
    let error = apply(&pods(), "Widget", &mut json!({}), &json!({})).unwrap_err();
    assert!(matches!(error, PatchError::NoSchema { .. }));
    assert_eq!(error.to_status().code, 415);
}

#[test]
fn a_patch_of_any_depth_is_answered() {
    let mut deep = json!(1);
    for _ in 0..crate::MAX_DEPTH + 1 {
        deep = json!({ "labels": deep });
    }
    assert!(matches!(apply(&pods(), "Pod", &mut json!({}), &deep), Err(PatchError::TooDeep { .. })));
}

#[test]
fn a_real_deployment_merges_its_containers_by_name() {
    let mut doc = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80}]},
        {"name": "log", "image": "log:1"},
    ]}}}});
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "web"}, {"name": "log"}],
        "containers": [{"name": "web", "image": "nginx:2"}],
    }}}});
    apply(mizzen_api::schema::builtin(), "io.k8s.api.apps.v1.Deployment", &mut doc, &patch).unwrap();
    assert_eq!(
        doc["spec"]["template"]["spec"]["containers"],
        json!([{"name": "web", "image": "nginx:2", "ports": [{"containerPort": 80}]}, {"name": "log", "image": "log:1"}])
    );
}
