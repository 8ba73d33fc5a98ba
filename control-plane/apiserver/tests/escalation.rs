//! Nobody grants what they do not hold.

mod support;

use std::sync::Arc;

use mizzen_api::{Registry, Status};
use mizzen_apiserver::auth::{Action, Authorizer, Decision, Identity};
use mizzen_apiserver::virtuals::Virtuals;
use mizzen_apiserver::{ApiServer, ServerConfig};
use mizzen_client::ApiRequest;
use mizzen_store::MemoryStore;
use serde_json::json;
use support::gvr;

const RBAC: &str = "rbac.authorization.k8s.io";

/// `editor` may read pods and do what they like with roles and bindings, save `escalate` and `bind`.
struct Editor;

impl Authorizer for Editor {
    fn authorize(&self, user: &Identity, action: &Action<'_>) -> Decision {
        let allowed = match action {
            _ if user.username == "admin" => true,
            Action::Resource { verb, group, .. } if *group == RBAC => !matches!(*verb, "escalate" | "bind"),
            Action::Resource { verb, group, resource, .. } => (*verb, *group, *resource) == ("get", "", "pods"),
            Action::Path { .. } => false,
        };
        if allowed { Decision::Allow { reason: String::new() } } else { Decision::NoOpinion { reason: String::new() } }
    }
}

fn server() -> Arc<ApiServer> {
    ApiServer::new(ServerConfig {
        store: Arc::new(MemoryStore::default()),
        registry: Arc::new(Registry::builtin()),
        authorizer: Arc::new(Editor),
        authenticator: Arc::new(support::Permissive),
        clock: Arc::new(support::now),
        virtuals: Virtuals::default(),
        connect: None,
    })
}

#[tokio::test]
async fn a_role_or_binding_beyond_ones_own_rights_is_refused() {
    let server = server();
    let (admin, editor) = (server.client(support::admin()), server.client(Identity::component("editor", &[])));
    let write = |client: &Arc<dyn mizzen_client::Client>, resource: &str, object: serde_json::Value| {
        let (client, resource) = (client.clone(), gvr(RBAC, "v1", resource));
        async move { client.write(ApiRequest::create(&resource, "", object)).await.map(drop) }
    };
    let role = |name: &str, verb: &str| json!({"metadata": {"name": name}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]});
    let refused = |done: Result<(), Status>| {
        let status = done.expect_err("is refused");
        assert_eq!(status.code, 403);
        assert!(status.message.contains("is attempting to grant RBAC permissions not currently held"), "{status}");
    };
    write(&editor, "clusterroles", role("reader", "get")).await.expect("holds it");
    refused(write(&editor, "clusterroles", role("deleter", "delete")).await);
    refused(write(&editor, "clusterroles", role("all", "*")).await);
    write(&admin, "clusterroles", role("deleter", "delete")).await.expect("may escalate");
    let binding = |role: &str| {
        json!({"metadata": {"name": role}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
               "subjects": [{"kind": "User", "apiGroup": RBAC, "name": "editor"}]})
    };
    write(&editor, "clusterrolebindings", binding("reader")).await.expect("holds it");
    refused(write(&editor, "clusterrolebindings", binding("deleter")).await);
    assert_eq!(write(&editor, "clusterrolebindings", binding("missing")).await.expect_err("no such role").code, 404);
    write(&admin, "clusterrolebindings", binding("deleter")).await.expect("may bind");
}
