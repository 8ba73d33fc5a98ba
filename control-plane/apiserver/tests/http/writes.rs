//! Options, preconditions and bodies of requests that write.

use reqwest::Method;
use serde_json::{Value, json};

use crate::served::{PODS, Served, answer, served};
use crate::support::{self, eventually, pod};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn send(served: &Served, method: Method, path: &str, kind: &str, body: impl Into<String>) -> (u16, Value) {
    let request = served.request(method, path).header("content-type", kind).body(body.into());
    let (code, value) = answer(request.send().await.expect("an answer")).await;
    (code.as_u16(), value)
}

#[tokio::test]
async fn options_that_cannot_be_are_named() {
    let served = served().await;
    let body = pod("p").to_string();
    let rows = [
        (
            Method::POST,
            format!("{PODS}?dryRun=Some"),
            "application/json",
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"Some\"",
        ),
        (
            Method::POST,
            format!("{PODS}?fieldValidation=x"),
            "application/json",
            "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value",
        ),
        (
            Method::PATCH,
            format!("{PODS}/p"),
            "application/apply-patch+yaml",
            "fieldManager: Required value: is required for apply patch",
        ),
        (
            Method::PATCH,
            format!("{PODS}/p?force=true"),
            "application/merge-patch+json",
            "force: Forbidden: may not be specified for non-apply patch",
        ),
        (Method::DELETE, format!("{PODS}/p?propagationPolicy=x"), "application/json", "propagationPolicy: Unsupported value"),
        (
            Method::DELETE,
            format!("{PODS}/p?propagationPolicy=Orphan&orphanDependents=true"),
            "application/json",
            "cannot be both set",
        ),
    ];
    for (method, path, kind, wanted) in rows {
        let body = if method == Method::DELETE { String::new() } else { body.clone() };
        let (code, status) = send(&served, method, &path, kind, body).await;
        assert_eq!((code, &status["reason"]), (422, &json!("Invalid")), "{path}: {status}");
        assert!(status["message"].as_str().is_some_and(|message| message.contains(wanted)), "{path}: {status}");
    }
}

#[tokio::test]
async fn some_kinds_are_created_by_an_update() {
    let served = served().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}}).to_string();
    let put = |path: String, body: String| send(&served, Method::PUT, Box::leak(path.into_boxed_str()), "application/json", body);
    assert_eq!(put(format!("{leases}/l?dryRun=All"), lease.clone()).await.0, 201);
    assert_eq!(served.get(&format!("{leases}/l")).await.0, 404);
    assert_eq!(put(format!("{leases}/l"), lease.clone()).await.0, 201);
    // Who changes it says what is changed.
    let (code, status) = put(format!("{leases}/l"), lease).await;
    let why = "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update";
    assert_eq!((code, &status["message"]), (422, &json!(why)));
    let (_, stored) = served.get(&format!("{leases}/l")).await;
    assert_eq!(put(format!("{leases}/l"), stored.to_string()).await.0, 200);
    let map = json!({"metadata": {"name": "m"}}).to_string();
    assert_eq!(put(format!("{CONFIG_MAPS}/m"), map).await.0, 404);
}

#[tokio::test]
async fn a_collection_is_deleted_with_options_and_shown() {
    let served = served().await;
    for (name, color) in [("a", "red"), ("b", "red"), ("c", "blue")] {
        let map = json!({"metadata": {"name": name, "labels": {"color": color}}});
        assert_eq!(served.create(CONFIG_MAPS, &map).await.0, 201);
    }
    let path = format!("{CONFIG_MAPS}?labelSelector=color%3Dred");
    let (code, dry) = send(&served, Method::DELETE, &format!("{path}&dryRun=All"), "application/json", "").await;
    assert_eq!((code, &dry["kind"], dry["items"].as_array().map(Vec::len)), (200, &json!("ConfigMapList"), Some(2)));
    assert_eq!(served.get(CONFIG_MAPS).await.1["items"].as_array().map(Vec::len), Some(3));
    let one = format!("{CONFIG_MAPS}/c?dryRun=All");
    let (code, dry) = send(&served, Method::DELETE, &one, "application/json", "").await;
    assert_eq!((code, &dry["kind"], &dry["status"]), (200, &json!("Status"), &json!("Success")));
    let held = json!({"metadata": {"finalizers": ["example.com/a"]}}).to_string();
    let merge = "application/merge-patch+json";
    assert_eq!(send(&served, Method::PATCH, &format!("{CONFIG_MAPS}/c"), merge, &held).await.0, 200);
    let (_, dry) = send(&served, Method::DELETE, &one, "application/json", "").await;
    assert!(dry["metadata"]["deletionTimestamp"].is_string(), "{dry}");
    assert!(served.get(&format!("{CONFIG_MAPS}/c")).await.1["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(send(&served, Method::DELETE, &path, "application/json", "").await.0, 200);
    let (_, left) = served.get(CONFIG_MAPS).await;
    assert_eq!((left["items"].as_array().map(Vec::len), &left["items"][0]["metadata"]["name"]), (Some(1), &json!("c")));
}

#[tokio::test]
async fn yaml_is_a_body_as_any_other() {
    let served = served().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\n  labels: {}\n  ownerReferences: []\ndata:\n  a: \"1\"\n";
    let (code, created) = send(&served, Method::POST, CONFIG_MAPS, "application/yaml", yaml).await;
    assert_eq!((code, &created["data"]), (201, &json!({"a": "1"})));
    // Kubernetes drops what is empty.
    assert!(created["metadata"].get("labels").is_none() && created["metadata"].get("ownerReferences").is_none());
    let twice = "metadata:\n  name: z\n  nonsense: 1\ndata:\n  a: x\n  a: y\n";
    let (code, refused) =
        send(&served, Method::POST, &format!("{CONFIG_MAPS}?fieldValidation=Strict"), "application/yaml", twice).await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert_eq!(code, 400);
    assert!(
        message.contains("duplicate field \"data.a\"") && message.contains("unknown field \"metadata.nonsense\""),
        "{message}"
    );
}

/// What an answer warns of.
fn warnings(response: &reqwest::Response) -> Vec<&str> {
    response.headers().get_all("warning").iter().map(|value| value.to_str().expect("text")).collect()
}

#[tokio::test]
async fn who_is_refused_is_warned_all_the_same() {
    const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    const SEEN: &str = "299 - \"you are seen\"";
    let served = served().await;
    assert_eq!(served.create(CONFIG_MAPS, &json!({"metadata": {"name": "m"}})).await.0, 201);
    let (url, bundle) = support::webhook::serve("/", |review: &Value| {
        let response = json!({"uid": review["request"]["uid"], "allowed": false, "warnings": ["you are seen"]});
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
    })
    .await;
    let rules =
        json!([{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps", "pods/eviction"]}]);
    let hook = json!({"metadata": {"name": "h"}, "webhooks": [{"name": "h.example.com", "rules": rules, "sideEffects": "None",
        "clientConfig": {"url": url, "caBundle": bundle}, "admissionReviewVersions": ["v1"]}]});
    assert_eq!(served.create(HOOKS, &hook).await.0, 201);
    let send = |method: Method, path: &str, kind: &str, body: &Value| {
        served.request(method, path).header("content-type", kind).body(body.to_string()).send()
    };
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "colour": "red"});
    let known = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    let unknown = "299 - \"unknown field \\\"colour\\\"\"";
    eventually("the webhook", async || {
        let answer = send(Method::DELETE, &format!("{CONFIG_MAPS}/m?dryRun=All"), "application/json", &json!({})).await;
        let code = answer.expect("an answer").status();
        if code == 400 { Ok(()) } else { Err(code.to_string()) }
    })
    .await;
    assert_eq!(served.create(PODS, &pod("p")).await.0, 201);
    let one = format!("{CONFIG_MAPS}/m");
    let (applied, evicted) = (format!("{one}?fieldManager=a"), format!("{PODS}/p/eviction"));
    let eviction = json!({"metadata": {"name": "p"}});
    let patch = json!({"colour": "red"});
    for (method, path, kind, body, wanted) in [
        (Method::POST, CONFIG_MAPS, "application/json", &map, vec![unknown, SEEN]),
        (Method::PUT, one.as_str(), "application/json", &map, vec![unknown, SEEN]),
        (Method::PATCH, one.as_str(), "application/merge-patch+json", &patch, vec![unknown, SEEN]),
        (Method::PATCH, applied.as_str(), "application/apply-patch+yaml", &known, vec![SEEN]),
        (Method::DELETE, one.as_str(), "application/json", &Value::Null, vec![SEEN]),
        (Method::POST, evicted.as_str(), "application/json", &eviction, vec![SEEN]),
    ] {
        let response = send(method.clone(), path, kind, body).await.expect("an answer");
        assert_eq!((response.status().as_u16(), warnings(&response)), (400, wanted), "{method} {path}");
    }
    // What validation refuses, too.
    let wrong = json!({"metadata": {"name": "No"}, "spec": {"containers": [], "colour": "red"}});
    let response = send(Method::POST, PODS, "application/json", &wrong).await.expect("an answer");
    assert_eq!((response.status().as_u16(), warnings(&response).len()), (422, 1));
}

#[tokio::test]
async fn pods_that_do_not_do_what_they_seem_to_are_warned_of_when_they_change() {
    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
    const HIDES: &str = "299 - \"spec.template.spec.containers[0].env[1]: hides previous definition of \\\"A\\\", \
        which may be dropped when using apply\"";
    let served = served().await;
    let env = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    let labels = json!({"app": "d"});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "i", "env": env}]}}}});
    let send = async |method: Method, path: &str, kind: &str, body: &Value| {
        let request = served.request(method, path).header("content-type", kind).body(body.to_string());
        request.send().await.expect("an answer")
    };
    let made = send(Method::POST, DEPLOYMENTS, "application/json", &deployment).await;
    assert_eq!((made.status().as_u16(), warnings(&made)), (201, vec![HIDES]));
    let one = format!("{DEPLOYMENTS}/d");
    let merge = "application/merge-patch+json";
    let scaled = send(Method::PATCH, &one, merge, &json!({"spec": {"replicas": 2}})).await;
    assert_eq!((scaled.status().as_u16(), warnings(&scaled)), (200, vec![]));
    let changed = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 5}}}});
    let changed = send(Method::PATCH, &one, merge, &changed).await;
    assert_eq!((changed.status().as_u16(), warnings(&changed)), (200, vec![HIDES]));
}
