//! What the node has granted a pod of CPU and memory. It is what the manifest asked for when the pod came, and becomes what
//! the manifest asks for later when there is room: until then the pod stays, and starts again, as it is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use mizzen_runtime::ContainerStatus;
use serde::{Deserialize, Serialize};

use super::containers::lasting;
use super::labels;
use super::view::is_sidecar;
use crate::error::HookError;
use crate::node::room::Refusal;
use crate::shared::Shared;
use crate::spec::resources;

/// Of each container, as [`resources::amounts`] has them.
pub(crate) type Amounts = BTreeMap<String, String>;

/// Why a pod does not have what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) wanted: Amounts,
    pub(crate) refusal: Refusal,
    /// Room has appeared since.
    pub(crate) again: bool,
}

/// What an agent must know that is started later; kept beside the volumes of a pod that was resized.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) granted: Amounts,
    /// What attempts were given since they started, by their ids.
    pub(crate) given: Amounts,
}

/// What the manifest asks for.
pub(crate) fn wanted(pod: &Pod) -> Amounts {
    lasting(pod).map(|container| (container.name.clone(), resources::amounts(container))).collect()
}

/// The pod as if it asked for what it was granted.
pub(crate) fn granted(pod: &Arc<Pod>, amounts: &Amounts) -> Arc<Pod> {
    let differs = |container: &Container| amounts.get(&container.name).filter(|text| **text != resources::amounts(container));
    if !lasting(pod).any(|container| differs(container).is_some()) {
        return pod.clone();
    }
    let mut pod = Pod::clone(pod);
    let spec = pod.spec.iter_mut();
    for container in spec.flat_map(|spec| spec.init_containers.iter_mut().flatten().chain(&mut spec.containers)) {
        let granted = differs(container).and_then(|text| serde_json::from_str::<ResourceRequirements>(text).ok());
        if let Some(granted) = granted {
            let resources = container.resources.get_or_insert_default();
            replace(&mut resources.limits, granted.limits);
            replace(&mut resources.requests, granted.requests);
        }
    }
    Arc::new(pod)
}

/// CPU and memory of a list become those of another.
fn replace(list: &mut Option<BTreeMap<String, Quantity>>, by: Option<BTreeMap<String, Quantity>>) {
    let mut merged = list.take().unwrap_or_default();
    merged.retain(|name, _| name != "cpu" && name != "memory");
    merged.extend(by.unwrap_or_default());
    *list = Some(merged).filter(|merged| !merged.is_empty());
}

/// What a pod was granted that has begun before this agent: as it was written down, else as its containers were started.
pub(crate) fn found(pod: &Pod, record: Option<&Record>, listed: &[ContainerStatus]) -> Amounts {
    let started = |name: &str| {
        let attempts = listed.iter().filter(|status| labels::get(&status.labels, labels::CONTAINER) == name);
        let newest = attempts.max_by_key(|status| labels::attempt(status))?;
        Some(labels::get(&newest.labels, labels::AMOUNTS)).filter(|amounts| !amounts.is_empty()).map(str::to_owned)
    };
    let mut amounts = wanted(pod);
    for (name, amount) in &mut amounts {
        if let Some(known) = record.and_then(|record| record.granted.get(name).cloned()).or_else(|| started(name)) {
            *amount = known;
        }
    }
    amounts
}

/// The pod as if it asked for what the API was told that it was granted.
pub(crate) fn told(pod: &Pod) -> Pod {
    let status = pod.status.clone().unwrap_or_default();
    let statuses: Vec<_> = status.container_statuses.into_iter().chain(status.init_container_statuses).flatten().collect();
    let mut pod = pod.clone();
    let spec = pod.spec.iter_mut();
    for container in spec.flat_map(|spec| spec.init_containers.iter_mut().flatten().chain(&mut spec.containers)) {
        let told = statuses.iter().find(|status| status.name == container.name);
        if let Some(allocated) = told.and_then(|status| status.allocated_resources.clone()) {
            replace(&mut container.resources.get_or_insert_default().requests, Some(allocated));
        }
    }
    pod
}

fn file(shared: &Shared, pod: &Pod) -> PathBuf {
    shared.volumes.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default()).join("resources.json")
}

/// `None` for a pod that was never resized.
pub(crate) async fn read(shared: &Shared, pod: &Pod) -> Option<Record> {
    let path = file(shared, pod);
    let bytes = tokio::fs::read(&path).await.ok()?;
    let read = serde_json::from_slice(&bytes);
    read.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "resizes of a pod not read")).ok()
}

pub(crate) async fn write(shared: &Shared, pod: &Pod, record: &Record) -> Result<(), HookError> {
    let path = file(shared, pod);
    let new = path.with_extension("new");
    let bytes = serde_json::to_vec(record).map_err(|error| HookError::Config(error.to_string()))?;
    if let Some(dir) = path.parent() {
        tokio::fs::create_dir_all(dir).await.map_err(HookError::io("create", dir))?;
    }
    tokio::fs::write(&new, bytes).await.map_err(HookError::io("write", &new))?;
    tokio::fs::rename(&new, &path).await.map_err(HookError::io("rename", &new))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Asked<'a>>,
    containers: Vec<Asked<'a>>,
    generation: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Asked<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<&'a ResourceRequirements>,
}

/// What the events about a resize say of it.
pub(crate) fn summary(pod: &Pod, error: Option<&str>) -> String {
    fn asked<'a>(containers: impl Iterator<Item = &'a Container>) -> Vec<Asked<'a>> {
        containers.map(|container| Asked { name: &container.name, resources: container.resources.as_ref() }).collect()
    }
    let spec = pod.spec.as_ref();
    let summary = Summary {
        init_containers: asked(spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()).filter(|c| is_sidecar(c))),
        containers: asked(spec.iter().flat_map(|spec| &spec.containers)),
        generation: pod.metadata.generation.unwrap_or(0),
        error,
    };
    serde_json::to_string(&summary).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use mizzen_runtime::ContainerState;
    use serde_json::json;

    use super::*;

    fn pod(cpu: &str) -> Arc<Pod> {
        let resources = json!({"requests": {"cpu": cpu, "ephemeral-storage": "1Gi"}});
        let spec = json!({"containers": [{"name": "a", "resources": resources}, {"name": "b"}]});
        Arc::new(serde_json::from_value(json!({"metadata": {"generation": 3}, "spec": spec})).expect("is a pod"))
    }

    #[test]
    fn a_pod_is_as_it_was_granted_until_it_is_granted_more() {
        let (before, now) = (pod("1"), pod("2"));
        let amounts = wanted(&before);
        assert!(Arc::ptr_eq(&granted(&before, &amounts), &before));
        assert_eq!(granted(&now, &amounts), before, "what cannot be resized stays as it is");
    }

    #[test]
    fn what_was_granted_is_found_again() {
        let attempt = |number: &str, cpu: &str| ContainerStatus {
            id: format!("a-{number}"),
            labels: [(labels::CONTAINER, "a"), (labels::ATTEMPT, number), (labels::AMOUNTS, cpu)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            state: ContainerState::Running { started_at: String::new(), pid: None },
        };
        let listed = [attempt("1", "second"), attempt("0", "first")];
        let of = |record: Option<&Record>, listed: &[ContainerStatus]| found(&pod("2"), record, listed)["a"].clone();
        assert_eq!(of(None, &[]), r#"{"requests":{"cpu":"2"}}"#);
        assert_eq!(of(None, &listed), "second");
        let record = Record { granted: [("a".to_owned(), "written".to_owned())].into(), ..Record::default() };
        assert_eq!(of(Some(&record), &listed), "written");
    }

    #[test]
    fn what_was_told_counts_for_what_is_asked_for() {
        let mut pod = Pod::clone(&pod("1000"));
        let status = json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "allocatedResources": {"cpu": "1"}}]});
        pod.status = Some(serde_json::from_value(status).expect("is a status"));
        assert_eq!(wanted(&told(&pod))["a"], r#"{"requests":{"cpu":"1"}}"#);
    }

    #[test]
    fn events_say_what_was_asked_for() {
        let said = r#"{"containers":[{"name":"a","resources":{"requests":{"cpu":"2","ephemeral-storage":"1Gi"}}},{"name":"b"}],"generation":3,"error":"why"}"#;
        assert_eq!(summary(&pod("2"), Some("why")), said);
    }
}
