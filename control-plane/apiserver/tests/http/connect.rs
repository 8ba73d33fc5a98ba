//! Admission of streams: policies and webhooks see what is asked for before anybody is connected.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use mizzen_api::{Object, Status};
use mizzen_apiserver::auth::Identity;
use mizzen_apiserver::{Connect, ServerConfig, Settings};
use mizzen_store::{HISTORY_BYTES, MemoryStore};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::served::{PODS, Served, answer, served_of};
use crate::support::{self, pod};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

/// Answers with the address that was asked for.
struct Echo;

#[async_trait]
impl Connect for Echo {
    async fn connect(&self, _: Arc<Identity>, pod: Arc<Object>, subresource: &str, request: Request<Body>) -> Response {
        let told = json!({"pod": pod.head().name, "subresource": subresource, "uri": request.uri().to_string()});
        axum::Json(told).into_response()
    }

    async fn node(&self, node: &str, path: &str, _: Request<Body>) -> Response {
        axum::Json(json!({"node": node, "path": path})).into_response()
    }

    fn tunnel(&self, node: &str, _: Request<Body>) -> Result<Response, Status> {
        Ok(axum::Json(json!({"tunnel": node})).into_response())
    }
}

async fn connected() -> Served {
    let config = support::config(Arc::new(MemoryStore::new(HISTORY_BYTES)));
    let served = served_of(ServerConfig { connect: Some(Arc::new(Echo)), ..config }, Settings::default()).await;
    assert_eq!(served.create(PODS, &pod("p")).await.0, 201);
    served
}

/// Asks until `done` likes the answer: who stores a policy or a webhook is ahead of it by a moment.
async fn until(served: &Served, path: &str, done: impl Fn(u16, &Value) -> bool) -> (u16, Value) {
    let tries = async {
        loop {
            let (code, told) = answer(served.request(Method::POST, path).send().await.expect("an answer")).await;
            if done(code.as_u16(), &told) {
                return (code.as_u16(), told);
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), tries).await.expect("the server follows")
}

fn rules(resources: &[&str]) -> Value {
    json!([{"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": resources}])
}

#[tokio::test]
async fn a_policy_refuses_an_exec_by_its_options() {
    let served = connected().await;
    let policy = json!({"metadata": {"name": "no-terminals"}, "spec": {
        "matchConstraints": {"resourceRules": rules(&["pods/exec", "pods/attach"])},
        "validations": [{"expression": "request.operation == 'CONNECT' && (!has(object.tty) || !object.tty)",
            "messageExpression": "'no terminals: ' + object.kind + ' ' + request.subResource"}]}});
    assert_eq!(served.create(&format!("{GROUP}/validatingadmissionpolicies"), &policy).await.0, 201);
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "no-terminals", "validationActions": ["Deny"]}});
    assert_eq!(served.create(&format!("{GROUP}/validatingadmissionpolicybindings"), &binding).await.0, 201);
    let (code, told) = until(&served, &format!("{PODS}/p/exec?command=sh&tty=true"), |code, _| code != 200).await;
    let why = "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'no-terminals' with binding 'b' denied request: no terminals: \
               PodExecOptions exec";
    assert_eq!((code, &told["message"]), (422, &json!(why)));
    let (code, told) =
        answer(served.request(Method::GET, &format!("{PODS}/p/attach?tty=1")).send().await.expect("an answer")).await;
    assert!(code == 422 && told["message"].as_str().is_some_and(|text| text.ends_with("PodAttachOptions attach")), "{told}");
    for path in ["exec?command=ls&stdout=true", "attach?stdout=true", "portforward?ports=80"] {
        let response = served.request(Method::POST, &format!("{PODS}/p/{path}")).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
    }
    // A pod that is not there is refused all the same: admission comes first.
    let (code, _) =
        answer(served.request(Method::POST, &format!("{PODS}/none/exec?tty=1")).send().await.expect("an answer")).await;
    assert_eq!(code, 422);
    let (code, _) = answer(served.request(Method::POST, &format!("{PODS}/none/exec")).send().await.expect("an answer")).await;
    assert_eq!(code, 404);
}

#[tokio::test]
async fn webhooks_see_streams_and_change_their_options() {
    let served = connected().await;
    let reviews = Arc::new(Mutex::new(Vec::new()));
    let kept = reviews.clone();
    let (url, bundle) = support::webhook::serve("/admit", move |review: &Value| {
        let request = &review["request"];
        kept.lock().push(request.clone());
        let mut response = json!({"uid": request["uid"], "allowed": true, "warnings": ["you are seen"]});
        if request["subResource"] == "exec" {
            let patch = json!([{"op": "replace", "path": "/command", "value": ["echo", "no way"]}]).to_string();
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(STANDARD.encode(patch));
        }
        response["allowed"] = json!(request["object"]["path"] != "/secret");
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
    })
    .await;
    let hook = json!({"metadata": {"name": "h"}, "webhooks": [{"name": "h.example.com", "clientConfig": {"url": url, "caBundle": bundle},
        "rules": rules(&["pods/*", "services/proxy", "nodes/proxy"]), "sideEffects": "None", "admissionReviewVersions": ["v1"]}]});
    assert_eq!(served.create(&format!("{GROUP}/mutatingwebhookconfigurations"), &hook).await.0, 201);
    let exec = format!("{PODS}/p/exec?command=rm&command=-rf&container=main&stdout=true&x=y");
    let changed = |_: u16, told: &Value| told["uri"].as_str().is_some_and(|uri| uri.contains("echo"));
    let (_, told) = until(&served, &exec, changed).await;
    assert_eq!(told["uri"], format!("{PODS}/p/exec?x=y&command=echo&command=no%20way&container=main&stdout=true"));
    let review = reviews.lock().last().cloned().expect("a review");
    assert_eq!(review["kind"], json!({"group": "", "version": "v1", "kind": "PodExecOptions"}));
    assert_eq!(review["resource"], json!({"group": "", "version": "v1", "resource": "pods"}));
    assert_eq!((&review["operation"], &review["subResource"], &review["name"]), (&json!("CONNECT"), &json!("exec"), &json!("p")));
    assert_eq!((&review["oldObject"], &review["options"], &review["namespace"]), (&Value::Null, &Value::Null, &json!("default")));
    let options =
        json!({"kind": "PodExecOptions", "apiVersion": "v1", "command": ["rm", "-rf"], "container": "main", "stdout": true});
    assert_eq!(review["object"], options);

    let forwarded = served.request(Method::POST, &format!("{PODS}/p/portforward?ports=80")).send().await.expect("an answer");
    assert_eq!(forwarded.headers()["warning"], "299 - \"you are seen\"");
    assert_eq!(reviews.lock().last().expect("a review")["object"]["ports"], json!([80]));
    let (code, told) = served.get(&format!("{PODS}/p:80/proxy/secret")).await;
    assert_eq!(
        (code.as_u16(), &told["message"]),
        (400, &json!("admission webhook \"h.example.com\" denied the request without explanation"))
    );
    assert_eq!(reviews.lock().last().expect("a review")["kind"]["kind"], "PodProxyOptions");
    // Logs are read, not connected to.
    let before = reviews.lock().len();
    assert_eq!(served.request(Method::GET, &format!("{PODS}/p/log")).send().await.expect("an answer").status(), 200);
    assert_eq!(reviews.lock().len(), before);
}

#[tokio::test]
async fn nobody_opens_a_nodes_tunnel_but_that_node() {
    let served = connected().await;
    let path = "/apis/mizzen.dev/v1alpha1/nodes/n1/tunnel";
    let (code, told) = answer(served.request(Method::GET, path).send().await.expect("an answer")).await;
    assert_eq!(code.as_u16(), 403, "{told}");
    assert!(told["message"].as_str().is_some_and(|text| text.ends_with("which alone may open its tunnel")), "{told}");
}
