//! The audit log: what is noted of requests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use mizzen_apiserver::Settings;
use mizzen_apiserver::audit::{Audit, Backends, Batches, LogConfig, Policy, WebhookConfig};
use mizzen_store::{HISTORY_BYTES, MemoryStore};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::served::{PODS, Served, served_with};
use crate::support::{eventually, now, pod};

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
    let backends = Backends { log: Some(log), webhook: None };
    let (audit, _) = Audit::open(policy, backends, Arc::new(now)).expect("opens");
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
    let ended = eventually("the end of the watch", async || match &world.events("pods")[..] {
        [_, ended] => Ok(ended["stage"].clone()),
        others => Err(format!("{others:?}")),
    });
    assert_eq!(ended.await, "ResponseComplete");
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

#[tokio::test]
async fn pod_security_says_what_it_held_a_pod_to_and_what_would_violate() {
    let world = world(json!([{"level": "Metadata", "verbs": ["create"]}])).await;
    let prefix = "pod-security.kubernetes.io";
    let labels = json!({"metadata": {"name": "held", "labels": {
        format!("{prefix}/enforce"): "baseline", format!("{prefix}/enforce-version"): "v1.30",
        format!("{prefix}/audit"): "restricted"}}});
    assert_eq!(world.served.create("/api/v1/namespaces", &labels).await.0, 201);
    let account = json!({"metadata": {"name": "default"}});
    assert_eq!(world.served.create("/api/v1/namespaces/held/serviceaccounts", &account).await.0, 201);
    let said = |resource: &str| world.events(resource).last().expect("an event")["annotations"].clone();
    assert_eq!(world.served.create("/api/v1/namespaces/held/pods", &pod("p")).await.0, 201);
    assert_eq!(said("pods")[format!("{prefix}/enforce-policy")], "baseline:v1.30");
    let violations = said("pods")[format!("{prefix}/audit-violations")].as_str().expect("is noted").to_owned();
    assert!(
        violations.starts_with("would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false"),
        "{violations}"
    );

    let mut refused = pod("q");
    refused["spec"]["hostPID"] = json!(true);
    assert_eq!(world.served.create("/api/v1/namespaces/held/pods", &refused).await.0, 403);
    assert!(said("pods")[format!("{prefix}/audit-violations")].as_str().is_some_and(|text| text.contains("hostPID=true")));

    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]});
    let set = json!({"metadata": {"name": "s"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    assert_eq!(world.served.create("/apis/apps/v1/namespaces/held/replicasets", &set).await.0, 201);
    assert_eq!(said("replicasets")[format!("{prefix}/enforce-policy")], Value::Null, "a template is not refused");
    assert!(said("replicasets")[format!("{prefix}/audit-violations")].is_string());

    assert_eq!(world.served.create(PODS, &pod("free")).await.0, 201);
    assert_eq!(said("pods")[format!("{prefix}/enforce-policy")], "privileged:latest");
    assert_eq!(said("pods")[format!("{prefix}/audit-violations")], Value::Null);
}

#[tokio::test]
async fn a_webhook_is_told_in_batches_and_of_what_waits_at_the_end() {
    let lists = Arc::new(Mutex::new(Vec::new()));
    let kept = lists.clone();
    let (url, bundle) = crate::support::webhook::serve("/audit", move |list: &Value| {
        kept.lock().push(list.clone());
        Value::Null
    })
    .await;
    let policy = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "resources": [{"resources": ["configmaps"]}]}]});
    let policy = Policy::parse(&policy.to_string()).expect("a policy");
    let root = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(bundle).expect("base64")).expect("PEM");
    let batches = Batches { size: 2, wait: Duration::from_millis(20), ..Batches::default() };
    let webhook = WebhookConfig { url, root, tls_server_name: None, pair: None, authorization: None, batches };
    let backends = Backends { log: None, webhook: Some(webhook) };
    let (audit, delivery) = Audit::open(policy, backends, Arc::new(now)).expect("opens");
    let settings = Settings { audit: Some(audit), ..Settings::default() };
    let served = served_with(Arc::new(MemoryStore::new(HISTORY_BYTES)), settings).await;
    for name in ["a", "b", "c"] {
        let map = json!({"metadata": {"name": name}});
        assert_eq!(served.create("/api/v1/namespaces/default/configmaps", &map).await.0, 201);
    }
    let shutdown = tokio_util::sync::CancellationToken::new();
    let delivering = tokio::spawn(delivery.expect("there is a webhook").run(shutdown.clone()));
    let names = || -> Vec<Vec<String>> {
        let items = |list: &Value| list["items"].as_array().expect("items").clone();
        let name = |event: Value| event["objectRef"]["name"].as_str().expect("a name").to_owned();
        lists.lock().iter().map(|list| items(list).into_iter().map(name).collect()).collect()
    };
    let until = async |count: usize| {
        let told = async || if names().concat().len() < count { Err(format!("{:?}", names())) } else { Ok(()) };
        eventually("so many events", told).await;
    };
    until(3).await;
    assert_eq!(names(), [vec!["a", "b"], vec!["c"]]);
    let first = lists.lock()[0].clone();
    assert_eq!((&first["kind"], &first["apiVersion"]), (&json!("EventList"), &json!("audit.k8s.io/v1")));
    assert_eq!((first["items"][0].get("kind"), &first["items"][0]["verb"]), (None, &json!("create")));

    // What waits is told before the end.
    let map = json!({"metadata": {"name": "d"}});
    assert_eq!(served.create("/api/v1/namespaces/default/configmaps", &map).await.0, 201);
    shutdown.cancel();
    delivering.await.expect("ends");
    assert_eq!(names().concat(), ["a", "b", "c", "d"]);
}
