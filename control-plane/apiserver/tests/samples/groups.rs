//! The named groups.

use serde_json::{Value, json};

use super::{Sample, other_uid, sample, template};

const ADMISSION: &str = "admissionregistration.k8s.io";
const DEVICES: &str = "resource.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const STORAGE: &str = "storage.k8s.io";

pub(super) fn samples() -> Vec<Sample> {
    let mut all = apps();
    all.extend(workloads());
    all.extend(access());
    all.extend(admission());
    all.extend(devices());
    all.extend(networking());
    all.extend(storage());
    all.extend(others());
    all
}

fn apps() -> Vec<Sample> {
    let workload = || json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template()}});
    let mismatch = || (json!({"spec": {"selector": {"matchLabels": {"a": "c"}}}}), "spec.template.metadata.labels");
    let selector =
        || json!({"spec": {"selector": {"matchLabels": {"a": "c"}}, "template": {"metadata": {"labels": {"a": "c"}}}}});
    vec![
        sample("apps", "replicasets", workload(), mismatch(), selector()),
        sample("apps", "deployments", workload(), mismatch(), selector()),
        sample("apps", "daemonsets", workload(), mismatch(), selector()),
        sample("apps", "statefulsets", workload(), mismatch(), json!({"spec": {"serviceName": "s"}})),
        sample(
            "apps",
            "controllerrevisions",
            json!({"data": {"a": 1}, "revision": 1}),
            (json!({"revision": -1}), "revision"),
            json!({"data": {"a": 2}}),
        ),
    ]
}

/// Jobs and what scales and protects workloads.
fn workloads() -> Vec<Sample> {
    let mut once = template();
    once["spec"]["restartPolicy"] = json!("Never");
    let target = json!({"kind": "Deployment", "name": "web"});
    vec![
        sample(
            "batch",
            "jobs",
            json!({"spec": {"template": once}}),
            (json!({"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}), "spec.template.spec.restartPolicy"),
            json!({"spec": {"completions": 2}}),
        ),
        sample(
            "batch",
            "cronjobs",
            json!({"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": once}}}}),
            (json!({"spec": {"schedule": "soon"}}), "spec.schedule"),
            other_uid(),
        ),
        sample(
            "autoscaling",
            "horizontalpodautoscalers",
            json!({"spec": {"maxReplicas": 3, "scaleTargetRef": target}}),
            (json!({"spec": {"maxReplicas": 0}}), "spec.maxReplicas"),
            other_uid(),
        ),
        sample(
            "policy",
            "poddisruptionbudgets",
            json!({"spec": {"minAvailable": 1}}),
            (json!({"spec": {"maxUnavailable": 1}}), "spec"),
            other_uid(),
        ),
    ]
}

fn admission() -> Vec<Sample> {
    let hooks = json!({"webhooks": [{"name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://example.com/a"}}]});
    let bad_hooks = || (json!({"webhooks": [{"name": "a"}]}), "webhooks[0].name");
    let rules = json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
    let policy = |part: &str, list: Value| json!({"spec": {"matchConstraints": {"resourceRules": rules}, "reinvocationPolicy": "Never", part: list}});
    let mutations = json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}]);
    let unmatched = || (json!({"spec": {"matchConstraints": null}}), "spec.matchConstraints");
    let unbound = || (json!({"spec": {"policyName": ""}}), "spec.policyName");
    vec![
        sample(ADMISSION, "mutatingwebhookconfigurations", hooks.clone(), bad_hooks(), other_uid()),
        sample(ADMISSION, "validatingwebhookconfigurations", hooks, bad_hooks(), other_uid()),
        sample(ADMISSION, "mutatingadmissionpolicies", policy("mutations", mutations), unmatched(), other_uid()),
        sample(
            ADMISSION,
            "validatingadmissionpolicies",
            json!({"spec": {"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": "true"}]}}),
            unmatched(),
            other_uid(),
        ),
        sample(ADMISSION, "mutatingadmissionpolicybindings", json!({"spec": {"policyName": "p"}}), unbound(), other_uid()),
        sample(
            ADMISSION,
            "validatingadmissionpolicybindings",
            json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}}),
            unbound(),
            other_uid(),
        ),
    ]
}

fn devices() -> Vec<Sample> {
    let claim = json!({"devices": {"requests": [{"name": "a", "exactly": {"deviceClassName": "c"}}]}});
    let nobody = json!([{"name": "a"}]);
    vec![
        sample(
            DEVICES,
            "deviceclasses",
            json!({"spec": {}}),
            (json!({"spec": {"selectors": [{}]}}), "spec.selectors[0].cel"),
            other_uid(),
        ),
        sample(
            DEVICES,
            "resourceclaims",
            json!({"spec": claim}),
            (json!({"spec": {"devices": {"requests": nobody}}}), "spec.devices.requests[0]"),
            json!({"spec": {"devices": null}}),
        ),
        sample(
            DEVICES,
            "resourceclaimtemplates",
            json!({"spec": {"spec": claim}}),
            (json!({"spec": {"spec": {"devices": {"requests": nobody}}}}), "spec.spec.devices.requests[0]"),
            json!({"spec": {"spec": {"devices": null}}}),
        ),
        sample(
            DEVICES,
            "resourceslices",
            json!({"spec": {"driver": "a.io", "nodeName": "n", "pool": {"name": "n", "resourceSliceCount": 1}}}),
            (json!({"spec": {"pool": {"resourceSliceCount": 0}}}), "spec.pool.resourceSliceCount"),
            json!({"spec": {"driver": "b.io"}}),
        ),
    ]
}

fn access() -> Vec<Sample> {
    let bound = || json!({"roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "r"}});
    let wrong_rule = || (json!({"rules": [{"apiGroups": [""], "resources": ["pods"]}]}), "rules[0].verbs");
    let other_role = || json!({"roleRef": {"name": "other"}});
    let robot = || (json!({"subjects": [{"kind": "Robot", "name": "x"}]}), "subjects[0].kind");
    vec![
        sample(RBAC, "roles", json!({"rules": []}), wrong_rule(), other_uid()),
        sample(RBAC, "clusterroles", json!({"rules": []}), wrong_rule(), other_uid()),
        sample(RBAC, "rolebindings", bound(), robot(), other_role()),
        sample(RBAC, "clusterrolebindings", bound(), robot(), other_role()),
    ]
}

fn networking() -> Vec<Sample> {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let named = |name: &str, document: Value| {
        let mut document = document;
        document["metadata"] = json!({"name": name});
        document
    };
    vec![
        sample(
            NETWORKING,
            "ingresses",
            json!({"spec": {"defaultBackend": backend}}),
            (json!({"spec": {"rules": [{"host": "a_b"}]}}), "spec.rules[0].host"),
            other_uid(),
        ),
        sample(
            NETWORKING,
            "ingressclasses",
            json!({"spec": {"controller": "example.com/a"}}),
            (json!({"spec": {"controller": "a"}}), "spec.controller"),
            json!({"spec": {"controller": "example.com/b"}}),
        ),
        sample(
            NETWORKING,
            "ipaddresses",
            named("10.0.0.1", json!({"spec": {"parentRef": {"resource": "services", "name": "a"}}})),
            (json!({"spec": {"parentRef": {"name": ""}}}), "spec.parentRef.name"),
            json!({"spec": {"parentRef": {"name": "b"}}}),
        ),
        sample(
            NETWORKING,
            "networkpolicies",
            json!({"spec": {"podSelector": {}}}),
            (json!({"spec": {"policyTypes": ["Both"]}}), "spec.policyTypes[0]"),
            other_uid(),
        ),
        sample(
            NETWORKING,
            "servicecidrs",
            json!({"spec": {"cidrs": ["10.0.0.0/16"]}}),
            (json!({"spec": {"cidrs": ["10.0.0.0"]}}), "spec.cidrs[0]"),
            json!({"spec": {"cidrs": ["10.1.0.0/16"]}}),
        ),
    ]
}

fn storage() -> Vec<Sample> {
    let attachment = json!({"spec": {"attacher": "a.io", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}});
    let node = json!({"spec": {"drivers": [{"name": "a.io", "nodeID": "n1"}]}});
    vec![
        sample(
            STORAGE,
            "storageclasses",
            json!({"provisioner": "a.io/b"}),
            (json!({"reclaimPolicy": "Recycle"}), "reclaimPolicy"),
            json!({"provisioner": "a.io/c"}),
        ),
        sample(
            STORAGE,
            "csidrivers",
            json!({"spec": {}}),
            (json!({"spec": {"fsGroupPolicy": "Sometimes"}}), "spec.fsGroupPolicy"),
            json!({"spec": {"attachRequired": false}}),
        ),
        sample(
            STORAGE,
            "csinodes",
            node,
            (json!({"spec": {"drivers": [{"name": "a.io"}]}}), "spec.drivers[0].nodeID"),
            json!({"spec": {"drivers": [{"name": "a.io", "nodeID": "n2"}]}}),
        ),
        sample(
            STORAGE,
            "csistoragecapacities",
            json!({"storageClassName": "fast", "capacity": "1Gi"}),
            (json!({"capacity": "-1"}), "capacity"),
            json!({"storageClassName": "slow"}),
        ),
        sample(
            STORAGE,
            "volumeattachments",
            attachment,
            (json!({"spec": {"source": {"persistentVolumeName": ""}}}), "spec.source.persistentVolumeName"),
            json!({"spec": {"nodeName": "m"}}),
        ),
        sample(
            STORAGE,
            "volumeattributesclasses",
            json!({"driverName": "a.io", "parameters": {"a": "b"}}),
            (json!({"parameters": null}), "parameters"),
            json!({"parameters": {"a": "c"}}),
        ),
    ]
}

fn others() -> Vec<Sample> {
    let pem = crate::support::certificate_request();
    let limited = json!({"limitResponse": {"type": "Reject"}});
    vec![
        sample(
            "events.k8s.io",
            "events",
            json!({"eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.com/c", "reportingInstance": "i",
                "action": "A", "reason": "R", "type": "Normal", "metadata": {"name": "y"},
                "regarding": {"namespace": "default", "kind": "Pod", "name": "x"}}),
            (json!({"action": null}), "action"),
            other_uid(),
        ),
        sample(
            "certificates.k8s.io",
            "certificatesigningrequests",
            json!({"spec": {"request": pem, "signerName": "example.com/a", "usages": ["client auth"]}}),
            (json!({"spec": {"signerName": "a"}}), "spec.signerName"),
            other_uid(),
        ),
        sample(
            FLOW,
            "flowschemas",
            json!({"spec": {"priorityLevelConfiguration": {"name": "a"}}}),
            (json!({"spec": {"matchingPrecedence": -1}}), "spec.matchingPrecedence"),
            other_uid(),
        ),
        sample(
            FLOW,
            "prioritylevelconfigurations",
            json!({"spec": {"type": "Limited", "limited": limited}}),
            (json!({"spec": {"type": "Exempt"}}), "spec.limited"),
            other_uid(),
        ),
        sample(
            "coordination.k8s.io",
            "leases",
            json!({"spec": {}}),
            (json!({"spec": {"leaseDurationSeconds": 0}}), "spec.leaseDurationSeconds"),
            other_uid(),
        ),
        sample(
            "discovery.k8s.io",
            "endpointslices",
            json!({"addressType": "IPv4", "endpoints": []}),
            (json!({"endpoints": [{"addresses": []}]}), "endpoints[0].addresses"),
            json!({"addressType": "IPv6"}),
        ),
        sample(
            "scheduling.k8s.io",
            "priorityclasses",
            json!({"value": 1}),
            (json!({"value": 2_000_000_000}), "value"),
            json!({"value": 2}),
        ),
        sample(
            "apiregistration.k8s.io",
            "apiservices",
            json!({"metadata": {"name": "v1.sample.example.com"}, "spec": {"group": "sample.example.com", "version": "v1",
                "groupPriorityMinimum": 1000, "versionPriority": 15, "service": {"namespace": "default", "name": "none"}}}),
            (json!({"spec": {"versionPriority": 0}}), "spec.versionPriority"),
            json!({"spec": {"group": "other.example.com"}}),
        ),
        sample(
            "node.k8s.io",
            "runtimeclasses",
            json!({"handler": "wasm"}),
            (json!({"handler": "Wasm!"}), "handler"),
            json!({"handler": "other"}),
        ),
    ]
}
