//! Creates the Node, or takes up the one there is, and keeps its status fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerImage, Node, NodeStatus, NodeSystemInfo};
use mizzen_api::node_annotations::{DNS_ADDRESS, LINK_RANGES, POD_CIDR};
use mizzen_api::{Reason, local_path};
use mizzen_client::{ApiRequest, PatchKind};
use mizzen_images::Image;
use mizzen_reconcile::Backoff;
use mizzen_reconcile::typed::{self, gvr};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::peers::joined;
use super::pressure;
use super::status::{Facts, status};
use crate::shared::Shared;
use crate::spec::build::image_id;

/// Between two looks at the machine.
const LOOK: Duration = Duration::from_secs(10);
/// A status that has not changed is told again after this many looks: five minutes.
const HEARTBEAT: u32 = 30;
const RETRY: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
const VERSION: &str = concat!("v1.36.0+mizzen-", env!("CARGO_PKG_VERSION"));

/// Runs for ever; `ready` turns true when the API has the node as Ready.
pub(crate) async fn run(shared: Arc<Shared>, port: u16, ready: watch::Sender<bool>) {
    let mut told: Option<(Value, Option<String>)> = None;
    // Unknown is not none: a node on no link answers for no load balancer.
    let mut links: Option<String> = None;
    let (mut looks, mut failures) = (0_u32, 0_u32);
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        looks += 1;
        match shared.network.link_ranges().await {
            Ok(ranges) => links = Some(joined(ranges.into_iter())),
            Err(error) => tracing::debug!(%error, "the node's links are not known anew"),
        }
        let facts = facts(&shared, port);
        let mut without_times = serde_json::to_value(status(&facts, None)).unwrap_or_default();
        for condition in without_times.pointer_mut("/conditions").and_then(Value::as_array_mut).into_iter().flatten() {
            condition["lastHeartbeatTime"] = Value::Null;
            condition["lastTransitionTime"] = Value::Null;
        }
        let news = (without_times, links.clone());
        let is_news = told.as_ref() != Some(&news) || looks >= HEARTBEAT;
        match keep(&shared, &facts, links.as_deref(), is_news).await {
            Ok(false) => {}
            Ok(true) => {
                (told, looks) = (Some(news), 0);
                ready.send_replace(facts.network_problem.is_none());
            }
            Err(error) => {
                tell_failure(&error);
                // Looked at anew by then: the server may stay away for hours.
                ticks.reset_after(RETRY.delay(failures));
                (told, failures) = (None, failures.saturating_add(1));
                continue;
            }
        }
        failures = 0;
    }
}

/// Tells the status when it is news, or when somebody has told otherwise of this node (it was silent for too long, or its Node
/// was deleted); whether it did.
async fn keep(shared: &Shared, facts: &Facts, links: Option<&str>, is_news: bool) -> Result<bool, mizzen_reconcile::Error> {
    if !is_news {
        let present = typed::get::<Node>(shared.client.as_ref(), "", &shared.node_name).await?;
        if present.is_some_and(|present| !contradicts(&present, &status(facts, Some(&present)))) {
            return Ok(false);
        }
    }
    tell(shared, facts, links).await.map(|()| true)
}

/// Whether the node is said to be in another condition than it is, or to have other amounts to give.
fn contradicts(present: &Node, own: &NodeStatus) -> bool {
    let allocatable = |status: Option<&NodeStatus>| {
        let all = status.and_then(|status| status.allocatable.clone()).unwrap_or_default();
        all.into_iter().filter(|(name, _)| name.contains('/')).collect::<Vec<_>>()
    };
    if allocatable(present.status.as_ref()) != allocatable(Some(own)) {
        return true;
    }
    let said = present.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut own = own.conditions.iter().flatten();
    own.any(|own| said.clone().any(|said| said.type_ == own.type_ && said.status != own.status))
}

fn tell_failure(error: &mizzen_reconcile::Error) {
    // That the server is away is told by the lease.
    if error.is(Reason::ServiceUnavailable) {
        tracing::debug!(%error, "node status not written");
    } else {
        tracing::warn!(%error, "node status not written");
    }
}

async fn tell(shared: &Shared, facts: &Facts, links: Option<&str>) -> Result<(), mizzen_reconcile::Error> {
    let client = shared.client.as_ref();
    let name = &shared.node_name;
    let labels = labels(name);
    let network = &shared.network;
    let mut annotations = json!({
        (DNS_ADDRESS): network.pod_cidr().gateway(), (POD_CIDR): joined(network.pod_cidrs()),
        (local_path::FOLDER): shared.volumes_dir(),
    });
    if let Some(links) = links {
        annotations[LINK_RANGES] = json!(links);
    }
    let node = match typed::get::<Node>(client, "", name).await? {
        Some(node) => node,
        None => {
            let metadata =
                json!({"name": name, "labels": all_labels(&shared.registration.labels, &labels), "annotations": annotations});
            let spec = json!({"taints": shared.registration.taints});
            let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec});
            match client.write(ApiRequest::create(&gvr::<Node>(), "", object).manager("kubelet")).await {
                Ok(response) => typed::view::<Node>(&response.object)?,
                Err(status) => return Err(mizzen_reconcile::Error::api(format!("create nodes {name}"), status)),
            }
        }
    };
    if lacks(node.metadata.labels.as_ref(), &labels) || lacks(node.metadata.annotations.as_ref(), &annotations) {
        let metadata = json!({"metadata": {"labels": labels, "annotations": annotations}});
        typed::patch::<Node>(client, "", name, "", PatchKind::Merge, metadata).await?;
    }
    let status = serde_json::to_value(status(facts, Some(&node)));
    let mut status =
        status.map_err(|source| mizzen_reconcile::Error::Encode { operation: format!("status of nodes {name}"), source })?;
    if let Some(given) = status["allocatable"].as_object_mut() {
        // What nobody counts any more must be taken back.
        let before = node.status.iter().filter_map(|status| status.allocatable.as_ref()).flatten();
        for (name, _) in before {
            given.entry(name.clone()).or_insert(Value::Null);
        }
    }
    if let Some(addresses) = status["addresses"].as_array_mut() {
        // Their merge key is the type, of which there are two with two families.
        addresses.push(json!({"$patch": "replace"}));
    }
    match typed::patch::<Node>(client, "", name, "status", PatchKind::Strategic, json!({"status": status})).await {
        Err(error) if error.is(Reason::NotFound) => Err(error),
        result => result.map(|_| ()),
    }
}

/// Whether something of `wanted` is not there, or says something else.
fn lacks(has: Option<&BTreeMap<String, String>>, wanted: &Value) -> bool {
    let value = |key: &String| has.and_then(|has| has.get(key)).map(String::as_str);
    wanted.as_object().is_some_and(|wanted| wanted.iter().any(|(key, wanted)| value(key) != wanted.as_str()))
}

/// What the node was told to have, and what the machine has: the machine's goes first.
fn all_labels(told: &BTreeMap<String, String>, own: &Value) -> Value {
    let mut all = json!(told);
    if let (Some(all), Some(own)) = (all.as_object_mut(), own.as_object()) {
        all.extend(own.clone());
    }
    all
}

/// Well-known labels of the machine.
fn labels(name: &str) -> Value {
    let arch = arch();
    json!({
        "kubernetes.io/hostname": as_label_value(name), "kubernetes.io/os": "linux", "kubernetes.io/arch": arch,
        "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": arch,
    })
}

/// A node's name may be longer than a label's value, of 63 characters: a cut one lets the node join all the same.
fn as_label_value(name: &str) -> &str {
    // A DNS name is ASCII, so this is no part of a character.
    name.get(..63).unwrap_or(name).trim_end_matches(['-', '.'])
}

/// As Go names it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn facts(shared: &Shared, port: u16) -> Facts {
    Facts {
        addresses: shared.host_addresses.iter().map(ToString::to_string).collect(),
        hostname: shared.node_name.clone(),
        port,
        capacity: shared.capacity,
        pressure: pressure::read(&shared.data_dir, shared.eviction),
        network_problem: shared.network.plugins_problem(),
        unreached: shared.unreached.lock().clone(),
        info: info(),
        images: status_images(&shared.images.list()),
        now: shared.now(),
    }
}

/// The largest images with their names, by digest first; as many of each as the kubelet tells.
fn status_images(present: &[Arc<Image>]) -> Vec<ContainerImage> {
    const IMAGES: usize = 50;
    const NAMES: usize = 5;
    let mut by_digest: BTreeMap<&str, (u64, BTreeSet<String>, Vec<String>)> = BTreeMap::new();
    for image in present {
        let (size, digests, tags) = by_digest.entry(&image.digest).or_default();
        *size = image.size;
        digests.insert(image_id(image));
        // One whose tag has moved on is known by its digest alone.
        tags.extend((!image.reference.contains('@')).then(|| image.reference.clone()));
    }
    let mut images: Vec<_> = by_digest.into_values().collect();
    images.sort_by_key(|(size, ..)| std::cmp::Reverse(*size));
    let told = |(size, digests, tags): (u64, BTreeSet<String>, Vec<String>)| ContainerImage {
        names: Some(digests.into_iter().chain(tags).take(NAMES).collect()),
        size_bytes: i64::try_from(size).ok(),
    };
    images.into_iter().take(IMAGES).map(told).collect()
}

fn info() -> NodeSystemInfo {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let release = read("/etc/os-release");
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).map(|name| name.trim_matches('"').to_owned());
    NodeSystemInfo {
        machine_id: read("/etc/machine-id"),
        system_uuid: read("/sys/class/dmi/id/product_uuid"),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        os_image: pretty.unwrap_or_else(|| "Linux".into()),
        operating_system: "linux".into(),
        architecture: arch().into(),
        container_runtime_version: concat!("mizzen://", env!("CARGO_PKG_VERSION")).into(),
        kubelet_version: VERSION.into(),
        kube_proxy_version: String::new(),
        ..NodeSystemInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use mizzen_images::{ImageConfig, ImageKind, WasmImage};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_that_is_too_long_for_a_label_is_cut_to_one() {
        assert_eq!(as_label_value("n1.example"), "n1.example");
        assert_eq!(as_label_value(&format!("{}.b", "a".repeat(62))), "a".repeat(62));
    }

    #[test]
    fn images_are_told_by_size_each_once_with_all_its_names() {
        let image = |reference: &str, digest: &str, size| {
            let kind = ImageKind::Wasm(WasmImage { path: "/".into(), digest: String::new(), config: ImageConfig::default() });
            Arc::new(Image { reference: reference.into(), digest: digest.into(), id: String::new(), size, kind })
        };
        let told = status_images(&[
            image("r.test/small:1", "sha256:a", 1),
            image("r.test/big:1", "sha256:b", 2),
            image("r.test/big:2", "sha256:b", 2),
            image("r.test/big@sha256:b", "sha256:b", 2),
        ]);
        let told: Vec<_> =
            told.iter().map(|image| (image.names.clone().unwrap_or_default().join(" "), image.size_bytes)).collect();
        assert_eq!(
            told,
            [
                ("r.test/big@sha256:b r.test/big:1 r.test/big:2".to_owned(), Some(2)),
                ("r.test/small@sha256:a r.test/small:1".to_owned(), Some(1)),
            ]
        );
    }

    #[test]
    fn a_node_that_was_called_silent_tells_that_it_is_not() {
        let conditions = |ready: &str| json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}});
        let node = |ready: &str| serde_json::from_value::<Node>(conditions(ready)).expect("is a node");
        let own = node("True").status.expect("has a status");
        assert!(contradicts(&node("Unknown"), &own));
        assert!(!contradicts(&node("True"), &own));
        assert!(!contradicts(&Node::default(), &own));
    }
}
