//! One role for each controller, bound to its own service account in `kube-system`.

use serde_json::{Value, json};

use super::{SIGNERS, cluster_binding, cluster_role, named, rule, user};

const NAMESPACE: &str = "kube-system";

fn table() -> Vec<(&'static str, Vec<Value>)> {
    let events = || rule("create patch update", "core events.k8s.io", "events");
    vec![
        (
            "replicaset-controller",
            vec![
                rule("get list update watch", "apps", "replicasets"),
                rule("update", "apps", "replicasets/status replicasets/finalizers"),
                rule("create delete get list patch update watch", "core", "pods"),
                events(),
            ],
        ),
        (
            "replication-controller",
            vec![
                rule("get list update watch", "core", "replicationcontrollers"),
                rule("update", "core", "replicationcontrollers/status replicationcontrollers/finalizers"),
                rule("create delete get list patch update watch", "core", "pods"),
                events(),
            ],
        ),
        (
            "service-cidrs-controller",
            vec![
                rule("get list watch patch update", "networking.k8s.io", "servicecidrs"),
                rule("patch update", "networking.k8s.io", "servicecidrs/finalizers servicecidrs/status"),
                rule("create delete get list watch", "networking.k8s.io", "ipaddresses"),
                rule("get list watch", "core", "services"),
                events(),
            ],
        ),
        (
            "kubernetes-service-controller",
            vec![
                rule("create get list watch", "networking.k8s.io", "servicecidrs"),
                rule("create get update", "core", "services endpoints"),
                rule("create", "core", "endpoints/restricted"),
                rule("create get update", "discovery.k8s.io", "endpointslices"),
                rule("create", "discovery.k8s.io", "endpointslices/restricted"),
            ],
        ),
        (
            "service-account-token-controller",
            vec![
                rule("delete get list update watch", "core", "secrets"),
                rule("get list watch", "core", "serviceaccounts"),
                rule("create", "core", "serviceaccounts/token"),
            ],
        ),
        (
            "deployment-controller",
            vec![
                rule("get list update watch", "apps", "deployments"),
                rule("update", "apps", "deployments/status deployments/finalizers"),
                rule("create delete get list patch update watch", "apps", "replicasets"),
                rule("get list update watch", "core", "pods"),
                events(),
            ],
        ),
        (
            "daemon-set-controller",
            vec![
                rule("get list watch", "apps", "daemonsets"),
                rule("update", "apps", "daemonsets/status daemonsets/finalizers"),
                rule("create delete get list patch update watch", "apps", "controllerrevisions"),
                rule("create delete get list patch watch", "core", "pods"),
                rule("get list watch", "core", "nodes"),
                events(),
            ],
        ),
        (
            "statefulset-controller",
            vec![
                rule("get list watch", "apps", "statefulsets"),
                rule("update", "apps", "statefulsets/status statefulsets/finalizers"),
                rule("create delete get list patch update watch", "apps", "controllerrevisions"),
                rule("create delete get list patch update watch", "core", "pods"),
                rule("create get list watch", "core", "persistentvolumeclaims"),
                events(),
            ],
        ),
        (
            "job-controller",
            vec![
                rule("delete get list patch update watch", "batch", "jobs"),
                rule("update", "batch", "jobs/status jobs/finalizers"),
                rule("create delete get list patch update watch", "core", "pods"),
                events(),
            ],
        ),
        (
            "cronjob-controller",
            vec![
                rule("get list update watch", "batch", "cronjobs"),
                rule("create delete get list patch update watch", "batch", "jobs"),
                rule("update", "batch", "cronjobs/status cronjobs/finalizers"),
                events(),
            ],
        ),
        (
            "persistent-volume-binder",
            vec![
                rule("create delete get list update watch", "core", "persistentvolumes"),
                rule("update", "core", "persistentvolumes/status persistentvolumeclaims/status"),
                rule("get list update watch", "core", "persistentvolumeclaims"),
                rule("get list watch", "storage.k8s.io", "storageclasses"),
                events(),
            ],
        ),
        (
            "local-path-provisioner",
            vec![
                rule("create", "core", "persistentvolumes"),
                rule("get list watch", "core", "persistentvolumeclaims"),
                rule("create", "storage.k8s.io", "storageclasses"),
                events(),
            ],
        ),
        ("pv-protection-controller", vec![rule("get list update watch", "core", "persistentvolumes"), events()]),
        (
            "pvc-protection-controller",
            vec![
                rule("get list update watch", "core", "persistentvolumeclaims"),
                rule("get list watch", "core", "pods"),
                events(),
            ],
        ),
        ("generic-garbage-collector", vec![rule("get list watch patch update delete", "*", "*"), events()]),
        (
            "namespace-controller",
            vec![
                rule("get list watch delete", "core", "namespaces"),
                rule("update", "core", "namespaces/finalize namespaces/status"),
                rule("get list delete deletecollection", "*", "*"),
            ],
        ),
        (
            "service-account-controller",
            vec![
                rule("create get list watch", "core", "serviceaccounts"),
                rule("get list watch", "core", "namespaces"),
                events(),
            ],
        ),
        (
            "root-ca-cert-publisher",
            vec![
                rule("create get list update watch", "core", "configmaps"),
                rule("get list watch", "core", "namespaces"),
                events(),
            ],
        ),
        (
            "node-controller",
            vec![
                rule("get list update delete patch watch", "core", "nodes"),
                rule("patch update", "core", "nodes/status"),
                rule("get list delete watch", "core", "pods"),
                rule("patch update", "core", "pods/status"),
                rule("get list watch", "coordination.k8s.io", "leases"),
                events(),
            ],
        ),
        (
            "load-balancer-controller",
            vec![
                rule("get list watch patch update", "core", "services"),
                rule("patch update", "core", "services/status"),
                rule("get list watch", "core", "nodes"),
                rule("get list watch", "discovery.k8s.io", "endpointslices"),
                events(),
            ],
        ),
        (
            "pod-network-controller",
            vec![
                rule("get list watch patch update", "core", "nodes"),
                rule("create get list patch update watch", "discovery.k8s.io", "endpointslices"),
                events(),
            ],
        ),
        (
            "custom-resource-definition-controller",
            vec![
                rule("get list watch patch update", "apiextensions.k8s.io", "customresourcedefinitions"),
                rule("patch update", "apiextensions.k8s.io", "customresourcedefinitions/status"),
                rule("list delete deletecollection", "*", "*"),
            ],
        ),
        (
            "resourcequota-controller",
            vec![
                rule("list watch", "*", "*"),
                rule("get", "core", "resourcequotas"),
                rule("update", "core", "resourcequotas/status"),
                events(),
            ],
        ),
        (
            "pod-garbage-collector",
            vec![
                rule("delete get list watch", "core", "pods"),
                rule("patch update", "core", "pods/status"),
                rule("get list watch", "core", "nodes"),
            ],
        ),
        (
            "disruption-controller",
            vec![
                rule("get list watch", "policy", "poddisruptionbudgets"),
                rule("update", "policy", "poddisruptionbudgets/status"),
                // The scale of whatever keeps the pods, custom kinds too.
                rule("get", "*", "*"),
                events(),
            ],
        ),
        (
            "endpoint-controller",
            vec![
                rule("get list watch", "core", "services pods"),
                rule("create delete get list update watch", "core", "endpoints"),
                rule("create", "core", "endpoints/restricted"),
                events(),
            ],
        ),
        (
            "endpointslice-controller",
            vec![
                rule("get list watch", "core", "services pods nodes"),
                rule("update", "core", "services/finalizers"),
                rule("create delete get list update watch", "discovery.k8s.io", "endpointslices"),
                rule("create", "discovery.k8s.io", "endpointslices/restricted"),
                events(),
            ],
        ),
        (
            "endpointslicemirroring-controller",
            vec![
                rule("get list watch", "core", "services endpoints"),
                rule("update", "core", "services/finalizers endpoints/finalizers"),
                rule("create delete get list update watch", "discovery.k8s.io", "endpointslices"),
                rule("create", "discovery.k8s.io", "endpointslices/restricted"),
                events(),
            ],
        ),
        (
            "cluster-dns-controller",
            vec![
                rule("create", "core", "services"),
                rule("update", "core", "services/finalizers"),
                rule("create delete get list update watch", "discovery.k8s.io", "endpointslices"),
                rule("create", "discovery.k8s.io", "endpointslices/restricted"),
            ],
        ),
        (
            "ingress-controller",
            vec![
                rule("get list watch", "networking.k8s.io", "ingresses"),
                rule("create get list watch", "networking.k8s.io", "ingressclasses"),
                rule("patch", "networking.k8s.io", "ingresses/status"),
            ],
        ),
        // What a proxy of ingresses reads. A node that runs one far from the server is bound to the role by its administrator.
        (
            "ingress-proxy",
            vec![
                rule("get list watch", "networking.k8s.io", "ingresses ingressclasses"),
                rule("get list watch", "core", "secrets services"),
                rule("get list watch", "discovery.k8s.io", "endpointslices"),
                events(),
            ],
        ),
        (
            "certificate-controller",
            vec![
                rule("delete get list watch", "certificates.k8s.io", "certificatesigningrequests"),
                rule("update", "certificates.k8s.io", "certificatesigningrequests/approval certificatesigningrequests/status"),
                named(
                    rule("approve", "certificates.k8s.io", "signers"),
                    &["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"],
                ),
                named(rule("sign", "certificates.k8s.io", "signers"), SIGNERS),
                rule("create", "authorization.k8s.io", "subjectaccessreviews"),
                events(),
            ],
        ),
        (
            "clusterrole-aggregation-controller",
            vec![rule("escalate get list patch update watch", "rbac.authorization.k8s.io", "clusterroles")],
        ),
        (
            "api-service-registration-controller",
            vec![
                rule("create delete get list update watch", "apiregistration.k8s.io", "apiservices"),
                rule("get list watch", "apiextensions.k8s.io", "customresourcedefinitions"),
            ],
        ),
    ]
}

fn name(controller: &str) -> String {
    format!("system:controller:{controller}")
}

pub(super) fn roles() -> Vec<Value> {
    table().into_iter().map(|(controller, rules)| cluster_role(&name(controller), rules)).collect()
}

pub(super) fn bindings() -> Vec<Value> {
    let account = |controller: &str| json!([{"kind": "ServiceAccount", "name": controller, "namespace": "kube-system"}]);
    table().iter().map(|(controller, _)| cluster_binding(&name(controller), &name(controller), account(controller))).collect()
}

/// What somebody may do in one namespace only: role and binding. In `kube-system`, that are controllers and API servers behind
/// an APIService.
pub(super) fn namespaced() -> Vec<(Value, Value)> {
    let token_cleaner =
        vec![rule("get list watch delete", "core", "secrets"), rule("create patch update", "core events.k8s.io", "events")];
    let authentication = "extension-apiserver-authentication";
    let publisher =
        vec![rule("create", "core", "configmaps"), named(rule("get list update watch", "core", "configmaps"), &[authentication])];
    let reader = vec![named(rule("get list watch", "core", "configmaps"), &[authentication])];
    let account = |name: &str| json!([{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}]);
    vec![
        in_namespace(&name("token-cleaner"), &name("token-cleaner"), token_cleaner, account("token-cleaner")),
        in_namespace(
            &name("cluster-authentication-publisher"),
            &name("cluster-authentication-publisher"),
            publisher,
            account("cluster-authentication-publisher"),
        ),
        // Whoever runs an API server of their own binds it to the role.
        in_namespace(
            "extension-apiserver-authentication-reader",
            "system::extension-apiserver-authentication-reader",
            reader,
            json!([user("system:kube-controller-manager"), user("system:kube-scheduler")]),
        ),
        // Whoever holds a join token compares what stands there with the token's hash, before it trusts anybody.
        within(
            "kube-public",
            "kubeadm:bootstrap-signer-clusterinfo",
            "kubeadm:bootstrap-signer-clusterinfo",
            vec![named(rule("get", "core", "configmaps"), &["cluster-info"])],
            json!([user("system:anonymous")]),
        ),
    ]
}

fn in_namespace(role: &str, binding: &str, rules: Vec<Value>, subjects: Value) -> (Value, Value) {
    within(NAMESPACE, role, binding, rules, subjects)
}

fn within(namespace: &str, role: &str, binding: &str, rules: Vec<Value>, subjects: Value) -> (Value, Value) {
    let mut role_object = cluster_role(role, rules);
    role_object["kind"] = json!("Role");
    let mut binding = cluster_binding(binding, role, subjects);
    binding["kind"] = json!("RoleBinding");
    binding["roleRef"]["kind"] = json!("Role");
    for object in [&mut role_object, &mut binding] {
        object["metadata"]["namespace"] = json!(namespace);
    }
    (role_object, binding)
}
