//! The default roles for people, nodes and the scheduler.

use serde_json::{Value, json};

use super::{NODE_GROUP, SIGNERS, cluster_binding, cluster_role, group, named, rule, urls, user};

const WRITE: &str = "create delete deletecollection patch update";
const READ: &str = "get list watch";
/// As kubeadm calls it.
const GET_NODES: &str = "kubeadm:get-nodes";
/// Nothing is served there any more; but charts still grant it, and only who has a right may grant it.
const EXTENSIONS: &str = "extensions";

/// What `view` reads in a namespace. Secrets stay out: they would give more than reading.
fn view() -> Vec<Value> {
    vec![
        rule(
            READ,
            "core",
            "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
        ),
        rule(
            READ,
            "core",
            "bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status namespaces",
        ),
        rule(READ, "core events.k8s.io", "events"),
        rule(READ, "discovery.k8s.io", "endpointslices"),
        rule(
            READ,
            "apps",
            "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
        ),
        rule(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
        rule(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
        rule(
            READ,
            EXTENSIONS,
            "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale",
        ),
        rule(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
        rule(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
        rule(READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
    ]
}

/// What `edit` does in a namespace. As in Kubernetes 1.36, neither endpoints (which lead traffic past network policies) nor
/// `pods/resize` are among it.
fn edit() -> Vec<Value> {
    vec![
        rule(READ, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
        rule("impersonate", "core", "serviceaccounts"),
        rule(WRITE, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
        rule("create", "core", "pods/eviction serviceaccounts/token"),
        rule(
            WRITE,
            "core",
            "configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy",
        ),
        rule(WRITE, "core events.k8s.io", "events"),
        rule(
            WRITE,
            "apps",
            "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale",
        ),
        rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
        rule(WRITE, "batch", "cronjobs jobs"),
        rule(
            WRITE,
            EXTENSIONS,
            "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale",
        ),
        rule(WRITE, "policy", "poddisruptionbudgets"),
        rule(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
        rule(WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
        rule("create delete deletecollection get list patch update watch", "coordination.k8s.io", "leases"),
    ]
}

fn admin() -> Vec<Value> {
    vec![
        rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
        rule("create delete deletecollection get list patch update watch", "rbac.authorization.k8s.io", "rolebindings roles"),
    ]
}

/// The roles for people: each gathers the rules of all roles that are labelled for it, the next narrower one among them.
fn gathering() -> Vec<Value> {
    let label = |role: &str| format!("rbac.authorization.k8s.io/aggregate-to-{role}");
    let mut roles = Vec::new();
    for (name, rules, wider) in [("view", view(), "edit"), ("edit", edit(), "admin"), ("admin", admin(), "")] {
        let mut own = cluster_role(&format!("system:aggregate-to-{name}"), rules);
        own["metadata"]["labels"][label(name)] = json!("true");
        let mut role = cluster_role(name, Vec::new());
        role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label(name): "true"}}]});
        if !wider.is_empty() {
            role["metadata"]["labels"][label(wider)] = json!("true");
        }
        roles.extend([role, own]);
    }
    roles
}

/// Who may ask for certificates, and approve them, of the signers that every cluster has.
fn certificates() -> Vec<Value> {
    const GROUP: &str = "certificates.k8s.io";
    let requests = "certificatesigningrequests";
    let mut roles = vec![
        cluster_role("system:node-bootstrapper", vec![rule("create get list watch", GROUP, requests)]),
        // Who joins looks whether another machine has its name.
        cluster_role(GET_NODES, vec![rule("get", "core", "nodes")]),
    ];
    for kind in ["nodeclient", "selfnodeclient"] {
        let name = format!("system:certificates.k8s.io:certificatesigningrequests:{kind}");
        roles.push(cluster_role(&name, vec![rule("create", GROUP, &format!("{requests}/{kind}"))]));
    }
    for signer in SIGNERS {
        let name = signer.trim_start_matches("kubernetes.io/");
        let approve = named(rule("approve", GROUP, "signers"), &[signer]);
        roles.push(cluster_role(&format!("system:certificates.k8s.io:{name}-approver"), vec![approve]));
    }
    roles
}

pub(super) fn node() -> Vec<Value> {
    vec![
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
        rule(READ, "core", "services"),
        // A node of Mizzen is also its own service proxy.
        rule(READ, "discovery.k8s.io", "endpointslices"),
        rule(READ, "networking.k8s.io", "servicecidrs"),
        // It enforces network policies, too.
        rule(READ, "networking.k8s.io", "networkpolicies"),
        rule(READ, "core", "namespaces"),
        rule("create get list watch", "core", "nodes"),
        rule("patch update", "core", "nodes/status"),
        rule("patch update", "core", "nodes"),
        rule("create patch update", "core events.k8s.io", "events"),
        rule(READ, "core", "pods"),
        rule("create delete", "core", "pods"),
        rule("patch update", "core", "pods/status"),
        rule("create", "core", "pods/eviction"),
        rule(READ, "core", "configmaps secrets"),
        rule("get", "core", "persistentvolumeclaims persistentvolumes"),
        rule("get patch update", "core", "persistentvolumeclaims/status"),
        rule("create", "core", "serviceaccounts/token"),
        rule("get", "core", "serviceaccounts"),
        rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
        rule("create delete get patch update", "coordination.k8s.io", "leases"),
        rule("get", "storage.k8s.io", "volumeattachments"),
        rule(READ, "storage.k8s.io", "csidrivers"),
        rule("create delete get patch update", "storage.k8s.io", "csinodes"),
        rule(READ, "node.k8s.io", "runtimeclasses"),
        rule("get", "resource.k8s.io", "resourceclaims"),
        rule("deletecollection", "resource.k8s.io", "resourceslices"),
        rule("create delete get list patch update watch", "resource.k8s.io", "resourceslices"),
    ]
}

fn scheduler() -> Vec<Value> {
    vec![
        rule("create patch update", "core events.k8s.io", "events"),
        rule(READ, "core", "nodes namespaces services replicationcontrollers persistentvolumeclaims persistentvolumes"),
        rule("delete get list watch", "core", "pods"),
        rule("create", "core", "bindings pods/binding"),
        rule("patch update", "core", "pods/status"),
        rule(READ, "apps", "replicasets statefulsets"),
        rule(READ, "policy", "poddisruptionbudgets"),
        rule(READ, "storage.k8s.io", "storageclasses"),
        rule("create get update list watch", "coordination.k8s.io", "leases"),
    ]
}

pub(super) fn roles() -> Vec<Value> {
    let discovery = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/";
    let mut roles = vec![
        cluster_role("cluster-admin", vec![rule("*", "*", "*"), urls("*", "*")]),
        cluster_role("system:discovery", vec![urls("get", discovery)]),
        cluster_role("system:public-info-viewer", vec![urls("get", "/healthz /livez /readyz /version /version/")]),
        cluster_role(
            "system:monitoring",
            vec![urls("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*")],
        ),
        cluster_role(
            "system:service-account-issuer-discovery",
            vec![urls(
                "get",
                "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
            )],
        ),
        cluster_role(
            "system:basic-user",
            vec![
                rule("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
                rule("create", "authentication.k8s.io", "selfsubjectreviews"),
            ],
        ),
        cluster_role(
            "system:auth-delegator",
            vec![
                rule("create", "authentication.k8s.io", "tokenreviews"),
                rule("create", "authorization.k8s.io", "subjectaccessreviews"),
            ],
        ),
        cluster_role(
            "system:kubelet-api-admin",
            vec![
                rule("get list watch", "core", "nodes"),
                rule("proxy", "core", "nodes"),
                rule("*", "core", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
            ],
        ),
        cluster_role("system:node", node()),
        cluster_role("system:kube-scheduler", scheduler()),
    ];
    roles.extend(certificates());
    roles.extend(gathering());
    roles
}

/// Machines with a bootstrap token become nodes, and nodes renew what they have; named as in "TLS bootstrapping" of the
/// Kubernetes documents.
fn joining() -> Vec<Value> {
    let bootstrappers = || json!([group("system:bootstrappers")]);
    let unseen = |kind: &str| format!("system:certificates.k8s.io:certificatesigningrequests:{kind}");
    vec![
        cluster_binding("create-csrs-for-bootstrapping", "system:node-bootstrapper", bootstrappers()),
        cluster_binding("auto-approve-csrs-for-group", &unseen("nodeclient"), bootstrappers()),
        cluster_binding("auto-approve-renewals-for-nodes", &unseen("selfnodeclient"), json!([group(NODE_GROUP)])),
        cluster_binding(GET_NODES, GET_NODES, bootstrappers()),
    ]
}

pub(super) fn bindings() -> Vec<Value> {
    let mut bindings = joining();
    bindings.extend([
        cluster_binding("cluster-admin", "cluster-admin", json!([group("system:masters")])),
        cluster_binding("system:discovery", "system:discovery", json!([group("system:authenticated")])),
        cluster_binding("system:basic-user", "system:basic-user", json!([group("system:authenticated")])),
        cluster_binding(
            "system:public-info-viewer",
            "system:public-info-viewer",
            json!([group("system:authenticated"), group("system:unauthenticated")]),
        ),
        cluster_binding("system:monitoring", "system:monitoring", json!([group("system:monitoring")])),
        cluster_binding(
            "system:service-account-issuer-discovery",
            "system:service-account-issuer-discovery",
            json!([group("system:serviceaccounts")]),
        ),
        cluster_binding("system:kube-scheduler", "system:kube-scheduler", json!([user("system:kube-scheduler")])),
        // The node authorizer gives each node what it needs of this role.
        cluster_binding("system:node", "system:node", json!([])),
    ]);
    bindings
}
