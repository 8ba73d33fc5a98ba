//! Audit: what policies say of what is stored, as PolicyReports. The component behind a policy is a function of the test.

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mizzen_api::ObjectRef;
use mizzen_apiserver::{ApiServer, Settings};
use mizzen_client::{ApiRequest, Client, DeleteOptions, ListOptions, PatchKind};
use mizzen_extensions::plugins::{Answer, Decision, Denial, GROUP, Policies, Policy, Review, VERSION};
use mizzen_store::{HISTORY_BYTES, MemoryStore};
use parking_lot::Mutex;
use serde_json::{Value, json};

type Decide = Box<dyn Fn(&Value) -> Result<Answer, String> + Send + Sync>;

struct Function {
    decide: Decide,
    asked: AtomicUsize,
    /// Bytes of the most that it was asked about at once.
    largest: AtomicUsize,
}

#[async_trait]
impl Policy for Function {
    async fn review(&self, review: &Review) -> Result<Answer, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        (self.decide)(&serde_json::from_str(review.object.as_deref().unwrap_or("null")).expect("JSON"))
    }

    async fn review_stored(&self, reviews: &[&Review]) -> Vec<Result<Answer, String>> {
        let bytes = reviews.iter().filter_map(|review| review.object.as_ref()).map(String::len).sum();
        self.largest.fetch_max(bytes, Ordering::Relaxed);
        let mut answers = Vec::new();
        for review in reviews {
            answers.push(self.review(review).await);
        }
        answers
    }
}

#[derive(Default)]
struct Loaded(Mutex<HashMap<ObjectRef, Arc<Function>>>);

impl Policies for Loaded {
    fn find(&self, object: &ObjectRef) -> Option<Arc<dyn Policy>> {
        self.0.lock().get(object).map(|function| function.clone() as Arc<dyn Policy>)
    }
}

fn answer(decision: Decision) -> Result<Answer, String> {
    Ok(Answer { decision, warnings: Vec::new(), audit_annotations: Vec::new() })
}

fn deny(message: &str) -> Result<Answer, String> {
    answer(Decision::Deny(Denial { message: message.to_owned(), ..Denial::default() }))
}

struct Cluster {
    client: Arc<dyn Client>,
    loaded: Arc<Loaded>,
    _server: Arc<ApiServer>,
}

async fn cluster(period: Duration) -> Cluster {
    let loaded = Arc::new(Loaded::default());
    let settings = Settings { policies: Some(loaded.clone()), policy_audit: period, ..Settings::default() };
    let (server, client) = support::server_set(Arc::new(MemoryStore::new(HISTORY_BYTES)), settings).await;
    let auditing = server.clone();
    tokio::spawn(async move { auditing.keep_policy_reports().await });
    Cluster { client, loaded, _server: server }
}

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

impl Cluster {
    fn load(&self, name: &str, decide: impl Fn(&Value) -> Result<Answer, String> + Send + Sync + 'static) -> Arc<Function> {
        let function = Arc::new(Function { decide: Box::new(decide), asked: AtomicUsize::new(0), largest: AtomicUsize::new(0) });
        self.loaded.0.lock().insert(ObjectRef::cluster(name), function.clone());
        function
    }

    async fn policy(&self, name: &str, spec: Value) {
        let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]});
        let mut all = json!({"image": "example.com/policy:v1", "matchConstraints": {"resourceRules": [rule]}});
        all.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
        let object = json!({"metadata": {"name": name}, "spec": all});
        let resource = support::gvr(GROUP, VERSION, "clusteradmissionpolicies");
        self.client.write(ApiRequest::create(&resource, "", object)).await.expect("is stored");
    }

    async fn map(&self, name: &str) -> Value {
        self.map_of(name, "1").await
    }

    async fn map_of(&self, name: &str, text: &str) -> Value {
        let object = json!({"metadata": {"name": name}, "data": {"a": text}});
        let request = ApiRequest::create(&support::gvr("", "v1", "configmaps"), "default", object);
        self.client.write(request).await.expect("is stored").object.value().expect("JSON")
    }

    async fn reports(&self) -> Vec<Value> {
        let resource = support::gvr("wgpolicyk8s.io", "v1alpha2", "policyreports");
        let list = self.client.list(&resource, "", &ListOptions::default()).await.expect("is listed");
        list.items.iter().map(|object| object.value().expect("JSON")).collect()
    }

    /// Waits until the results of the report on an object (policy, result, message) are these.
    async fn until(&self, name: &str, wanted: &[(&str, &str, &str)]) -> Value {
        support::eventually("the report", async || {
            let reports = self.reports().await;
            let report = reports.iter().find(|report| report["scope"]["name"] == name);
            let results = report.and_then(|report| report["results"].as_array()).cloned().unwrap_or_default();
            let text = |result: &Value, field: &str| result[field].as_str().unwrap_or_default().to_owned();
            let said: Vec<_> =
                results.iter().map(|result| ["policy", "result", "message"].map(|field| text(result, field))).collect();
            let wanted: Vec<_> =
                wanted.iter().map(|(policy, result, message)| [*policy, *result, *message].map(str::to_owned)).collect();
            if said == wanted { Ok(report.cloned().unwrap_or_default()) } else { Err(format!("{reports:?}")) }
        })
        .await
    }
}

fn named(object: &Value, wanted: &str) -> bool {
    object["metadata"]["name"] == wanted
}

#[tokio::test]
async fn what_is_stored_gets_a_report_that_goes_with_its_policies_and_its_object() {
    let cluster = cluster(NEVER).await;
    let (good, bad) = (cluster.map("good").await, cluster.map("bad").await);
    cluster.load("names", |object| if named(object, "bad") { deny("a bad name") } else { answer(Decision::Allow) });
    cluster.policy("names", json!({"severity": "high", "category": "naming", "mode": "warn"})).await;
    let report = cluster.until("bad", &[("names", "fail", "a bad name")]).await;
    assert_eq!(report["summary"], json!({"pass": 0, "fail": 1, "warn": 0, "error": 0, "skip": 0}));
    let metadata = &report["metadata"];
    assert_eq!(metadata["name"], format!("mizzen-{}", bad["metadata"]["uid"].as_str().expect("a uid")));
    assert_eq!(
        (&metadata["namespace"], &metadata["labels"]),
        (&json!("default"), &json!({"app.kubernetes.io/managed-by": "mizzen"}))
    );
    assert_eq!(metadata["ownerReferences"][0]["uid"], bad["metadata"]["uid"]);
    let result = &report["results"][0];
    assert_eq!(["source", "rule", "severity", "category"].map(|field| &result[field]), ["mizzen", "names", "high", "naming"]);
    assert_eq!((&result["properties"]["mode"], &result["properties"]["validating"]), (&json!("warn"), &json!("true")));
    assert!(result["timestamp"]["seconds"].as_i64().is_some_and(|seconds| seconds > 0));
    let passes = cluster.until("good", &[("names", "pass", "")]).await;
    assert_eq!(passes["scope"]["uid"], good["metadata"]["uid"]);

    // Another policy is another result; what has not changed is not written again.
    cluster.load("all", |_| answer(Decision::Allow));
    cluster.policy("all", json!({"matchConditions": [{"name": "bad", "expression": "object.metadata.name == 'bad'"}]})).await;
    let both = cluster.until("bad", &[("all", "pass", ""), ("names", "fail", "a bad name")]).await;
    assert_eq!(both["results"][1], *result, "it keeps its time");
    let again = cluster.until("good", &[("names", "pass", "")]).await;
    assert_eq!(again["metadata"]["resourceVersion"], passes["metadata"]["resourceVersion"]);

    let resource = support::gvr(GROUP, VERSION, "clusteradmissionpolicies");
    let delete = |name: &str| ApiRequest::delete(&resource, "", name, DeleteOptions::default());
    cluster.client.write(delete("names")).await.expect("is deleted");
    cluster.until("bad", &[("all", "pass", "")]).await;
    cluster.client.write(delete("all")).await.expect("is deleted");
    support::eventually("no report", async || match cluster.reports().await.len() {
        0 => Ok(()),
        left => Err(left.to_string()),
    })
    .await;
}

#[tokio::test]
async fn nothing_is_changed_and_what_would_be_is_a_warning() {
    let cluster = cluster(NEVER).await;
    cluster.map("marked").await;
    cluster.map("plain").await;
    cluster.load("mark", |object| {
        let path = "/data/mark";
        let mark = if named(object, "marked") { "1" } else { "2" };
        let path = if named(object, "marked") { "/data/a" } else { path };
        answer(Decision::Patch(json!([{"op": "add", "path": path, "value": mark}]).to_string()))
    });
    cluster.policy("mark", json!({"mutating": true})).await;
    cluster.until("plain", &[("mark", "warn", "the policy would change the object")]).await;
    // What it would set is so already.
    cluster.until("marked", &[("mark", "pass", "")]).await;
    let map = cluster.client.get(&support::gvr("", "v1", "configmaps"), "default", "plain").await.expect("is there");
    assert_eq!(map.value().expect("JSON")["data"], json!({"a": "1"}));
}

#[tokio::test]
async fn a_policy_that_fails_is_told_at_each_object_and_one_that_does_not_want_to_is_not_asked() {
    let cluster = cluster(NEVER).await;
    cluster.map("one").await;
    let silent = cluster.load("silent", |_| deny("never said"));
    cluster.load("trapped", |_| Err("it trapped".to_owned()));
    cluster.policy("silent", json!({"backgroundAudit": false, "mode": "audit"})).await;
    cluster.policy("trapped", json!({"failurePolicy": "Ignore"})).await;
    cluster.until("one", &[("trapped", "error", "it trapped")]).await;
    assert_eq!(silent.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_policy_that_fails_at_everything_is_given_up_for_that_audit() {
    let cluster = cluster(NEVER).await;
    for number in 0..200 {
        cluster.map(&format!("map-{number:03}")).await;
    }
    let trapped = cluster.load("trapped", |_| Err("it trapped".to_owned()));
    cluster.policy("trapped", json!({"failurePolicy": "Ignore"})).await;
    cluster.until("map-000", &[("trapped", "error", "it trapped")]).await;
    let why = "it failed at everything that was tried before, and was not asked";
    cluster.until("map-199", &[("trapped", "error", why)]).await;
    assert!(trapped.asked.load(Ordering::Relaxed) < 200);
}

#[tokio::test]
async fn large_objects_are_not_all_looked_at_at_once() {
    let cluster = cluster(NEVER).await;
    let text = "a".repeat(400 << 10);
    for number in 0..8 {
        cluster.map_of(&format!("large-{number}"), &text).await;
    }
    let policy = cluster.load("large", |_| answer(Decision::Allow));
    cluster.policy("large", json!({})).await;
    for number in 0..8 {
        cluster.until(&format!("large-{number}"), &[("large", "pass", "")]).await;
    }
    let largest = policy.largest.load(Ordering::Relaxed);
    assert!((800 << 10..=1 << 20).contains(&largest), "{largest}");
}

#[tokio::test]
async fn audits_come_again_and_another_component_is_asked_at_once() {
    let cluster = cluster(Duration::from_millis(100)).await;
    cluster.map("first").await;
    cluster.load("names", |_| answer(Decision::Allow));
    cluster.policy("names", json!({"mode": "audit"})).await;
    cluster.until("first", &[("names", "pass", "")]).await;
    // Nothing but time tells of a new object.
    cluster.map("second").await;
    cluster.until("second", &[("names", "pass", "")]).await;
    cluster.load("names", |_| deny("all are bad"));
    let resource = support::gvr(GROUP, VERSION, "clusteradmissionpolicies");
    let status = json!({"status": {"digest": "sha256:12"}});
    let patch = ApiRequest::patch(&resource, "", "names", PatchKind::Merge, status).subresource("status");
    cluster.client.write(patch).await.expect("is written");
    cluster.until("first", &[("names", "fail", "all are bad")]).await;
    cluster.until("second", &[("names", "fail", "all are bad")]).await;
    // What one said that is lost stands, and of what it never saw nobody knows.
    let said = cluster.until("first", &[("names", "fail", "all are bad")]).await;
    cluster.loaded.0.lock().clear();
    cluster.map("third").await;
    cluster.until("third", &[("names", "error", "it is not loaded")]).await;
    cluster.load("names", |_| deny("all are bad"));
    cluster.until("third", &[("names", "fail", "all are bad")]).await;
    let again = cluster.until("first", &[("names", "fail", "all are bad")]).await;
    assert_eq!(again["metadata"]["resourceVersion"], said["metadata"]["resourceVersion"], "it keeps its time");
    cluster.client.write(ApiRequest::delete(&resource, "", "names", DeleteOptions::default())).await.expect("is deleted");
    support::eventually("no report", async || match cluster.reports().await.len() {
        0 => Ok(()),
        left => Err(left.to_string()),
    })
    .await;
}
