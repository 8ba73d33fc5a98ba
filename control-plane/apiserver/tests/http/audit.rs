//! The audit log: what is noted of requests.

use std::path::PathBuf;
use std::sync::Arc;

use mizzen_apiserver::Settings;
use mizzen_apiserver::audit::{Audit, LogConfig, Policy};
use mizzen_store::{HISTORY_BYTES, MemoryStore};
use reqwest::Method;
use serde_json::{Value, json};

use crate::served::{PODS, Served, served_with};
use crate::support::{now, pod};

struct World {
    served: Served,
    folder: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        // A folder of a test that failed may stay.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn world(rules: Value) -> World {
    let folder = std::env::temp_dir().join(format!("mizzen-audit-{}", uuid::Uuid::new_v4()));
    let policy = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules});
    let policy = Policy::parse(&policy.to_string()).expect("a policy");
    let log = LogConfig { path: folder.join("audit.log"), max_bytes: 1 << 20, max_backups: 0 };
    let audit = Audit::open(policy, log, Arc::new(now)).expect("opens");
    let settings = Settings { audit: Some(audit), ..Settings::default() };
    World { served: served_with(Arc::new(MemoryStore::new(HISTORY_BYTES)), settings).await, folder }
}

impl World {
    /// The events about a resource, so far.
    fn events(&self, resource: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.join("audit.log")).expect("a log");
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        events.filter(|event| event["objectRef"]["resource"] == resource).collect()
    }
}

#[tokio::test]
async fn a_create_is_noted_with_what_was_sent_and_answered() {
    let world = world(json!([{"level": "RequestResponse", "omitManagedFields": true}])).await;
    let request = world.served.request(Method::POST, PODS).header("audit-id", "mine").header("impersonate-user", "eve");
    let response = request.header("user-agent", "tester").json(&pod("p")).send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), &response.headers()["audit-id"]), (201, &"mine".parse().expect("a header")));
    let events = world.events("pods");
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&event["kind"], &event["level"]), (&json!("Event"), &json!("RequestResponse")));
    assert_eq!((&event["auditID"], &event["stage"]), (&json!("mine"), &json!("ResponseComplete")));
    assert_eq!((&event["verb"], &event["requestURI"]), (&json!("create"), &json!(PODS)));
    assert_eq!((&event["user"]["username"], &event["impersonatedUser"]["username"]), (&json!("admin"), &json!("eve")));
    assert_eq!((&event["sourceIPs"], &event["userAgent"]), (&json!(["127.0.0.1"]), &json!("tester")));
    assert_eq!(event["objectRef"], json!({"resource": "pods", "namespace": "default", "name": "p", "apiVersion": "v1"}));
    assert_eq!(event["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(event["requestObject"]["spec"]["containers"][0]["name"], "main");
    assert_eq!(event["responseObject"]["metadata"]["managedFields"], Value::Null);
    assert!(event["responseObject"]["metadata"]["uid"].is_string());
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "allow");
    assert!(event["requestReceivedTimestamp"].as_str().expect("a time").len() == "2026-01-02T03:04:05.000006Z".len());
}

#[tokio::test]
async fn refusals_are_noted_with_their_reason() {
    let world = world(json!([{"level": "Metadata"}])).await;
    for (token, code) in [("nobody", 403), ("wrong", 401)] {
        let request = world.served.request(Method::GET, PODS).header("authorization", format!("Bearer {token}"));
        assert_eq!(request.send().await.expect("an answer").status(), code);
    }
    let events = world.events("pods");
    assert_eq!((&events[0]["responseStatus"]["code"], &events[0]["responseStatus"]["status"]), (&json!(403), &json!("Failure")));
    assert_eq!(events[0]["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!((&events[1]["responseStatus"]["code"], &events[1]["user"]["username"]), (&json!(401), &json!("")));
    assert_eq!((&events[0]["requestObject"], &events[0]["responseObject"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_watch_is_noted_when_it_begins_and_when_it_ends() {
    let world = world(json!([{"level": "Metadata", "verbs": ["watch"]}])).await;
    let watch = world.served.request(Method::GET, &format!("{PODS}?watch=true")).send().await.expect("a watch");
    assert_eq!(world.events("pods").iter().map(|event| event["stage"].clone()).collect::<Vec<_>>(), ["ResponseStarted"]);
    drop(watch);
    while world.events("pods").len() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(world.events("pods")[1]["stage"], "ResponseComplete");
}

#[tokio::test]
async fn policies_annotate_and_note_failures_that_are_let_through() {
    let world = world(json!([{"level": "Metadata", "resources": [{"resources": ["configmaps"]}]}])).await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({"metadata": {"name": "p.example"}, "spec": {"failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
            "resources": ["configmaps"]}]},
        "validations": [{"expression": "true"}, {"expression": "has(object.data)", "message": "no data"}],
        "auditAnnotations": [{"key": "name", "valueExpression": "'saw ' + object.metadata.name"}]}});
    assert_eq!(world.served.create(&format!("{group}/validatingadmissionpolicies"), &policy).await.0, 201);
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p.example", "validationActions": ["Audit"]}});
    assert_eq!(world.served.create(&format!("{group}/validatingadmissionpolicybindings"), &binding).await.0, 201);
    let mut tries = 0;
    // Who stores a policy is ahead of it by a moment.
    let annotations = loop {
        tries += 1;
        let map = json!({"metadata": {"name": format!("c{tries}")}});
        assert_eq!(world.served.create("/api/v1/namespaces/default/configmaps", &map).await.0, 201);
        let events = world.events("configmaps");
        let annotations = events.last().expect("an event")["annotations"].clone();
        if annotations["p.example/name"].is_string() {
            break annotations;
        }
    };
    assert_eq!(annotations["p.example/name"], format!("saw c{tries}"));
    let failures = annotations["validation.policy.admission.k8s.io/validation_failure"].as_str().expect("failures");
    let wanted = json!([{"message": "no data", "policy": "p.example", "binding": "b", "expressionIndex": 1,
        "validationActions": ["Audit"]}]);
    assert_eq!(serde_json::from_str::<Value>(failures).expect("JSON"), wanted);
}

#[tokio::test]
async fn components_of_the_process_are_noted_too() {
    let world = world(json!([{"level": "Request", "resources": [{"resources": ["secrets"]}]}])).await;
    let secrets = crate::support::gvr("", "v1", "secrets");
    let secret = json!({"metadata": {"name": "s"}, "type": "Opaque"});
    world.served.admin.write(mizzen_client::ApiRequest::create(&secrets, "default", secret)).await.expect("is stored");
    world.served.admin.get(&secrets, "default", "none").await.expect_err("is not there");
    let events = world.events("secrets");
    assert_eq!((&events[0]["verb"], &events[0]["requestObject"]["type"]), (&json!("create"), &json!("Opaque")));
    assert_eq!(events[0]["requestURI"], "/api/v1/namespaces/default/secrets");
    assert_eq!((&events[1]["responseStatus"]["code"], &events[1]["objectRef"]["name"]), (&json!(404), &json!("none")));
}
