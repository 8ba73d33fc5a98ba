//! Objects of `mizzen.dev` that are policies: when they are asked, and what their answers do. The component behind them is a
//! function of the test.

mod support;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mizzen_api::{ObjectRef, Reason, Status};
use mizzen_apiserver::Settings;
use mizzen_client::{ApiRequest, ApiResponse, Client, PatchKind};
use mizzen_extensions::plugins::{Answer, Decision, Denial, GROUP, Operation, Policies, Policy, Review, VERSION};
use mizzen_store::{HISTORY_BYTES, MemoryStore};
use parking_lot::Mutex;
use serde_json::{Value, json};

type Decide = Box<dyn Fn(&Review) -> Result<Answer, String> + Send + Sync>;

struct Function(Decide);

#[async_trait]
impl Policy for Function {
    async fn review(&self, review: &Review) -> Result<Answer, String> {
        (self.0)(review)
    }
}

#[derive(Default)]
struct Loaded(Mutex<HashMap<ObjectRef, Arc<dyn Policy>>>);

impl Loaded {
    fn put(&self, namespace: &str, name: &str, decide: impl Fn(&Review) -> Result<Answer, String> + Send + Sync + 'static) {
        self.0.lock().insert(ObjectRef::new(namespace, name), Arc::new(Function(Box::new(decide))));
    }
}

impl Policies for Loaded {
    fn find(&self, object: &ObjectRef) -> Option<Arc<dyn Policy>> {
        self.0.lock().get(object).cloned()
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
    _server: Arc<mizzen_apiserver::ApiServer>,
}

async fn cluster() -> Cluster {
    let loaded = Arc::new(Loaded::default());
    let settings = Settings { policies: Some(loaded.clone()), ..Settings::default() };
    let (server, client) = support::server_set(Arc::new(MemoryStore::new(HISTORY_BYTES)), settings).await;
    Cluster { client, loaded, _server: server }
}

fn rules(groups: &[&str], resources: &[&str]) -> Value {
    json!({"resourceRules": [{"operations": ["*"], "apiGroups": groups, "apiVersions": ["*"], "resources": resources}]})
}

impl Cluster {
    async fn try_policy(&self, namespace: &str, name: &str, spec: Value) -> Result<ApiResponse, Status> {
        let mut all = json!({"image": "example.com/policy:v1", "matchConstraints": rules(&[""], &["configmaps"])});
        all.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
        let resource = if namespace.is_empty() { "clusteradmissionpolicies" } else { "admissionpolicies" };
        let object = json!({"metadata": {"name": name}, "spec": all});
        self.client.write(ApiRequest::create(&support::gvr(GROUP, VERSION, resource), namespace, object)).await
    }

    async fn policy(&self, name: &str, spec: Value) {
        self.try_policy("", name, spec).await.expect("is stored");
    }

    async fn create(&self, namespace: &str, object: Value) -> Result<ApiResponse, Status> {
        self.client.write(ApiRequest::create(&support::gvr("", "v1", "configmaps"), namespace, object)).await
    }

    /// Waits until the server follows what was just stored: until `done` likes the outcome of creating a ConfigMap.
    async fn until(&self, done: impl Fn(&Result<ApiResponse, Status>) -> bool) -> Result<ApiResponse, Status> {
        let tries = async {
            for number in 0.. {
                let outcome = self.create("default", map(&format!("try-{number}"))).await;
                if done(&outcome) {
                    return outcome;
                }
                tokio::task::yield_now().await;
            }
            unreachable!("numbers do not end")
        };
        tokio::time::timeout(Duration::from_secs(60), tries).await.expect("the server follows")
    }
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": "1"}})
}

#[tokio::test]
async fn a_denial_is_told_as_webhooks_denials_are_and_a_policy_sees_the_request() {
    let cluster = cluster().await;
    cluster.loaded.put("", "no-maps", |review| {
        let object: Value = serde_json::from_str(review.object.as_deref().unwrap_or("null")).expect("JSON");
        assert_eq!(
            (review.operation, &*review.kind.name, &*review.resource.name),
            (Operation::Create, "ConfigMap", "configmaps")
        );
        assert_eq!((&*review.namespace, &*review.user.name, review.dry_run), ("default", "admin", false));
        assert_eq!((object["data"]["a"].as_str(), review.old_object.as_deref()), (Some("1"), None));
        deny("no maps here")
    });
    cluster.policy("no-maps", json!({})).await;
    let status = cluster.until(Result::is_err).await.expect_err("is denied");
    assert_eq!(status.message, "admission policy \"no-maps\" denied the request: no maps here");
    assert_eq!((status.code, status.reason), (403, Reason::Forbidden));
}

#[tokio::test]
async fn a_denial_has_the_code_and_reason_that_the_policy_gave() {
    let cluster = cluster().await;
    cluster.loaded.put("", "p", |_| {
        answer(Decision::Deny(Denial { code: 422, reason: "Invalid".to_owned(), message: "wrong".to_owned() }))
    });
    cluster.policy("p", json!({})).await;
    let status = cluster.until(Result::is_err).await.expect_err("is denied");
    assert_eq!((status.code, status.reason), (422, Reason::Invalid));
}

#[tokio::test]
async fn a_mutating_policy_changes_the_object_by_patch_or_as_a_whole() {
    let cluster = cluster().await;
    cluster.loaded.put("", "a-patch", |_| {
        answer(Decision::Patch(json!([{"op": "add", "path": "/data/patched", "value": "yes"}]).to_string()))
    });
    cluster.loaded.put("", "b-replace", |review| {
        let mut object: Value = serde_json::from_str(review.object.as_deref().unwrap_or("null")).expect("JSON");
        object["data"]["seen"] = object["data"]["patched"].clone();
        answer(Decision::Replace(object.to_string()))
    });
    cluster.policy("a-patch", json!({"mutating": true})).await;
    cluster.policy("b-replace", json!({"mutating": true})).await;
    let seen = |outcome: &Result<ApiResponse, Status>| {
        outcome.as_ref().is_ok_and(|written| written.object.value().expect("JSON")["data"]["seen"] == "yes")
    };
    cluster.until(seen).await.expect("is stored as it was changed");
}

#[tokio::test]
async fn a_policy_that_answers_nonsense_fails_as_its_failure_policy_says() {
    for (decision, why) in [
        (Decision::Patch("[".to_owned()), "its patch is no JSON patch"),
        (Decision::Replace("{}".to_owned()), "it changed apiVersion"),
        (Decision::Replace("}".to_owned()), "its object is no JSON"),
    ] {
        let cluster = cluster().await;
        cluster.loaded.put("", "p", move |_| answer(decision.clone()));
        cluster.policy("p", json!({"mutating": true})).await;
        let status = cluster.until(Result::is_err).await.expect_err("fails");
        assert!(status.message.contains(&format!("failed calling admission policy \"p\": {why}")), "{status}");
        assert_eq!(status.code, 500);
    }
    let cluster = cluster().await;
    cluster.loaded.put("", "p", |_| answer(Decision::Patch("[]".to_owned())));
    cluster.policy("p", json!({})).await;
    let status = cluster.until(Result::is_err).await.expect_err("only mutating policies change");
    assert!(status.message.contains("does not say that it is mutating"), "{status}");
}

#[tokio::test]
async fn one_that_fails_lets_pass_where_failures_are_ignored() {
    let cluster = cluster().await;
    cluster.loaded.put("", "a-fails", |_| Err("it trapped".to_owned()));
    cluster.loaded.put("", "b-denies", |_| deny("reached"));
    cluster.policy("a-fails", json!({"failurePolicy": "Ignore"})).await;
    cluster.policy("b-denies", json!({})).await;
    let status = cluster.until(Result::is_err).await.expect_err("the second is asked");
    assert!(status.message.ends_with("reached"), "{status}");
}

#[tokio::test]
async fn warn_and_audit_let_pass_and_warn_says_so() {
    let cluster = cluster().await;
    cluster.loaded.put("", "a-warns", |_| deny("not nice"));
    cluster.loaded.put("", "b-audits", |_| deny("noted"));
    cluster.policy("b-audits", json!({"mode": "audit"})).await;
    cluster.policy("a-warns", json!({"mode": "warn"})).await;
    let warned = |outcome: &Result<ApiResponse, Status>| outcome.as_ref().is_ok_and(|written| !written.warnings.is_empty());
    let written = cluster.until(warned).await.expect("passes");
    assert_eq!(written.warnings, ["admission policy \"a-warns\" denied the request: not nice"]);
}

#[tokio::test]
async fn a_policy_that_was_never_loaded_is_not_asked_and_one_that_was_lost_fails_closed() {
    let cluster = cluster().await;
    cluster.loaded.put("", "z-marks", |_| deny("the end"));
    cluster.policy("a-new", json!({})).await;
    cluster.policy("z-marks", json!({})).await;
    // That the second is asked says that the first is known, and let pass.
    let status = cluster.until(Result::is_err).await.expect_err("the second is asked");
    assert!(status.message.ends_with("the end"), "{status}");
    let resource = support::gvr(GROUP, VERSION, "clusteradmissionpolicies");
    let status = json!({"status": {"digest": "sha256:12"}});
    let patch = ApiRequest::patch(&resource, "", "a-new", PatchKind::Merge, status).subresource("status");
    cluster.client.write(patch).await.expect("is written");
    let lost = |outcome: &Result<ApiResponse, Status>| outcome.as_ref().is_err_and(|status| status.code == 500);
    let status = cluster.until(lost).await.expect_err("fails");
    assert!(status.message.contains("failed calling admission policy \"a-new\": it is not loaded"), "{status}");
}

#[tokio::test]
async fn a_policy_that_denies_everything_can_still_be_deleted_unless_it_asks_for_its_own_group() {
    let cluster = cluster().await;
    cluster.loaded.put("", "everything", |_| deny("no"));
    cluster.policy("everything", json!({"matchConstraints": rules(&["*", ], &["*"]), "matchPluginObjects": true})).await;
    cluster.until(Result::is_err).await.expect_err("is denied");
    cluster.policy("another", json!({})).await;
    let resource = support::gvr(GROUP, VERSION, "clusteradmissionpolicies");
    let delete = ApiRequest::delete(&resource, "", "everything", mizzen_client::DeleteOptions::default());
    cluster.client.write(delete).await.expect("is deleted");

    cluster.loaded.put("", "keeper", |_| deny("kept"));
    let spec =
        json!({"matchConstraints": rules(&["", GROUP], &["configmaps", "clusteradmissionpolicies"]), "matchPluginObjects": true});
    cluster.policy("keeper", spec).await;
    let kept = |outcome: &Result<ApiResponse, Status>| outcome.as_ref().is_err_and(|status| status.message.ends_with("kept"));
    cluster.until(kept).await.expect_err("is denied");
    let status = cluster.try_policy("", "third", json!({})).await.expect_err("its rules name the group, and it asked for it");
    assert_eq!(status.message, "admission policy \"keeper\" denied the request: kept");
}

#[tokio::test]
async fn a_policy_of_a_namespace_is_asked_about_its_own_objects_only() {
    let cluster = cluster().await;
    let namespaces = support::gvr("", "v1", "namespaces");
    let other = json!({"metadata": {"name": "other"}});
    cluster.client.write(ApiRequest::create(&namespaces, "", other)).await.expect("is stored");
    cluster.loaded.put("default", "own", |_| deny("mine"));
    cluster.try_policy("default", "own", json!({})).await.expect("is stored");
    let status = cluster.until(Result::is_err).await.expect_err("is denied");
    assert_eq!(status.message, "admission policy \"default/own\" denied the request: mine");
    cluster.create("other", map("a")).await.expect("is not asked about");
}

#[tokio::test]
async fn conditions_and_selectors_narrow_what_is_asked_about() {
    let cluster = cluster().await;
    cluster.loaded.put("", "p", |_| deny("matched"));
    let conditions = json!([{"name": "not-exempt", "expression": "!object.metadata.name.startsWith('exempt')"}]);
    cluster.policy("p", json!({"matchConditions": conditions})).await;
    cluster.until(Result::is_err).await.expect_err("is denied");
    cluster.create("default", map("exempt")).await.expect("is not asked about");
}

#[tokio::test]
async fn two_policies_that_guard_each_other_can_still_be_deleted() {
    let cluster = cluster().await;
    let spec =
        json!({"matchConstraints": rules(&["", GROUP], &["configmaps", "clusteradmissionpolicies"]), "matchPluginObjects": true});
    for name in ["one", "other"] {
        cluster.policy(name, spec.clone()).await;
    }
    for name in ["one", "other"] {
        cluster.loaded.put("", name, |_| deny("kept"));
    }
    cluster.until(Result::is_err).await.expect_err("is denied");
    let resource = support::gvr(GROUP, VERSION, "clusteradmissionpolicies");
    let patch = ApiRequest::patch(&resource, "", "one", PatchKind::Merge, json!({"spec": {"mode": "audit"}}));
    cluster.client.write(patch).await.expect_err("a change is their matter");
    for name in ["one", "other"] {
        let delete = ApiRequest::delete(&resource, "", name, mizzen_client::DeleteOptions::default());
        cluster.client.write(delete).await.expect("their end is not");
    }
    cluster.until(Result::is_ok).await.expect("nobody is left to deny");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_policies_are_asked_on_several_threads_and_the_first_by_name_decides() {
    let cluster = cluster().await;
    let all_known = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(Mutex::new(HashSet::new()));
    for number in 0..24 {
        let (asked, all_known) = (asked.clone(), all_known.clone());
        cluster.loaded.put("", &format!("p-{number:02}"), move |_| {
            if !all_known.load(Ordering::SeqCst) {
                return if number == 23 { deny("all are known") } else { answer(Decision::Allow) };
            }
            asked.lock().insert(std::thread::current().id());
            // The first waits until another thread asks as well.
            let begun = Instant::now();
            while number == 0 && asked.lock().len() < 2 && begun.elapsed() < Duration::from_secs(30) {
                std::thread::yield_now();
            }
            if number == 9 || number == 20 { deny(&format!("number {number}")) } else { answer(Decision::Allow) }
        });
        cluster.policy(&format!("p-{number:02}"), json!({})).await;
    }
    cluster.until(Result::is_err).await.expect_err("the last one denies");
    all_known.store(true, Ordering::SeqCst);
    let status = cluster.create("default", map("denied")).await.expect_err("is denied");
    assert_eq!(status.message, "admission policy \"p-09\" denied the request: number 9");
    assert_eq!(asked.lock().len(), 2, "two threads");
}
