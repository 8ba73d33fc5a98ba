//! Objects of custom kinds through every verb.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::served::{DEFINITIONS, Served, WIDGETS, answer, definition, widget, widget_schema};
use crate::support::eventually;

#[tokio::test]
async fn an_object_says_of_which_kind_it_is() {
    let served = Served::start().await;
    served.define(&definition(widget_schema())).await;
    for (field, why) in [
        ("kind", "the object provided is unrecognized (must be of type Widget): Object 'Kind' is missing"),
        ("apiVersion", "the API version in the data () does not match the expected API version (example.com/v1)"),
    ] {
        let mut object = widget("a", json!({}));
        object.as_object_mut().expect("an object").remove(field);
        let (code, told) = served.create(WIDGETS, &object).await;
        assert_eq!((code.as_u16(), told["message"].as_str()), (400, Some(why)), "{told}");
    }
}

#[tokio::test]
async fn objects_are_pruned_defaulted_and_checked_in_every_verb() {
    let served = Served::start().await;
    served.define(&definition(widget_schema())).await;
    let object = widget("a", json!({"color": "red", "unknown": 1, "free": {"any": [1]}}));
    let (code, created) = served.create(WIDGETS, &object).await;
    assert_eq!(code, 201, "{created}");
    assert_eq!(created["spec"], json!({"color": "red", "replicas": 1, "free": {"any": [1]}}));
    assert_eq!(created["metadata"]["generation"], 1);
    let (code, told) = served.create(&format!("{WIDGETS}?fieldValidation=Strict"), &object).await;
    assert_eq!(code, 400);
    assert!(
        told["message"].as_str().is_some_and(|m| m.contains("strict decoding error: unknown field \"spec.unknown\"")),
        "{told}"
    );

    for (spec, wrong) in [
        (json!({"color": "green"}), "spec.color: Unsupported value: \"green\": supported values: \"blue\", \"red\""),
        (
            json!({"replicas": "two"}),
            "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
        ),
        (json!({"replicas": -1}), "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0"),
        (json!({"ports": [{"port": 1}, {"port": 1}]}), "spec.ports[1]: Duplicate value: {\"port\":1}"),
        (json!({"ports": [{}]}), "spec.ports[0].port: Required value"),
        (json!({"color": "blue", "replicas": 3}), "spec: Invalid value: \"object\": blue ones are few"),
    ] {
        let (code, told) = served.create(WIDGETS, &widget("wrong", spec)).await;
        assert_eq!(code, 422, "{told}");
        assert_eq!(told["message"], format!("Widget.example.com \"wrong\" is invalid: {wrong}"));
    }

    let path = format!("{WIDGETS}/a");
    let (code, told) = served.merge(&path, &json!({"spec": {"color": "blue"}})).await;
    assert_eq!(
        (code, told["details"]["causes"][0]["field"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("spec.color")),
        "{told}"
    );
    let (code, patched) = served.merge(&path, &json!({"spec": {"replicas": 2}, "status": {"ignored": true}})).await;
    assert_eq!(code, 200, "{patched}");
    assert_eq!((&patched["metadata"]["generation"], patched.get("status")), (&json!(2), None));
    let (_, status) = served
        .merge(
            &format!("{path}/status"),
            &json!({"metadata": {"annotations": {"a": "b"}}, "status": {"replicas": 2, "selector": "a=b"}, "spec": {"replicas": 9}}),
        )
        .await;
    assert_eq!(
        (&status["status"]["replicas"], &status["spec"]["replicas"], &status["metadata"]["generation"]),
        (&json!(2), &json!(2), &json!(2))
    );
    assert_eq!(status["metadata"].get("annotations"), None, "the status of a custom object is all that is written");
    let (_, scale) = served.get(&format!("{path}/scale")).await;
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"], &scale["status"]["selector"]),
        (&json!("Scale"), &json!(2), &json!("a=b"))
    );
    let (code, scaled) = served.merge(&format!("{path}/scale"), &json!({"spec": {"replicas": 5}})).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (StatusCode::OK, &json!(5)), "{scaled}");
    let refused = served.send(Method::PATCH, &path, "application/strategic-merge-patch+json", "{}".to_owned()).await;
    assert_eq!(refused.status(), 415);

    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = served.client.get(format!("{}{WIDGETS}", served.base)).header("accept", accept).send().await.expect("an answer");
    let (_, table) = answer(table).await;
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().expect("columns").iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(columns, ["Name", "Color", "Replicas", "Age"]);
    assert_eq!((&table["rows"][0]["cells"][1], &table["rows"][0]["cells"][2]), (&json!("red"), &json!(5)));

    served.create(WIDGETS, &widget("b", json!({"color": "blue"}))).await;
    let (_, found) = served.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dblue")).await;
    let names: Vec<&str> =
        found["items"].as_array().expect("items").iter().filter_map(|i| i["metadata"]["name"].as_str()).collect();
    assert_eq!(names, ["b"]);
    assert_eq!(served.get(&format!("{WIDGETS}?fieldSelector=spec.replicas%3D1")).await.0, 400);
}

#[tokio::test]
async fn apply_merges_by_the_schema_and_refuses_what_is_not_declared() {
    let served = Served::start().await;
    served.define(&definition(widget_schema())).await;
    let path = format!("{WIDGETS}/a");
    let head = "apiVersion: example.com/v1\nkind: Widget\n";
    let (code, told) = served
        .apply(&path, &format!("{head}metadata: {{finalizers: [test-finalizer]}}\nspec:\n  ports: [{{port: 80, name: http}}]\n"))
        .await;
    assert_eq!(code, 201, "{told}");
    let other = format!("{path}?fieldManager=other");
    let body = format!("{head}spec:\n  ports: [{{port: 443, name: https}}]\n");
    let (code, merged) = answer(served.send(Method::PATCH, &other, "application/apply-patch+yaml", body).await).await;
    assert_eq!(code, 200, "{merged}");
    assert_eq!(merged["spec"]["ports"], json!([{"port": 80, "name": "http"}, {"port": 443, "name": "https"}]));
    let body = format!("{head}spec:\n  ports: [{{port: 80, name: changed}}]\n");
    let (code, conflict) = answer(served.send(Method::PATCH, &other, "application/apply-patch+yaml", body).await).await;
    assert_eq!(code, 409, "{conflict}");
    assert!(conflict["message"].as_str().is_some_and(|m| m.contains(".spec.ports[port=80].name")), "{conflict}");

    let (_, told) = served.apply(&path, &format!("{head}unknownField: x\n")).await;
    assert!(told["message"].as_str().is_some_and(|m| m.contains(".unknownField: field not declared in schema")), "{told}");
    let (_, told) = served.apply(&path, &format!("{head}metadata:\n  unknownMeta: x\n")).await;
    assert!(
        told["message"].as_str().is_some_and(|m| m.contains(".metadata.unknownMeta: field not declared in schema")),
        "{told}"
    );
    let (code, told) = served.apply(&path, &format!("{head}spec:\n  color: red\n  color: blue\n")).await;
    assert_eq!(code, 400);
    assert!(told["message"].as_str().is_some_and(|m| m.contains("line 5: key \"color\" already set in map")), "{told}");
}

#[tokio::test]
async fn defaults_reach_stored_objects_and_versions_are_converted() {
    let served = Served::start().await;
    let mut definition = definition(json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}));
    let version = |name: &str, storage: bool, schema: &Value| json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}, "deprecated": name == "v1beta1"});
    let schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    definition["spec"]["versions"] = json!([version("v1beta1", true, &schema), version("v1", false, &schema)]);
    served.define(&definition).await;
    let (code, created) = served.create(WIDGETS, &widget("a", json!({"a": "x"}))).await;
    assert_eq!((code, &created["apiVersion"]), (StatusCode::CREATED, &json!("example.com/v1")), "{created}");
    let old = served
        .send(Method::GET, "/apis/example.com/v1beta1/namespaces/default/widgets/a", "application/json", String::new())
        .await;
    let warning = old.headers().get("warning").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    assert!(warning.contains("example.com/v1beta1 Widget is deprecated"), "{warning}");
    assert_eq!(answer(old).await.1["apiVersion"], "example.com/v1beta1");

    // A default that comes later is seen in what is stored already, and v1 becomes the stored version.
    let patch = json!([
        {"op": "add", "path": "/spec/versions/1/schema/openAPIV3Schema/properties/spec/properties/b/default", "value": "later"},
        {"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]);
    let changed = served
        .send(Method::PATCH, &format!("{DEFINITIONS}/widgets.example.com"), "application/json-patch+json", patch.to_string())
        .await;
    let (code, changed) = answer(changed).await;
    assert_eq!((code, &changed["status"]["storedVersions"]), (StatusCode::OK, &json!(["v1beta1", "v1"])), "{changed}");
    let shown = eventually("the default of the new version", async || {
        let (_, shown) = served.get(&format!("{WIDGETS}/a")).await;
        if shown["spec"]["b"] == "later" { Ok(shown) } else { Err(shown.to_string()) }
    })
    .await;
    assert_eq!(shown["spec"], json!({"a": "x", "b": "later"}));
    let (_, list) = served.get(WIDGETS).await;
    assert_eq!((&list["items"][0]["spec"]["b"], &list["items"][0]["apiVersion"]), (&json!("later"), &json!("example.com/v1")));
    let (_, groups) = served.get("/apis/example.com").await;
    assert_eq!(groups["preferredVersion"]["version"], "v1");
}

#[tokio::test]
async fn a_write_that_changes_nothing_keeps_the_revision_whatever_the_fields_are_called() {
    let served = Served::start().await;
    let mut definition = definition(widget_schema());
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["access"] = json!({"type": "string"});
    served.define(&definition).await;
    let mut widget = widget("a", json!({"color": "red"}));
    widget["access"] = json!("all");
    let (code, created) = served.create(WIDGETS, &widget).await;
    assert_eq!(code, 201, "{created}");
    let (code, updated) = served.put(&format!("{WIDGETS}/a"), &created).await;
    assert_eq!((code, &updated["metadata"]), (StatusCode::OK, &created["metadata"]));
    let (code, patched) = served.merge(&format!("{WIDGETS}/a"), &json!({"access": "all"})).await;
    assert_eq!((code, &patched["metadata"]["resourceVersion"]), (StatusCode::OK, &created["metadata"]["resourceVersion"]));
}
