//! What a document owns, and how that is written.

use serde_json::{Value, json};

use crate::managed::{FieldSet, PathElement, extract};
use crate::test_schema::{deployment, schemas};

fn fields(spec: Value) -> Value {
    extract(&schemas(), "Deployment", &deployment(json!({}), spec)).unwrap().to_json()["f:spec"].clone()
}

#[test]
fn each_shape_is_owned_as_its_schema_says() {
    let cases = [
        ("scalars are leaves", json!({"replicas": 1}), json!({"f:replicas": {}})),
        ("null is a value", json!({"replicas": null}), json!({"f:replicas": {}})),
        ("an atomic struct has one owner", json!({"selector": {"matchLabels": {"a": "b"}}}), json!({"f:selector": {}})),
        ("an atomic map has one owner", json!({"nodeSelector": {"a": "b"}}), json!({"f:nodeSelector": {}})),
        ("anything has one owner", json!({"extension": {"a": {"b": [1]}}}), json!({"f:extension": {}})),
        (
            "unknown fields are owned by key",
            json!({"other": {"a": {"b": [1]}}}),
            json!({"f:other": {".": {}, "f:a": {".": {}, "f:b": {}}}}),
        ),
        (
            "keyed items are owned themselves and by field",
            json!({"containers": [{"name": "a", "image": "x", "args": ["1"]}]}),
            json!({"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:args": {}, "f:image": {}, "f:name": {}}}}),
        ),
        (
            "missing keys have their default",
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80}]}]}),
            json!({"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:ports": {
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}),
        ),
        (
            "an empty struct is owned itself",
            json!({"containers": [{"name": "a", "resources": {}}]}),
            json!({"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:resources": {}}}}),
        ),
        ("a value of the wrong kind is a leaf", json!({"containers": "x"}), json!({"f:containers": {}})),
    ];
    for (rule, spec, expected) in cases {
        assert_eq!(fields(spec), expected, "{rule}");
    }
}

#[test]
fn maps_and_sets_are_owned_per_element() {
    let object = deployment(json!({"labels": {"a": "1"}, "finalizers": ["x/y", "a<b"]}), json!({}));
    let owned = extract(&schemas(), "Deployment", &object).unwrap().to_json();
    assert_eq!(owned["f:metadata"]["f:labels"], json!({"f:a": {}}));
    assert_eq!(owned["f:metadata"]["f:finalizers"], json!({"v:\"x/y\"": {}, "v:\"a\\u003cb\"": {}}));
}

#[test]
fn a_kind_without_schema_is_deduced() {
    let (set, widget) = (schemas(), json!({"spec": {"a": 1, "list": [{"name": "x"}], "none": {}}}));
    let owned = extract(&set, "Widget", &widget).unwrap();
    assert_eq!(owned.to_json(), json!({"f:spec": {".": {}, "f:a": {}, "f:list": {}, "f:none": {}}}));
}

#[test]
fn items_without_keys_are_refused_with_their_path() {
    let (set, nameless) = (schemas(), deployment(json!({}), json!({"containers": [{"image": "x"}]})));
    let error = extract(&set, "Deployment", &nameless).unwrap_err();
    assert!(error.to_string().starts_with(".spec.containers: element 0: associative list with keys"), "{error}");
}

#[test]
fn the_text_of_a_set_is_as_kubernetes_writes_it() {
    let mut set = FieldSet::default();
    let key = || PathElement::Key(vec![("containerPort".into(), json!(80).into()), ("protocol".into(), json!("TCP").into())]);
    set.insert(&[PathElement::Field("spec".into()), key()]);
    set.insert(&[PathElement::Field("spec".into()), key(), PathElement::Field("name".into())]);
    set.insert(&[PathElement::Field("list".into()), PathElement::Index(3)]);
    set.insert(&[PathElement::Field("list".into()), PathElement::Value(json!(true).into())]);
    assert_eq!(
        set.to_json().to_string(),
        r#"{"f:list":{"i:3":{},"v:true":{}},"f:spec":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:name":{}}}}"#
    );
    let path: String = set.paths().last().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(path, ".spec[containerPort=80,protocol=\"TCP\"].name");
}

#[test]
fn malformed_sets_are_refused_and_unknown_kinds_skipped() {
    for wrong in [
        json!([]),
        json!({"f:a": 1}),
        json!({"a": {}}),
        json!({"": {}}),
        json!({"v:{": {}}),
        json!({"i:x": {}}),
        json!({"k:1": {}}),
    ] {
        assert!(FieldSet::from_json(&wrong).is_err(), "{wrong}");
    }
    assert_eq!(FieldSet::from_json(&json!({"z:new": {"f:a": {}}, "f:b": {}})).unwrap().to_json(), json!({"f:b": {}}));
    let mut deep = json!({});
    for _ in 0..10_000 {
        deep = Value::Object([("f:a".to_owned(), deep)].into_iter().collect());
    }
    assert!(FieldSet::from_json(&deep).is_err());
    // Dropping it is serde_json's recursion, not ours.
    std::mem::forget(deep);
}
