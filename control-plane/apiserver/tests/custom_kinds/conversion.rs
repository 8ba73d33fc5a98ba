//! Conversion by a webhook: `v1` has `spec.address`, `v2` has `spec.host` and `spec.port`.

use std::sync::Arc;

use parking_lot::Mutex;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::served::{DEFINITIONS, Served, answer, event};
use crate::support;

fn path(version: &str) -> String {
    format!("/apis/example.com/{version}/namespaces/default/widgets")
}

/// `v1` is stored.
fn definition(url: &str, bundle: &str) -> Value {
    let version = |name: &str, spec: Value| {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}});
        json!({"name": name, "served": true, "storage": name == "v1", "schema": {"openAPIV3Schema": schema}})
    };
    let text = json!({"type": "string"});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
        "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v2", "v1", "v1beta1"],
            "clientConfig": {"url": url, "caBundle": bundle}}},
        "versions": [
            version("v1", json!({"address": text, "color": {"type": "string", "default": "red"}})),
            version("v2", json!({"host": text, "port": text, "color": text, "size": {"type": "string", "default": "big"}})),
        ]}})
}

/// What a good webhook makes of an object.
fn converted(object: &Value, wanted: &str) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = json!(wanted);
    let spec = &mut object["spec"];
    if wanted.ends_with("/v2") {
        let address = spec["address"].as_str().unwrap_or_default().to_owned();
        let (host, port) = address.split_once(':').unwrap_or((&address, ""));
        (spec["host"], spec["port"]) = (json!(host), json!(port));
        spec.as_object_mut().expect("a spec").remove("address");
    } else {
        let part = |name: &str| spec[name].as_str().unwrap_or_default().to_owned();
        spec["address"] = json!(format!("{}:{}", part("host"), part("port")));
        let spec = spec.as_object_mut().expect("a spec");
        spec.retain(|name, _| !["host", "port"].contains(&name.as_str()));
    }
    object
}

/// Changes what a good webhook answers.
type Twist = fn(&mut Value);

/// A server that serves the kind, and a webhook whose answers can be changed. The reviews that it was sent are kept.
struct Stage {
    served: Served,
    twist: Arc<Mutex<Twist>>,
    reviews: Arc<Mutex<Vec<Value>>>,
}

impl Stage {
    async fn set() -> Self {
        let twist: Arc<Mutex<Twist>> = Arc::new(Mutex::new(|_| {}));
        let reviews = Arc::new(Mutex::new(Vec::new()));
        let (twisting, keeping) = (twist.clone(), reviews.clone());
        let (url, bundle) = support::webhook::serve("/convert", move |review: &Value| {
            keeping.lock().push(review.clone());
            let request = &review["request"];
            let wanted = request["desiredAPIVersion"].as_str().expect("a version");
            let objects = request["objects"].as_array().expect("objects").iter();
            let objects: Vec<Value> = objects.map(|object| converted(object, wanted)).collect();
            let mut answer = json!({"kind": review["kind"], "apiVersion": review["apiVersion"],
                "response": {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects}});
            let twist = *twisting.lock();
            twist(&mut answer["response"]);
            answer
        })
        .await;
        let served = Served::start().await;
        served.define(&definition(&url, &bundle)).await;
        Self { served, twist, reviews }
    }

    async fn create(&self, version: &str, name: &str, spec: Value) -> Value {
        let object = json!({"apiVersion": format!("example.com/{version}"), "kind": "Widget",
            "metadata": {"name": name, "labels": {"a": "b"}}, "spec": spec});
        let (code, created) = self.served.create(&path(version), &object).await;
        assert_eq!((code, &created["apiVersion"]), (StatusCode::CREATED, &object["apiVersion"]), "{created}");
        created
    }

    /// The spec that clients of a version see.
    async fn spec(&self, version: &str, name: &str) -> Value {
        let (code, object) = self.served.get(&format!("{}/{name}", path(version))).await;
        assert_eq!(code, 200, "{object}");
        object["spec"].clone()
    }
}

#[tokio::test]
async fn a_webhook_converts_on_every_path() {
    let stage = Stage::set().await;
    let created = stage.create("v2", "a", json!({"host": "h", "port": "80"})).await;
    assert_eq!(created["spec"], json!({"host": "h", "port": "80", "size": "big", "color": "red"}), "{created}");
    assert_eq!(stage.spec("v1", "a").await, json!({"address": "h:80", "color": "red"}));
    stage.create("v1", "b", json!({"address": "i:81", "color": "blue"})).await;
    assert_eq!(stage.spec("v2", "b").await, json!({"host": "i", "port": "81", "color": "blue", "size": "big"}));

    stage.reviews.lock().clear();
    let (_, list) = stage.served.get(&path("v2")).await;
    let hosts: Vec<&Value> = list["items"].as_array().expect("items").iter().map(|item| &item["spec"]["host"]).collect();
    assert_eq!(hosts, ["h", "i"]);
    let reviews = std::mem::take(&mut *stage.reviews.lock());
    assert_eq!(reviews.len(), 1, "a list is one question");
    assert_eq!((&reviews[0]["apiVersion"], &reviews[0]["kind"]), (&json!("apiextensions.k8s.io/v1"), &json!("ConversionReview")));
    assert_eq!(reviews[0]["request"]["desiredAPIVersion"], "example.com/v2");
    assert_eq!(reviews[0]["request"]["objects"][0]["spec"], json!({"address": "h:80", "color": "red"}));

    let mut watch = stage.served.send(Method::GET, &format!("{}?watch=1", path("v2")), "application/json", String::new()).await;
    let (code, updated) = stage.served.merge(&format!("{}/a", path("v1")), &json!({"spec": {"address": "j:82"}})).await;
    assert_eq!((code, &updated["spec"]), (StatusCode::OK, &json!({"address": "j:82", "color": "red"})));
    let mut told = Vec::new();
    while !String::from_utf8_lossy(&told).contains("MODIFIED") {
        told.extend_from_slice(&watch.chunk().await.expect("a chunk").expect("the watch goes on"));
    }
    let last = String::from_utf8_lossy(&told);
    let last: Value = serde_json::from_str(last.lines().last().expect("an event")).expect("is JSON");
    assert_eq!((&last["type"], &last["object"]["spec"]["host"]), (&json!("MODIFIED"), &json!("j")));

    let (code, gone) =
        answer(stage.served.send(Method::DELETE, &format!("{}/a", path("v2")), "application/json", String::new()).await).await;
    assert_eq!((code, &gone["status"]), (StatusCode::OK, &json!("Success")), "{gone}");

    let metrics = stage.served.send(Method::GET, "/metrics", "application/json", String::new()).await;
    let metrics = metrics.text().await.expect("text");
    let mut series: Vec<&str> = metrics.lines().filter(|line| !line.starts_with('#')).collect();
    series.iter_mut().for_each(|line| *line = line.rsplit_once(' ').map_or(*line, |(name, _)| name));
    series.sort_unstable();
    let twice = series.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None, "two versions are one kind of objects");
}

#[tokio::test]
async fn either_version_is_applied() {
    let stage = Stage::set().await;
    let apply = async |version: &str, spec: &str, manager: &str| {
        let body = format!("apiVersion: example.com/{version}\nkind: Widget\nspec: {spec}\n");
        let at = format!("{}/a?fieldManager={manager}", path(version));
        answer(stage.served.send(Method::PATCH, &at, "application/apply-patch+yaml", body).await).await
    };
    let (code, created) = apply("v2", "{host: h, port: '80'}", "one").await;
    assert_eq!((code, &created["metadata"]["managedFields"][0]["apiVersion"]), (StatusCode::CREATED, &json!("example.com/v2")));
    let (code, applied) = apply("v1", "{color: blue}", "two").await;
    assert_eq!((code, &applied["spec"]), (StatusCode::OK, &json!({"address": "h:80", "color": "blue"})), "{applied}");
    let (code, applied) = apply("v2", "{host: i, port: '80'}", "one").await;
    assert_eq!(code, 200, "{applied}");
    assert_eq!(stage.spec("v1", "a").await, json!({"address": "i:80", "color": "blue"}));
}

#[tokio::test]
async fn the_stored_version_can_be_moved() {
    let stage = Stage::set().await;
    stage.create("v1", "a", json!({"address": "h:80"})).await;
    let at = format!("{DEFINITIONS}/widgets.example.com");
    let patch = json!([
        {"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]);
    let moved = stage.served.send(Method::PATCH, &at, "application/json-patch+json", patch.to_string()).await;
    let (code, moved) = answer(moved).await;
    assert_eq!((code, &moved["status"]["storedVersions"]), (StatusCode::OK, &json!(["v1", "v2"])), "{moved}");
    let (code, told) = stage.served.merge(&format!("{at}/status"), &json!({"status": {"storedVersions": ["v1"]}})).await;
    assert_eq!(code, 422, "{told}");

    // Once it is written again, the object is stored in v2: to show it there, nobody has to be asked. The move is followed
    // a moment after it is stored.
    support::eventually("an object in v2", async || {
        let (code, object) = stage.served.get(&format!("{}/a", path("v2"))).await;
        assert_eq!((code, &object["spec"]["host"]), (StatusCode::OK, &json!("h")), "{object}");
        let (code, object) = stage.served.put(&format!("{}/a", path("v2")), &object).await;
        assert_eq!(code, 200, "{object}");
        stage.reviews.lock().clear();
        assert_eq!(stage.spec("v2", "a").await["host"], "h");
        if stage.reviews.lock().is_empty() { Ok(()) } else { Err("one in v1".to_owned()) }
    })
    .await;
    let (code, told) = stage.served.merge(&format!("{at}/status"), &json!({"status": {"storedVersions": ["v2"]}})).await;
    assert_eq!((code, &told["status"]["storedVersions"]), (StatusCode::OK, &json!(["v2"])), "{told}");
    assert_eq!(stage.spec("v1", "a").await, json!({"address": "h:80", "color": "red"}));
}

#[tokio::test]
async fn a_webhook_that_fails_is_told_in_kubernetes_words() {
    let stage = Stage::set().await;
    stage.create("v1", "a", json!({"address": "h:80"})).await;
    let object = "returned invalid converted object at index 0";
    for (twist, why) in [
        (
            (|response| response["result"] = json!({"status": "Failure", "message": "cannot do it"})) as Twist,
            "failed: cannot do it".to_owned(),
        ),
        (|response| response["convertedObjects"] = json!([]), "returned 0 objects, expected 1".to_owned()),
        (
            |response| response["convertedObjects"][0]["metadata"]["name"] = json!("b"),
            format!("{object}: must have the same name: a != b"),
        ),
        (
            |response| response["convertedObjects"][0]["apiVersion"] = json!("example.com/v3"),
            format!("{object}: invalid groupVersion (expected example.com/v2, received example.com/v3)"),
        ),
    ] {
        *stage.twist.lock() = twist;
        let at = format!("{}/a", path("v2"));
        for (method, path) in [(Method::GET, at.clone()), (Method::GET, path("v2")), (Method::DELETE, at)] {
            let (code, told) = answer(stage.served.send(method, &path, "application/json", String::new()).await).await;
            assert_eq!(code, 500, "{told}");
            assert_eq!(told["message"], format!("conversion webhook for example.com/v1, Kind=Widget {why}"));
            assert_eq!(told.get("reason"), None, "{told}");
        }
    }
    // Of the metadata, a webhook sets labels and annotations.
    *stage.twist.lock() = |response| {
        let metadata = &mut response["convertedObjects"][0]["metadata"];
        metadata["labels"] = json!({"c": "d"});
        metadata["finalizers"] = json!(["example.com/held"]);
    };
    let (code, object) = stage.served.get(&format!("{}/a", path("v2"))).await;
    assert_eq!((code, &object["metadata"]["labels"]), (StatusCode::OK, &json!({"c": "d"})), "what was not shown is there still");
    assert_eq!(object["metadata"].get("finalizers"), None);

    // What nobody answers for.
    let nowhere = json!({"spec": {"conversion": {"webhook": {"clientConfig": {"url": "https://127.0.0.1:1/convert"}}}}});
    let (code, told) = stage.served.merge(&format!("{DEFINITIONS}/widgets.example.com"), &nowhere).await;
    assert_eq!(code, 200, "{told}");
    let told = support::eventually("a failure", async || match stage.served.get(&format!("{}/a", path("v2"))).await {
        (code, told) if code == 500 => Ok(told),
        (_, object) => Err(object.to_string()),
    })
    .await;
    let message = told["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with(
            "conversion webhook for example.com/v1, Kind=Widget failed: Post \"https://127.0.0.1:1/convert?timeout=30s\": "
        ),
        "{told}"
    );
    // The version that is stored needs nobody.
    assert_eq!(stage.spec("v1", "a").await["address"], "h:80");
}

#[tokio::test]
async fn owners_of_fields_in_another_version_are_asked_and_overruled() {
    let stage = Stage::set().await;
    let apply = async |version: &str, manager: &str, spec: Value, force: bool| {
        let object =
            json!({"apiVersion": format!("example.com/{version}"), "kind": "Widget", "metadata": {"name": "a"}, "spec": spec});
        let path = format!("{}/a?fieldManager={manager}&force={force}", path(version));
        answer(stage.served.send(Method::PATCH, &path, "application/apply-patch+yaml", object.to_string()).await).await
    };
    let (code, told) = apply("v1", "a", json!({"address": "h:80", "color": "blue"}), false).await;
    assert_eq!(code, 201, "{told}");
    let (code, told) = apply("v2", "b", json!({"host": "i"}), false).await;
    assert_eq!((code, &told["details"]["causes"][0]["field"]), (StatusCode::CONFLICT, &json!(".spec.address")), "{told}");
    assert_eq!(told["details"]["causes"][0]["message"], "conflict with \"a\"");
    let (code, told) = apply("v2", "b", json!({"host": "i"}), true).await;
    assert_eq!(code, 200, "{told}");
    let owned = |object: &Value| -> Vec<(Value, Value)> {
        let entries = object["metadata"]["managedFields"].as_array().expect("entries").iter();
        entries.map(|entry| (entry["manager"].clone(), entry["fieldsV1"]["f:spec"].clone())).collect()
    };
    let of = |manager: &str, fields: Value| (json!(manager), fields);
    assert_eq!(owned(&told), [of("a", json!({"f:color": {}})), of("b", json!({"f:host": {}}))]);
    assert_eq!(stage.spec("v1", "a").await, json!({"address": "i:80", "color": "blue"}));

    // What an applier leaves out goes, though it applied it in another version; an update takes what it changes.
    let (code, told) = apply("v2", "a", json!({"port": "80"}), false).await;
    assert_eq!((code, &told["spec"]["color"]), (StatusCode::OK, &json!("red")), "it is the default of v1 again: {told}");
    let (code, told) = stage.served.merge(&format!("{}/a", path("v1")), &json!({"spec": {"address": "i:81"}})).await;
    assert_eq!(code, 200, "{told}");
    assert!(!owned(&told).contains(&of("a", json!({"f:port": {}}))), "{told}");
}

#[tokio::test]
async fn however_many_watch_a_change_is_converted_once() {
    const WATCHERS: usize = 50;
    let stage = Stage::set().await;
    let mut watches = Vec::new();
    for _ in 0..WATCHERS {
        let watch =
            stage.served.send(Method::GET, &format!("{}?watch=true", path("v2")), "application/json", String::new()).await;
        watches.push((watch, Vec::new()));
    }
    stage.reviews.lock().clear();
    stage.create("v1", "a", json!({"address": "h:80"})).await;
    for (watch, rest) in &mut watches {
        let event = event(watch, rest).await;
        assert_eq!((&event["type"], &event["object"]["spec"]["host"]), (&json!("ADDED"), &json!("h")), "{event}");
    }
    assert_eq!(stage.reviews.lock().len(), 1);
}
