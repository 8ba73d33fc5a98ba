//! What a node may read and write: what its own pods need, and no more.

mod support;

use std::sync::Arc;

use mizzen_api::{Registry, Status};
use mizzen_apiserver::auth::authenticator::Authenticator;
use mizzen_apiserver::auth::node::NodeAuthorizer;
use mizzen_apiserver::auth::rbac::Rbac;
use mizzen_apiserver::auth::reviews::Reviews;
use mizzen_apiserver::auth::token_request::TokenRequests;
use mizzen_apiserver::auth::tokens::Tokens;
use mizzen_apiserver::auth::union::Union;
use mizzen_apiserver::auth::{Authorizer, Identity, bootstrap, wiring};
use mizzen_apiserver::{ApiServer, ServerConfig};
use mizzen_client::{ApiRequest, Client, DeleteOptions, ListOptions, PatchKind};
use mizzen_store::{MemoryStore, Store};
use serde_json::{Value, json};
use support::gvr;
use tokio_util::sync::CancellationToken;

struct World {
    admin: Arc<dyn Client>,
    /// Pod `p` with the secret `own`, the claim `data` and the account `robot` is bound to it.
    n1: Arc<dyn Client>,
    n2: Arc<dyn Client>,
}

fn node(name: &str) -> Identity {
    Identity::component(&format!("system:node:{name}"), &["system:nodes"])
}

async fn world() -> World {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let cancel = CancellationToken::new();
    let rbac = Rbac::start(store.clone(), cancel.clone()).expect("reads the roles");
    let nodes = NodeAuthorizer::start(store.clone(), cancel).expect("reads the pods");
    let authorizer: Arc<dyn Authorizer> = Arc::new(Union(vec![nodes, rbac.clone()]));
    let tokens = Arc::new(Tokens::generate().expect("a key"));
    let authenticator = Arc::new(Authenticator::new(tokens.clone(), store.clone(), Arc::new(support::now)));
    let reviews = Arc::new(Reviews { authorizer: authorizer.clone(), rbac, authenticator });
    let requests = Arc::new(TokenRequests { tokens, store: store.clone(), clock: Arc::new(support::now) });
    let server = ApiServer::new(ServerConfig {
        store,
        registry: Arc::new(Registry::builtin()),
        authorizer,
        authenticator: Arc::new(support::Permissive),
        clock: Arc::new(support::now),
        virtuals: wiring::virtuals(reviews, requests),
        connect: None,
    });
    let world = World { admin: server.client(support::admin()), n1: server.client(node("n1")), n2: server.client(node("n2")) };
    bootstrap::ensure(world.admin.as_ref()).await.expect("the first objects are stored");
    for (resource, object) in [
        ("serviceaccounts", json!({"metadata": {"name": "robot"}})),
        ("secrets", json!({"metadata": {"name": "own"}})),
        ("secrets", json!({"metadata": {"name": "other"}})),
        (
            "persistentvolumeclaims",
            json!({"metadata": {"name": "data"}, "spec": {"volumeName": "disk",
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        ),
    ] {
        world.create(resource, "default", object).await;
    }
    let disk = |name: &str, claim: &str| {
        json!({"metadata": {"name": name}, "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": "default", "name": claim}, "hostPath": {"path": "/x"}}})
    };
    world.create("persistentvolumes", "", disk("disk", "data")).await;
    world.create("persistentvolumes", "", disk("disk-2", "data")).await;
    let mut pod = support::pod("p");
    pod["spec"]["nodeName"] = json!("n1");
    pod["spec"]["serviceAccountName"] = json!("robot");
    pod["spec"]["volumes"] = json!([{"name": "s", "secret": {"secretName": "own"}},
                                    {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]);
    world.create("pods", "default", pod).await;
    world
}

impl World {
    async fn create(&self, resource: &str, namespace: &str, object: Value) -> Value {
        create(&self.admin, resource, namespace, object).await.unwrap_or_else(|status| panic!("{resource}: {status}"))
    }
}

async fn create(client: &Arc<dyn Client>, resource: &str, namespace: &str, object: Value) -> Result<Value, Status> {
    let request = ApiRequest::create(&gvr("", "v1", resource), namespace, object);
    Ok(client.write(request).await?.object.value().expect("is JSON"))
}

async fn patch(
    client: &Arc<dyn Client>,
    (resource, namespace, name, subresource): (&str, &str, &str, &str),
    patch: Value,
) -> Result<(), Status> {
    let request = ApiRequest::patch(&gvr("", "v1", resource), namespace, name, PatchKind::Merge, patch);
    client.write(request.subresource(subresource)).await.map(drop)
}

async fn reads(client: &Arc<dyn Client>, resource: &str, name: &str) -> bool {
    let namespace = if resource == "persistentvolumes" { "" } else { "default" };
    match client.get(&gvr("", "v1", resource), namespace, name).await {
        Ok(_) => true,
        Err(status) if status.code == 403 => {
            let why = "no relationship found between node 'n";
            assert!(status.message.contains(why), "{}", status.message);
            false
        }
        Err(status) => panic!("{status}"),
    }
}

fn refused(result: Result<impl Sized, Status>, why: &str) {
    let status = result.err().expect("is refused");
    assert!(status.code == 403 && status.message.contains(why), "{}", status.message);
}

#[tokio::test]
async fn a_node_reads_what_its_pods_refer_to() {
    let world = world().await;
    for (resource, name) in [
        ("secrets", "own"),
        ("persistentvolumeclaims", "data"),
        ("persistentvolumes", "disk"),
        ("serviceaccounts", "robot"),
        ("pods", "p"),
    ] {
        assert!(reads(&world.n1, resource, name).await, "{resource} {name}");
        assert!(!reads(&world.n2, resource, name).await, "{resource} {name} is not for another node");
    }
    assert!(!reads(&world.n1, "secrets", "other").await);
    assert!(!reads(&world.n1, "persistentvolumes", "disk-2").await, "the claim is bound to another volume");
    let list = |fields: &str| {
        let options = ListOptions { field_selector: fields.to_owned(), ..ListOptions::default() };
        let client = world.n1.clone();
        async move {
            (
                client.list(&gvr("", "v1", "secrets"), "default", &options).await,
                client.list(&gvr("", "v1", "pods"), "", &options).await,
            )
        }
    };
    refused(list("").await.0, "No Object name found");
    assert_eq!(list("metadata.name=own").await.0.expect("is one it may read").items.len(), 1);
    refused(list("").await.1, "can only list/watch pods with spec.nodeName field selector");
    refused(list("spec.nodeName=n2").await.1, "can only list/watch pods with spec.nodeName field selector");
    let others = "spec.hostNetwork=false";
    refused(list(others).await.1, "can only list/watch pods with spec.nodeName field selector");
    let policies = gvr("networking.k8s.io", "v1", "networkpolicies");
    let policy = json!({"metadata": {"name": "deny"}, "spec": {"podSelector": {}}});
    world.admin.write(ApiRequest::create(&policies, "default", policy)).await.expect("is stored");
    assert_eq!(list(others).await.1.expect("it has to enforce the policy").items.len(), 1);
    let gone = ApiRequest::delete(&policies, "default", "deny", DeleteOptions::default());
    world.admin.write(gone).await.expect("is there");
    refused(list(others).await.1, "can only list/watch pods with spec.nodeName field selector");

    let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    refused(
        world.n2.write(ApiRequest::delete(&gvr("", "v1", "pods"), "default", "p", options.clone())).await,
        "can only delete pods",
    );
    world.n1.write(ApiRequest::delete(&gvr("", "v1", "pods"), "default", "p", options)).await.expect("is its own");
    while reads(&world.n1, "secrets", "own").await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_node_writes_itself_and_the_state_of_its_pods() {
    let world = world().await;
    let labels = |labels: Value| json!({"metadata": {"name": "n1", "labels": labels}});
    let restricted = labels(json!({"node-restriction.kubernetes.io/pci": "yes"}));
    refused(create(&world.n1, "nodes", "", restricted).await, "not allowed to set the following labels: node-restriction");
    refused(create(&world.n2, "nodes", "", labels(json!({}))).await, "node \"n2\" is not allowed to modify node \"n1\"");
    create(&world.n1, "nodes", "", labels(json!({"kubernetes.io/os": "linux", "team": "a"}))).await.expect("is itself");
    let own = ("nodes", "", "n1", "");
    refused(
        patch(&world.n1, own, json!({"metadata": {"labels": {"node-role.kubernetes.io/x": ""}}})).await,
        "is not allowed to modify labels",
    );
    let tainted = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}});
    refused(patch(&world.n1, own, tainted).await, "is not allowed to modify taints");
    refused(world.n1.get(&gvr("", "v1", "nodes"), "", "n2").await.map(drop), "only its own Node object");

    let running = json!({"status": {"phase": "Running"}});
    let status = ("pods", "default", "p", "status");
    patch(&world.n1, status, running.clone()).await.expect("is its own");
    refused(patch(&world.n2, status, running).await, "can only update pod status for pods");
    let claims = json!({"status": {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "another"}]}});
    refused(patch(&world.n1, status, claims).await, "cannot update resource claim statues");
    let mut pod = support::pod("q");
    pod["spec"]["nodeName"] = json!("n1");
    pod["spec"]["serviceAccountName"] = json!("robot");
    refused(create(&world.n1, "pods", "default", pod).await, "can only create mirror pods");

    let lease = |name: &str| {
        let leases = gvr("coordination.k8s.io", "v1", "leases");
        world.n1.write(ApiRequest::create(&leases, "kube-node-lease", json!({"metadata": {"name": name}, "spec": {}})))
    };
    lease("n1").await.expect("is its own");
    refused(lease("n2").await, "can only access node lease with the same name");
}

#[tokio::test]
async fn a_node_gets_tokens_for_pods_that_run_on_it_only() {
    let world = world().await;
    let pod = world.admin.get(&gvr("", "v1", "pods"), "default", "p").await.expect("is there");
    let uid = pod.head().uid.clone();
    let token = |client: &Arc<dyn Client>, account: &str, bound: Value| {
        let body = json!({"spec": {"audiences": [], "boundObjectRef": bound}});
        let mut request = ApiRequest::create(&gvr("", "v1", "serviceaccounts"), "default", body).subresource("token");
        account.clone_into(&mut request.name);
        let client = client.clone();
        async move { client.write(request).await.map(drop) }
    };
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid});
    token(&world.n1, "robot", bound.clone()).await.expect("runs there");
    refused(token(&world.n2, "robot", bound.clone()).await, "no relationship found");
    refused(token(&world.n1, "robot", Value::Null).await, "node requested token not bound to a pod");
    refused(token(&world.n1, "robot", json!({"apiVersion": "v1", "kind": "Pod", "name": "p"})).await, "without a uid");
    let mut elsewhere = support::pod("q");
    elsewhere["spec"]["nodeName"] = json!("n2");
    elsewhere["spec"]["serviceAccountName"] = json!("robot");
    let other = world.create("pods", "default", elsewhere).await;
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": other["metadata"]["uid"]});
    refused(token(&world.n1, "robot", bound).await, "bound to a pod scheduled on a different node");
}

#[tokio::test]
async fn a_node_gets_tokens_for_whom_its_pod_wants_one() {
    let world = world().await;
    let mut pod = support::pod("wants");
    pod["spec"]["nodeName"] = json!("n1");
    pod["spec"]["serviceAccountName"] = json!("robot");
    pod["spec"]["volumes"] = json!([
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"audience": "vault", "path": "token"}}]}},
        {"name": "c", "csi": {"driver": "disks.example.com"}},
    ]);
    let uid = world.create("pods", "default", pod).await["metadata"]["uid"].clone();
    let driver = json!({"metadata": {"name": "disks.example.com"}, "spec": {"tokenRequests": [{"audience": "disks"}]}});
    let drivers = gvr("storage.k8s.io", "v1", "csidrivers");
    world.admin.write(ApiRequest::create(&drivers, "", driver)).await.expect("is stored");
    let token = |audiences: Value| {
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "wants", "uid": uid});
        let body = json!({"spec": {"audiences": audiences, "boundObjectRef": bound}});
        let mut request = ApiRequest::create(&gvr("", "v1", "serviceaccounts"), "default", body).subresource("token");
        "robot".clone_into(&mut request.name);
        let client = world.n1.clone();
        async move { client.write(request).await.map(drop) }
    };
    for audience in ["vault", "disks", mizzen_apiserver::auth::tokens::ISSUER] {
        token(json!([audience])).await.unwrap_or_else(|status| panic!("{audience}: {status}"));
    }
    let why = "audience \"mail\" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this \
               audience";
    refused(token(json!(["mail"])).await, why);
    refused(token(json!(["vault", "disks"])).await, "node may only request 0 or 1 audiences");

    let rbac = |resource: &str| gvr("rbac.authorization.k8s.io", "v1", resource);
    let verbs = json!(["request-serviceaccounts-token-audience"]);
    let role = json!({"metadata": {"name": "mail"}, "rules": [{"apiGroups": [""], "resources": ["mail"], "verbs": verbs}]});
    let binding = json!({"metadata": {"name": "mail"}, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User",
        "name": "system:node:n1"}], "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "mail"}});
    world.admin.write(ApiRequest::create(&rbac("clusterroles"), "", role)).await.expect("is stored");
    world.admin.write(ApiRequest::create(&rbac("clusterrolebindings"), "", binding)).await.expect("is stored");
    // The roles are followed, not asked.
    while token(json!(["mail"])).await.is_err() {
        tokio::task::yield_now().await;
    }
}
