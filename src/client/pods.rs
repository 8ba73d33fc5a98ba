//! Which pod is meant by `web`, `pod/web` or `deployment/web`, and which of its containers.

use anyhow::{Context, bail};
use mizzen_api::LabelSelector;
use serde_json::Value;

use super::resources::Catalogue;
use super::session::{Session, escape, with_query};
use super::targets::{self, objects};

/// Says which container is looked at where nobody does (`kubectl.kubernetes.io/default-container`).
const DEFAULT_CONTAINER: &str = "/metadata/annotations/kubectl.kubernetes.io~1default-container";

/// The pods that `word` means: the pod of that name, or all of a workload or service, the one to look at first.
///
/// # Errors
/// When there is none.
pub async fn of(session: &Session, word: &str) -> anyhow::Result<Vec<Value>> {
    let Some((kind, name)) = word.split_once('/') else { return Ok(vec![pod(session, word).await?]) };
    if matches!(kind, "pod" | "pods" | "po") {
        return Ok(vec![pod(session, name).await?]);
    }
    let catalogue = Catalogue::discover(&session.client).await?;
    let target = targets::parse(&catalogue, &[word.to_owned()])?.pop().context("name a pod")?;
    let owner = session.get(&target.path(session, false)).await?;
    let selector = selector(&owner)?.with_context(|| format!("cannot get the pods of {word}: it selects none"))?;
    let found = labelled(session, &selector, false).await?;
    if found.is_empty() {
        bail!("no pods found for {word} (labels {selector})");
    }
    Ok(found)
}

/// The pods with these labels, the one to look at first.
///
/// # Errors
/// When the server refuses.
pub async fn labelled(session: &Session, selector: &str, everywhere: bool) -> anyhow::Result<Vec<Value>> {
    let collection = if everywhere { "/api/v1/pods".to_owned() } else { pods(session) };
    let mut found = objects(session.get(&with_query(&collection, &[("labelSelector", selector)])).await?);
    found.sort_by_key(order);
    Ok(found)
}

fn pods(session: &Session) -> String {
    format!("/api/v1/namespaces/{}/pods", session.namespace)
}

async fn pod(session: &Session, name: &str) -> anyhow::Result<Value> {
    targets::check_name(name)?;
    session.get(&format!("{}/{}", pods(session), escape(name))).await
}

/// The label selector of a workload (`matchLabels` and `matchExpressions`) or of a service or ReplicationController (labels).
fn selector(owner: &Value) -> anyhow::Result<Option<String>> {
    let Some(selector) = owner.pointer("/spec/selector").filter(|selector| !selector.is_null()) else { return Ok(None) };
    let is_labels = selector.as_object().is_some_and(|map| map.values().all(Value::is_string));
    let parsed = match is_labels {
        true => LabelSelector::from_match_labels(Some(selector)),
        false => LabelSelector::from_document(Some(selector)),
    };
    Ok(Some(parsed.map(|selector| selector.to_string())?).filter(|text| !text.is_empty()))
}

/// Ready ones first, then those that run, then the others; of like ones the oldest.
fn order(pod: &Value) -> (u8, String, String) {
    let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let rank = match pod["status"]["phase"].as_str() {
        Some("Running") if ready => 0,
        Some("Running") => 1,
        Some("Pending") => 2,
        _ => 3,
    };
    (rank, text(pod, "/metadata/creationTimestamp"), text(pod, "/metadata/name"))
}

pub fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub fn is_over(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// All containers, in the order in which they start.
pub fn containers(pod: &Value) -> Vec<String> {
    let lists = ["initContainers", "containers", "ephemeralContainers"].into_iter();
    let named = lists.filter_map(|list| pod["spec"][list].as_array()).flatten();
    named.filter_map(|container| container["name"].as_str()).map(str::to_owned).collect()
}

/// The container that is looked at when none is named; says so when there is a choice.
pub fn default_container(pod: &Value) -> String {
    let names = containers(pod);
    let first = pod.pointer("/spec/containers/0/name").and_then(Value::as_str).unwrap_or_default();
    match pod.pointer(DEFAULT_CONTAINER).and_then(Value::as_str).filter(|name| names.iter().any(|known| known == name)) {
        Some(chosen) => chosen.to_owned(),
        None => {
            if names.len() > 1 {
                let init = pod["spec"]["initContainers"].as_array().map_or(0, Vec::len);
                let mut listed: Vec<String> = names[init..].to_vec();
                listed.extend(names[..init].iter().map(|name| format!("{name} (init)")));
                eprintln!("Defaulted container {first:?} out of: {}", listed.join(", "));
            }
            first.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_pods_of_workloads_and_services_are_found_by_their_selectors() {
        let of = |spec: Value| selector(&json!({"spec": spec})).expect("is a selector");
        assert_eq!(of(json!({"selector": {"matchLabels": {"app": "web"}}})).as_deref(), Some("app=web"));
        assert_eq!(of(json!({"selector": {"app": "web"}})).as_deref(), Some("app=web"));
        assert_eq!(of(json!({})), None, "a service without a selector has no pods of its own");
    }

    #[test]
    fn a_pod_that_is_ready_is_looked_at_first() {
        let pod = |name: &str, phase: &str, ready: &str, made: &str| {
            json!({"metadata": {"name": name, "creationTimestamp": made},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}})
        };
        let mut pods = [
            pod("waits", "Pending", "False", "2026-01-01T00:00:00Z"),
            pod("young", "Running", "True", "2026-01-03T00:00:00Z"),
            pod("old", "Running", "True", "2026-01-02T00:00:00Z"),
            pod("unwell", "Running", "False", "2026-01-01T00:00:00Z"),
        ];
        pods.sort_by_key(order);
        assert_eq!(pods.each_ref().map(|pod| text(pod, "/metadata/name")), ["old", "young", "unwell", "waits"]);
    }

    #[test]
    fn the_first_container_is_the_default_unless_the_pod_says_another() {
        let mut pod =
            json!({"metadata": {}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!((default_container(&pod), containers(&pod)), ("a".to_owned(), vec!["i".into(), "a".into(), "b".into()]));
        pod["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/default-container": "b"});
        assert_eq!(default_container(&pod), "b");
        pod["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/default-container": "none"});
        assert_eq!(default_container(&pod), "a");
    }
}
