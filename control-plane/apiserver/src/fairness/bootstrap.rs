//! The flow control objects of a cluster from its start (Kubernetes 1.36, "Default FlowSchema and PriorityLevelConfiguration
//! objects" and "Maintenance of the mandatory and suggested configuration objects" in the documents of flow control).

use mizzen_api::{GroupVersionResource, Reason, Status};
use mizzen_client::{ApiRequest, Client, ListOptions};
use serde_json::{Value, json};

pub(super) const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// Whether the server keeps an object's spec as it is here.
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
const MANAGER: &str = "api-priority-and-fairness-config-producer-v1";

const MASTERS: &str = "system:masters";
const NODES: &str = "system:nodes";
const ACCOUNTS: &str = "system:serviceaccounts";
const EVERYBODY: [&str; 2] = ["system:unauthenticated", "system:authenticated"];
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn level(name: &str, shares: u32, lendable: u32, limit_response: Value) -> Value {
    let limited = json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": limit_response});
    object("PriorityLevelConfiguration", name, json!({"type": "Limited", "limited": limited}))
}

fn queuing(queues: u32, hand: u32) -> Value {
    json!({"type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}})
}

pub(super) fn mandatory_levels() -> Vec<Value> {
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    vec![level("catch-all", 5, 0, json!({"type": "Reject"})), object("PriorityLevelConfiguration", "exempt", exempt)]
}

pub(super) fn suggested_levels() -> Vec<Value> {
    let rows = [
        ("system", 30, 33, 64, 6),
        ("node-high", 40, 25, 64, 6),
        ("leader-election", 10, 0, 16, 4),
        ("workload-high", 40, 50, 128, 6),
        ("workload-low", 100, 90, 128, 6),
        ("global-default", 20, 50, 128, 6),
    ];
    rows.map(|(name, shares, lendable, queues, hand)| level(name, shares, lendable, queuing(queues, hand))).into()
}

/// `method` may be empty.
fn schema(name: &str, level: &str, precedence: u32, method: &str, rules: Value) -> Value {
    let mut spec = json!({"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [rules]});
    if !method.is_empty() {
        spec["distinguisherMethod"] = json!({"type": method});
    }
    object("FlowSchema", name, spec)
}

fn users(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"kind": "User", "user": {"name": name}})).collect()
}

fn groups(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"kind": "Group", "group": {"name": name}})).collect()
}

fn accounts(names: &[&str]) -> Vec<Value> {
    let account = |name: &&str| json!({"kind": "ServiceAccount", "serviceAccount": {"name": name, "namespace": "kube-system"}});
    names.iter().map(account).collect()
}

/// In every namespace.
fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"]});
    if cluster {
        rule["clusterScope"] = Value::Bool(true);
    }
    rule
}

fn everything(subjects: Vec<Value>) -> Value {
    json!({"subjects": subjects, "resourceRules": [resources(&["*"], "*", &["*"], true)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]})
}

pub(super) fn mandatory_schemas() -> Vec<Value> {
    vec![
        schema("exempt", "exempt", 1, "", everything(groups(&[MASTERS]))),
        schema("catch-all", "catch-all", 10_000, "ByUser", everything(groups(&EVERYBODY))),
    ]
}

pub(super) fn suggested_schemas() -> Vec<Value> {
    let write = ["get", "create", "update"];
    let leases = |verbs: &[&str]| resources(verbs, "coordination.k8s.io", &["leases"], false);
    let with = |subjects: Vec<Value>, rules: Vec<Value>| json!({"subjects": subjects, "resourceRules": rules});
    let probes = json!({"subjects": groups(&EVERYBODY),
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]});
    let leaders = [users(&[CONTROLLER_MANAGER, SCHEDULER]), accounts(&["*"])].concat();
    let endpoints =
        [users(&[CONTROLLER_MANAGER]), accounts(&["endpoint-controller", "endpointslicemirroring-controller"])].concat();
    let workloads = vec![resources(&write, "", &["endpoints", "configmaps"], false), leases(&write)];
    let nodes = vec![resources(&["*"], "", &["nodes", "nodes/status"], true), leases(&["*"])];
    vec![
        schema("system-nodes", "system", 500, "ByUser", everything(groups(&[NODES]))),
        schema("system-node-high", "node-high", 400, "ByUser", with(groups(&[NODES]), nodes)),
        schema("probes", "exempt", 2, "", probes),
        schema("system-leader-election", "leader-election", 100, "ByUser", with(leaders, vec![leases(&write)])),
        schema("workload-leader-election", "leader-election", 200, "ByUser", with(accounts(&["*"]), workloads)),
        schema(
            "endpoint-controller",
            "workload-high",
            150,
            "ByUser",
            with(endpoints, vec![resources(&write, "", &["endpoints"], false)]),
        ),
        schema("kube-controller-manager", "workload-high", 800, "ByNamespace", everything(users(&[CONTROLLER_MANAGER]))),
        schema("kube-scheduler", "workload-high", 800, "ByNamespace", everything(users(&[SCHEDULER]))),
        schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", everything(accounts(&["*"]))),
        schema("service-accounts", "workload-low", 9000, "ByUser", everything(groups(&[ACCOUNTS]))),
        schema("global-default", "global-default", 9900, "ByUser", everything(groups(&EVERYBODY))),
    ]
}

/// The kinds, each with its objects: those that must be as they are here, and those that its owner may change.
fn wanted() -> [(GroupVersionResource, Vec<Value>, Vec<Value>); 2] {
    let kind = |resource: &str| GroupVersionResource::new(GROUP, "v1", resource);
    [
        (kind("prioritylevelconfigurations"), mandatory_levels(), suggested_levels()),
        (kind("flowschemas"), mandatory_schemas(), suggested_schemas()),
    ]
}

/// What becomes of an object.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    Create(Value),
    Update(Value),
}

/// `present` is what is stored. An object that nobody has said anything about is the server's as long as its spec was never
/// changed.
fn step(present: Option<&Value>, wanted: &Value, mandatory: bool) -> Step {
    let Some(present) = present else {
        let mut new = wanted.clone();
        new["metadata"]["annotations"] = json!({AUTO_UPDATE: "true"});
        return Step::Create(new);
    };
    let said = present["metadata"]["annotations"][AUTO_UPDATE].as_str();
    let ours = mandatory || said.map_or(present["metadata"]["generation"] == 1, |said| said == "true");
    let mut updated = present.clone();
    updated["metadata"]["annotations"][AUTO_UPDATE] = json!(if ours { "true" } else { "false" });
    // How much the exempt level takes of the server is its owner's matter.
    let is_exempt_level = wanted["kind"] == "PriorityLevelConfiguration" && wanted["metadata"]["name"] == "exempt";
    if ours && !is_exempt_level {
        updated["spec"] = wanted["spec"].clone();
    }
    if updated == *present { Step::Nothing } else { Step::Update(updated) }
}

/// Puts every object in place and gives those that are the server's their spec back, as `client` (a member of
/// `system:masters`). Objects of the server that belong to it no longer are removed.
///
/// # Errors
/// The first request that fails for another reason than that somebody else was faster.
pub async fn ensure(client: &dyn Client) -> Result<(), Status> {
    for (resource, mandatory, suggested) in wanted() {
        let stored = client.list(&resource, "", &ListOptions::default()).await?;
        let mut present = Vec::new();
        for object in &stored.items {
            present.push(object.value().map_err(Status::internal)?);
        }
        let named = |name: &Value| present.iter().find(|object| object["metadata"]["name"] == *name);
        for (wanted, mandatory) in
            mandatory.iter().map(|wanted| (wanted, true)).chain(suggested.iter().map(|wanted| (wanted, false)))
        {
            let name = &wanted["metadata"]["name"];
            let request = match step(named(name), wanted, mandatory) {
                Step::Nothing => continue,
                Step::Create(object) => ApiRequest::create(&resource, "", object),
                Step::Update(object) => ApiRequest::update(&resource, "", name.as_str().unwrap_or_default(), object),
            };
            settled(client.write(request.manager(MANAGER)).await)?;
        }
        let known = |name: &Value| mandatory.iter().chain(&suggested).any(|wanted| wanted["metadata"]["name"] == *name);
        for object in &present {
            let ours = object["metadata"]["annotations"][AUTO_UPDATE] == "true";
            if let Some(name) = object["metadata"]["name"].as_str().filter(|_| ours && !known(&object["metadata"]["name"])) {
                settled(client.write(ApiRequest::new(mizzen_api::Verb::Delete, &resource, "", name)).await)?;
            }
        }
    }
    Ok(())
}

/// Somebody else wrote or removed it meanwhile: the next round looks again.
fn settled<T>(written: Result<T, Status>) -> Result<(), Status> {
    match written {
        Err(status) if !status.is(Reason::AlreadyExists) && !status.is(Reason::Conflict) && !status.is(Reason::NotFound) => {
            Err(status)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(generation: u32, auto_update: Option<&str>) -> Value {
        let mut object = suggested_levels().remove(0);
        object["metadata"]["generation"] = json!(generation);
        if let Some(auto_update) = auto_update {
            object["metadata"]["annotations"] = json!({AUTO_UPDATE: auto_update});
        }
        object["spec"]["limited"]["nominalConcurrencyShares"] = json!(7);
        object
    }

    fn shares(step: &Step) -> Option<&Value> {
        match step {
            Step::Update(object) => Some(&object["spec"]["limited"]["nominalConcurrencyShares"]),
            _ => None,
        }
    }

    #[test]
    fn a_suggested_object_is_kept_until_its_owner_takes_it() {
        let wanted = suggested_levels().remove(0);
        assert_eq!(shares(&step(Some(&stored(2, Some("true"))), &wanted, false)), Some(&json!(30)));
        assert_eq!(step(Some(&stored(2, Some("false"))), &wanted, false), Step::Nothing);
        // Nobody said anything: a spec that was changed is its owner's, and is marked so.
        assert_eq!(shares(&step(Some(&stored(1, None)), &wanted, false)), Some(&json!(30)));
        assert_eq!(shares(&step(Some(&stored(2, None)), &wanted, false)), Some(&json!(7)));
    }

    #[test]
    fn a_mandatory_object_is_always_put_right_and_the_exempt_level_keeps_its_shares() {
        let wanted = mandatory_levels();
        let mut changed = wanted[0].clone();
        changed["metadata"]["annotations"] = json!({AUTO_UPDATE: "false"});
        changed["spec"]["limited"]["nominalConcurrencyShares"] = json!(100);
        assert_eq!(shares(&step(Some(&changed), &wanted[0], true)), Some(&json!(5)));
        let mut exempt = wanted[1].clone();
        exempt["metadata"]["annotations"] = json!({AUTO_UPDATE: "true"});
        exempt["spec"]["exempt"]["nominalConcurrencyShares"] = json!(10);
        assert_eq!(step(Some(&exempt), &wanted[1], true), Step::Nothing);
    }
}
