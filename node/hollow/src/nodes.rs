//! Registers hollow nodes, keeps their status fresh, and deletes them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use mizzen_api::Reason;
use mizzen_client::{ApiRequest, Client, DeleteOptions, PatchKind};
use mizzen_reconcile::typed::{self, gvr};
use mizzen_reconcile::{Clock, Error};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::AT_ONCE;
use crate::leases;
use crate::profile::Profile;

const VERSION: &str = concat!("v1.36.0+mizzen-", env!("CARGO_PKG_VERSION"));
/// A status that has not changed is told again after so long, as kubelets do.
const HEARTBEAT: Duration = Duration::from_secs(300);

pub(crate) struct Nodes {
    pub(crate) client: Arc<dyn Client>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) prefix: String,
    pub(crate) count: usize,
    pub(crate) profile: Arc<Profile>,
}

impl Nodes {
    pub(crate) fn name(&self, number: usize) -> String {
        format!("{}-{number}", self.prefix)
    }

    /// The number of a node of ours.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        let digits = name.strip_prefix(&self.prefix)?.strip_prefix('-')?;
        let number = digits.parse::<usize>().ok().filter(|number| *number < self.count)?;
        (digits.len() == 1 || !digits.starts_with('0')).then_some(number)
    }

    pub(crate) async fn register(self: &Arc<Self>) -> Result<(), Error> {
        for_each(self, async |nodes, number| {
            let uid = nodes.create(number).await?;
            nodes.tell_status(number).await?;
            leases::create(&nodes, number, &uid).await
        })
        .await
    }

    /// Deletes all of them; answers how many could not be.
    pub(crate) async fn delete(self: &Arc<Self>) -> usize {
        let failed = Arc::new(AtomicUsize::new(0));
        let counted = &failed;
        let all = for_each(self, move |nodes, number| {
            let counted = counted.clone();
            async move {
                let name = nodes.name(number);
                if let Err(error) = typed::delete::<Node>(nodes.client.as_ref(), "", &name, DeleteOptions::default()).await {
                    tracing::warn!(%error, "a hollow node stays");
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        });
        // Each failure has been counted.
        let _ = all.await;
        failed.load(Ordering::Relaxed)
    }

    /// The node's uid; of one that is there, if it is there.
    async fn create(&self, number: usize) -> Result<String, Error> {
        let name = self.name(number);
        let request = ApiRequest::create(&gvr::<Node>(), "", self.object(number)).manager("mizzen-hollow");
        match self.client.write(request).await {
            Ok(response) => Ok(response.object.head().uid.clone()),
            Err(status) if status.is(Reason::AlreadyExists) => {
                let present = typed::get_object::<Node>(self.client.as_ref(), "", &name).await?;
                Ok(present.map(|node| node.head().uid.clone()).unwrap_or_default())
            }
            Err(status) => Err(Error::api(format!("create nodes {name}"), status)),
        }
    }

    fn object(&self, number: usize) -> Value {
        let (name, profile) = (self.name(number), &self.profile.nodes);
        let mut labels = json!({
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "mizzen.dev/hollow": "true",
        });
        if let Some(zone) = number.checked_rem(profile.zones) {
            labels["topology.kubernetes.io/zone"] = json!(format!("zone-{zone}"));
        }
        for (key, value) in &profile.labels {
            labels[key] = json!(value);
        }
        let spec = if profile.taints.is_empty() { json!({}) } else { json!({"taints": profile.taints}) };
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec})
    }

    async fn tell_status(&self, number: usize) -> Result<(), Error> {
        let status = json!({"status": self.status(number, self.clock.now())});
        let name = self.name(number);
        typed::patch::<Node>(self.client.as_ref(), "", &name, "status", PatchKind::Strategic, status).await.map(|_| ())
    }

    fn status(&self, number: usize, now: Timestamp) -> Value {
        let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let condition = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason, "lastHeartbeatTime": time, "lastTransitionTime": time});
        let capacity = &self.profile.nodes.capacity;
        json!({
            "capacity": capacity, "allocatable": capacity,
            "addresses": [
                {"type": "InternalIP", "address": address(number).to_string()},
                {"type": "Hostname", "address": self.name(number)},
            ],
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                condition("Ready", "True", "KubeletReady"),
            ],
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": VERSION, "kubeProxyVersion": "",
                "containerRuntimeVersion": concat!("hollow://", env!("CARGO_PKG_VERSION")), "kernelVersion": "",
                "osImage": "hollow", "machineID": "", "systemUUID": "", "bootID": "",
            },
        })
    }
}

/// An address of 172.16.0.0/12 that nobody answers at.
pub(crate) fn address(number: usize) -> Ipv4Addr {
    let offset = u32::try_from(number % (1 << 20)).unwrap_or_default();
    Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, 0, 0)) + offset)
}

/// Works on every node, some at a time; stops at the first failure.
async fn for_each<F: Future<Output = Result<(), Error>> + Send + 'static>(
    nodes: &Arc<Nodes>,
    work: impl Fn(Arc<Nodes>, usize) -> F,
) -> Result<(), Error> {
    let mut running = JoinSet::new();
    for number in 0..nodes.count {
        if running.len() >= AT_ONCE
            && let Some(ended) = running.join_next().await
        {
            joined(ended)?;
        }
        running.spawn(work(nodes.clone(), number));
    }
    while let Some(ended) = running.join_next().await {
        joined(ended)?;
    }
    Ok(())
}

fn joined(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    // Nobody aborts them, so that one that did not end has panicked: its hook has told.
    ended.unwrap_or(Ok(()))
}

/// Calls on the nodes in turn, all of them once in `round`, at an even pace. For ever.
pub(crate) async fn in_turn<F: Future<Output = ()> + Send + 'static>(
    nodes: Arc<Nodes>,
    round: Duration,
    call: impl Fn(Arc<Nodes>, usize) -> F,
) {
    const TICK: Duration = Duration::from_millis(100);
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let mut ticks = tokio::time::interval(TICK);
    // A server that is slow gets fewer calls, not all that were missed at once.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut next, mut owed) = (0_usize, 0.0_f64);
    loop {
        ticks.tick().await;
        owed += nodes.count as f64 * TICK.as_secs_f64() / round.as_secs_f64();
        while owed >= 1.0 {
            owed -= 1.0;
            // The semaphore is never closed.
            let Ok(permit) = at_once.clone().acquire_owned().await else { return };
            let work = call(nodes.clone(), next);
            tokio::spawn(async move {
                work.await;
                drop(permit);
            });
            next = (next + 1) % nodes.count.max(1);
        }
    }
}

pub(crate) async fn heartbeats(nodes: Arc<Nodes>) {
    // They have just told it.
    tokio::time::sleep(HEARTBEAT / 2).await;
    in_turn(nodes, HEARTBEAT, async |nodes, number| {
        if let Err(error) = nodes.tell_status(number).await {
            tracing::debug!(node = nodes.name(number), %error, "status not told");
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_nodes_are_their_own() {
        assert_eq!(address(0), Ipv4Addr::new(172, 16, 0, 0));
        assert_eq!(address(4999), Ipv4Addr::new(172, 16, 19, 135));
        assert_eq!(address((1 << 20) - 1), Ipv4Addr::new(172, 31, 255, 255));
    }
}
