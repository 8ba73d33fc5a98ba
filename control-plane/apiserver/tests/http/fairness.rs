//! Priority and fairness: who is let in, and what is kept of its objects.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use mizzen_apiserver::Settings;
use mizzen_apiserver::fairness::bootstrap;
use mizzen_client::ApiRequest;
use mizzen_store::{HISTORY_BYTES, MemoryStore};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::served::{PODS, Served, served, served_with};
use crate::support::gvr;

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";

/// A request whose turn comes late on a busy machine is not given up meanwhile.
const PATIENCE: Duration = Duration::from_secs(3600);

async fn world() -> Served {
    with_patience(PATIENCE).await
}

async fn with_patience(patience: Duration) -> Served {
    let store = Arc::new(MemoryStore::new(HISTORY_BYTES));
    let served = served_with(store, Settings { patience, ..Settings::default() }).await;
    bootstrap::ensure(&*served.admin).await.expect("the objects of the start are stored");
    served
}

/// Somebody who is no administrator.
fn as_eve(request: RequestBuilder) -> RequestBuilder {
    request.header("impersonate-user", "eve")
}

impl Served {
    async fn uid(&self, path: &str) -> String {
        self.get(path).await.1["metadata"]["uid"].as_str().expect("a UID").to_owned()
    }

    /// Waits until a page says it.
    async fn until_says(&self, path: &str, wanted: &str) {
        while !self.request(Method::GET, path).send().await.expect("an answer").text().await.expect("text").contains(wanted) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A level that lets one request run at a time, and everything of eve's in it.
    async fn narrow(&self, limit_response: Value) {
        let level = json!({"metadata": {"name": "narrow"}, "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 0, "borrowingLimitPercent": 0, "limitResponse": limit_response}}});
        assert_eq!(self.create(LEVELS, &level).await.0, 201);
        let schema = json!({"metadata": {"name": "eves"}, "spec": {"matchingPrecedence": 50,
            "priorityLevelConfiguration": {"name": "narrow"}, "rules": [{"subjects": [{"kind": "User", "user": {"name": "eve"}}],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}]}]}});
        assert_eq!(self.create(SCHEMAS, &schema).await.0, 201);
        let uid = self.uid(&format!("{LEVELS}/narrow")).await;
        while header(&self.eve().await, "x-kubernetes-pf-prioritylevel-uid") != uid {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn eve(&self) -> Response {
        as_eve(self.request(Method::GET, PODS)).send().await.expect("an answer")
    }

    /// A request of eve's that runs until its body ends with `end`.
    async fn running(&self) -> (futures::channel::oneshot::Sender<()>, tokio::task::JoinHandle<u16>) {
        let (end, ended) = futures::channel::oneshot::channel::<()>();
        let body = futures::stream::once(async { Ok::<_, std::io::Error>("{") })
            .chain(futures::stream::once(async move { Ok(ended.await.map_or("", |()| "}")) }));
        let request = as_eve(self.request(Method::POST, PODS)).body(reqwest::Body::wrap_stream(body));
        let answer = tokio::spawn(async move { request.send().await.expect("an answer").status().as_u16() });
        let labels = "{flow_schema=\"eves\",priority_level=\"narrow\"} 1\n";
        self.until_says("/metrics", &format!("apiserver_flowcontrol_current_executing_requests{labels}")).await;
        (end, answer)
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test]
async fn every_answer_names_the_schema_and_the_level() {
    let served = world().await;
    let rows = [
        (served.request(Method::GET, PODS).send().await.expect("an answer"), "exempt", "exempt"),
        (served.eve().await, "global-default", "global-default"),
        (as_eve(served.request(Method::GET, "/healthz")).send().await.expect("an answer"), "probes", "exempt"),
        (served.request(Method::GET, &format!("{PODS}?watch=true")).send().await.expect("an answer"), "exempt", "exempt"),
    ];
    for (response, schema, level) in rows {
        assert_eq!(header(&response, "x-kubernetes-pf-flowschema-uid"), served.uid(&format!("{SCHEMAS}/{schema}")).await);
        assert_eq!(header(&response, "x-kubernetes-pf-prioritylevel-uid"), served.uid(&format!("{LEVELS}/{level}")).await);
    }
}

#[tokio::test]
async fn who_asks_too_much_at_once_is_told_to_come_again_and_nobody_else_is() {
    let served = world().await;
    served.narrow(json!({"type": "Reject"})).await;
    let (end, running) = served.running().await;
    let refused = served.eve().await;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "1"));
    assert_eq!(header(&refused, "x-kubernetes-pf-flowschema-uid"), served.uid(&format!("{SCHEMAS}/eves")).await);
    assert_eq!(refused.text().await.expect("text"), "Too many requests, please try again later.\n");
    assert_eq!(served.get(PODS).await.0, 200);
    let reason = "apiserver_flowcontrol_rejected_requests_total{flow_schema=\"eves\",priority_level=\"narrow\",reason=\"concurrency-limit\"} 1\n";
    served.until_says("/metrics", reason).await;
    end.send(()).expect("the request runs");
    assert_eq!(running.await.expect("is answered"), 422);
    assert_eq!(served.eve().await.status(), 200);
}

#[tokio::test]
async fn a_watch_keeps_its_seat_until_what_it_begins_with_is_sent() {
    const OBJECTS: usize = 20;
    const BYTES: usize = 900_000;
    let served = world().await;
    // More than sockets hold.
    for number in 0..OBJECTS {
        let object = json!({"metadata": {"name": format!("large-{number}")}, "data": {"text": "x".repeat(BYTES)}});
        assert_eq!(served.create(CONFIG_MAPS, &object).await.0, 201);
    }
    served.narrow(json!({"type": "Reject"})).await;
    let watch = as_eve(served.request(Method::GET, &format!("{CONFIG_MAPS}?watch=true"))).send();
    let mut watch = watch.await.expect("an answer");
    assert_eq!((watch.status().as_u16(), served.eve().await.status().as_u16()), (200, 429));
    let mut left = OBJECTS * BYTES;
    while left > 0 {
        let chunk = watch.chunk().await.expect("it goes on").expect("it goes on");
        left = left.saturating_sub(chunk.len());
    }
    while served.eve().await.status() != 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn who_may_wait_is_answered_when_it_is_its_turn() {
    let served = world().await;
    served.narrow(json!({"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 1}})).await;
    let (end, running) = served.running().await;
    let waiting = as_eve(served.request(Method::GET, PODS)).send();
    let waiting = tokio::spawn(waiting);
    served.until_says("/debug/api_priority_and_fairness/dump_priority_levels", "narrow, 1, false, false, 1, 1, ").await;
    served.until_says("/debug/api_priority_and_fairness/dump_queues", "narrow, 0, 1, ").await;
    // The queue is full.
    assert_eq!(served.eve().await.status(), 429);
    end.send(()).expect("the request runs");
    assert_eq!(waiting.await.expect("ends").expect("an answer").status(), 200);
    assert_eq!(running.await.expect("is answered"), 422);
}

#[tokio::test]
async fn who_waits_too_long_is_told_to_come_again() {
    let served = with_patience(Duration::from_millis(1)).await;
    served.narrow(json!({"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 5}})).await;
    let (end, running) = served.running().await;
    assert_eq!(served.eve().await.status(), 429);
    let labels = "flow_schema=\"eves\",priority_level=\"narrow\"";
    served.until_says("/metrics", &format!("rejected_requests_total{{{labels},reason=\"time-out\"}} 1\n")).await;
    end.send(()).expect("the request runs");
    running.await.expect("is answered");
    assert_eq!(served.eve().await.status(), 200);
}

#[tokio::test]
async fn who_goes_away_while_it_waits_takes_no_seat() {
    let served = world().await;
    served.narrow(json!({"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 5}})).await;
    let (end, running) = served.running().await;
    let waiting = tokio::spawn(as_eve(served.request(Method::GET, PODS)).send());
    served.until_says("/debug/api_priority_and_fairness/dump_queues", "narrow, 0, 1, ").await;
    waiting.abort();
    let labels = "flow_schema=\"eves\",priority_level=\"narrow\"";
    served.until_says("/metrics", &format!("rejected_requests_total{{{labels},reason=\"cancelled\"}} 1\n")).await;
    end.send(()).expect("the request runs");
    running.await.expect("is answered");
    assert_eq!(served.eve().await.status(), 200);
}

#[tokio::test]
async fn objects_of_the_start_are_put_right_unless_their_owner_took_them() {
    let served = world().await;
    let low = format!("{LEVELS}/workload-low");
    let (_, before) = served.get(&low).await;
    assert_eq!(before["metadata"]["annotations"], json!({"apf.kubernetes.io/autoupdate-spec": "true"}));
    bootstrap::ensure(&*served.admin).await.expect("again");
    assert_eq!(served.get(&low).await.1["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);

    let change = |annotation: &str| {
        let mut level = before.clone();
        level["metadata"]["annotations"] = json!({"apf.kubernetes.io/autoupdate-spec": annotation});
        level["metadata"]["resourceVersion"] = json!("");
        level["spec"]["limited"]["nominalConcurrencyShares"] = json!(1);
        ApiRequest::update(&gvr("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations"), "", "workload-low", level)
    };
    for (annotation, shares) in [("true", 100), ("false", 1)] {
        served.admin.write(change(annotation)).await.expect("is stored");
        bootstrap::ensure(&*served.admin).await.expect("again");
        assert_eq!(served.get(&low).await.1["spec"]["limited"]["nominalConcurrencyShares"], shares, "{annotation}");
    }
}

#[tokio::test]
async fn a_schema_says_whether_its_level_exists() {
    let served = served().await;
    let server = served.server.clone();
    let keeping = tokio::spawn(async move { server.keep_flow_control().await });
    let schema = json!({"metadata": {"name": "s"}, "spec": {"priorityLevelConfiguration": {"name": "later"}}});
    assert_eq!(served.create(SCHEMAS, &schema).await.0, 201);
    let path = format!("{SCHEMAS}/s");
    served.until_says(&path, "\"type\":\"Dangling\"").await;
    assert_eq!(served.get(&path).await.1["status"]["conditions"][0]["status"], "True");
    let level =
        json!({"metadata": {"name": "later"}, "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}});
    assert_eq!(served.create(LEVELS, &level).await.0, 201);
    served.until_says(&path, "it exists").await;
    // What the cluster starts with comes by itself.
    served.until_says(LEVELS, "\"name\":\"workload-high\"").await;
    keeping.abort();
}
