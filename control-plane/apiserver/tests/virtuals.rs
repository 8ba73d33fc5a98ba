//! What is answered, not stored: reviews and tokens.

mod support;

use std::sync::Arc;

use mizzen_api::{Registry, Status};
use mizzen_apiserver::auth::authenticator::Authenticator;
use mizzen_apiserver::auth::rbac::Rbac;
use mizzen_apiserver::auth::reviews::Reviews;
use mizzen_apiserver::auth::token_request::TokenRequests;
use mizzen_apiserver::auth::tokens::Tokens;
use mizzen_apiserver::auth::wiring::virtuals;
use mizzen_apiserver::{ApiServer, ServerConfig};
use mizzen_client::{ApiRequest, Client, DeleteOptions};
use mizzen_store::{HISTORY_BYTES, MemoryStore, Store};
use serde_json::{Value, json};
use support::{Permissive, admin, gvr, now};
use tokio_util::sync::CancellationToken;

struct World {
    client: Arc<dyn Client>,
    authenticator: Arc<Authenticator>,
}

async fn world() -> World {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(HISTORY_BYTES));
    let (_, first) = support::server_with(store.clone()).await;
    for (resource, namespace, object) in [
        ("nodes", "", json!({"metadata": {"name": "n"}})),
        ("serviceaccounts", "default", json!({"metadata": {"name": "other"}})),
        ("pods", "default", json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})),
    ] {
        first.write(ApiRequest::create(&gvr("", "v1", resource), namespace, object)).await.expect("stored");
    }
    let tokens = Arc::new(Tokens::generate().expect("a key"));
    let clock: mizzen_apiserver::auth::Clock = Arc::new(now);
    let authenticator = Arc::new(Authenticator::new(tokens.clone(), store.clone(), clock.clone()));
    let rbac = Rbac::start(store.clone(), CancellationToken::new()).expect("an index");
    let reviews = Arc::new(Reviews { authorizer: rbac.clone(), rbac, authenticator: authenticator.clone() });
    let requests = Arc::new(TokenRequests { tokens, store: store.clone(), clock: clock.clone() });
    let server = ApiServer::new(ServerConfig {
        store,
        registry: Arc::new(Registry::builtin()),
        authorizer: Arc::new(Permissive),
        authenticator: Arc::new(Permissive),
        clock,
        virtuals: virtuals(reviews, requests),
        connect: None,
    });
    World { client: server.client(admin()), authenticator }
}

impl World {
    async fn token(&self, account: &str, body: Value) -> Result<Value, Status> {
        let mut request = ApiRequest::create(&gvr("", "v1", "serviceaccounts"), "default", body).subresource("token");
        request.name = account.to_owned();
        self.client.write(request).await.map(|answer| answer.object.value().expect("JSON"))
    }
}

#[tokio::test]
async fn a_review_or_token_request_of_the_wrong_shape_is_refused() {
    let world = world().await;
    for body in [json!([]), json!("x"), json!({"metadata": "x"})] {
        let reviews = gvr("authentication.k8s.io", "v1", "selfsubjectreviews");
        let refused = world.client.write(ApiRequest::create(&reviews, "", body.clone())).await;
        assert_eq!(refused.err().map(|status| status.code), Some(400), "{body}");
    }
    for body in [json!([]), json!({"spec": "x"}), json!({"spec": {"audiences": 1}})] {
        assert_eq!(world.token("default", body.clone()).await.err().map(|status| status.code), Some(400), "{body}");
    }
}

#[tokio::test]
async fn a_token_is_bound_only_to_a_pod_of_its_account() {
    let world = world().await;
    let body = json!({"spec": {"audiences": [], "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}}});
    world.token("default", body.clone()).await.expect("the pod runs as this account");
    let refused = world.token("other", body).await.expect_err("the pod runs as another account");
    assert_eq!(refused.code, 400);
    let other =
        json!({"spec": {"audiences": [], "boundObjectRef": {"kind": "Pod", "apiVersion": "example.com/v1", "name": "p"}}});
    let refused = world.token("default", other).await.expect_err("a pod of another group");
    assert_eq!(refused.code, 400);
}

#[tokio::test]
async fn a_token_bound_to_a_node_ends_with_it() {
    let world = world().await;
    let body = json!({"spec": {"audiences": [], "boundObjectRef": {"kind": "Node", "apiVersion": "v1", "name": "n"}}});
    let answer = world.token("default", body).await.expect("a token");
    let token = answer["status"]["token"].as_str().expect("a token");
    let audience = [mizzen_apiserver::auth::tokens::ISSUER];
    world.authenticator.token(token, &audience).expect("the node is there");
    world.client.write(ApiRequest::delete(&gvr("", "v1", "nodes"), "", "n", DeleteOptions::default())).await.expect("deleted");
    assert!(world.authenticator.token(token, &audience).is_err());
}
