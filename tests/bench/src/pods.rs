//! Container pods whose image is in the store: until a watch sees them run, and what they cost beside themselves.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use mizzen_tests::{Cluster, Registry, images};
use serde_json::json;
use tokio::sync::mpsc;

use crate::memory::{self, megabytes};
use crate::samples::{Samples, show};
use crate::table::Table;

const SINGLE: usize = 30;
const AT_ONCE: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let registry = Registry::start();
    let image = images::busybox(&registry, "bench:v1");
    let cluster = Cluster::up();
    let mut pods = Pods::of(&cluster).await?;
    // Brings the image into the store.
    pods.one("warm", &image).await?;

    let (mut running, mut gone) = (Samples::default(), Samples::default());
    for number in 0..SINGLE {
        let (started, ended) = pods.one(&format!("single-{number}"), &image).await?;
        running.push(started);
        gone.push(ended);
    }
    let what = format!("container pod, image present: create to Running seen by a watch (p50 / p99 of {SINGLE})");
    table.row(&what, running.summary(), "p50 120 ms", String::new());
    let what = format!("container pod that ends on SIGTERM: delete to gone from a watch (p50 of {SINGLE})");
    table.row(&what, show(gone.median()), "", String::new());

    let server = || cluster.pid().and_then(memory::of).context("mizzen up is running");
    let before = server()?;
    let names: Vec<String> = (0..AT_ONCE).map(|number| format!("many-{number}")).collect();
    let all = pods.all(&names, &image).await?;
    table.row(&format!("{AT_ONCE} container pods at once: create to all Running"), show(all), "2 s", String::new());

    let shims = memory::running_from(&cluster.data());
    let shim_bytes: u64 = shims.iter().filter_map(|pid| memory::of(*pid)).sum();
    let grown = server()?.saturating_sub(before);
    let per_pod = (shim_bytes + grown) / AT_ONCE as u64;
    let parts = format!(
        "{} shims {} kB each, server {} kB",
        shims.len(),
        shim_bytes / 1000 / shims.len().max(1) as u64,
        grown / 1000 / AT_ONCE as u64
    );
    let what = format!("memory per container pod beyond its own processes, with {AT_ONCE} (Pss)");
    table.row(&what, format!("{} ({parts})", megabytes(per_pod)), "2 MB", String::new());
    pods.delete_all(&names).await
}

/// The pods of namespace default, with a watch on them.
pub(crate) struct Pods {
    api: Api<Pod>,
    seen: mpsc::UnboundedReceiver<Seen>,
    watcher: tokio::task::AbortHandle,
}

struct Seen {
    name: String,
    phase: String,
    gone: bool,
    at: Instant,
}

impl Pods {
    pub(crate) async fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let api: Api<Pod> = Api::default_namespaced(client_of(cluster).await?);
        let version = api.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
        let (tell, seen) = mpsc::unbounded_channel();
        let watched = api.clone();
        let watcher = tokio::spawn(async move {
            let mut events = std::pin::pin!(watched.watch(&WatchParams::default(), &version).await?);
            while let Some(event) = events.next().await {
                let (pod, gone) = match event? {
                    WatchEvent::Added(pod) | WatchEvent::Modified(pod) => (pod, false),
                    WatchEvent::Deleted(pod) => (pod, true),
                    WatchEvent::Bookmark(_) | WatchEvent::Error(_) => continue,
                };
                let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
                if tell.send(Seen { name: pod.name_any(), phase, gone, at: Instant::now() }).is_err() {
                    break;
                }
            }
            Ok::<_, kube::Error>(())
        });
        Ok(Self { api, seen, watcher: watcher.abort_handle() })
    }

    /// Runs a pod and deletes it: from its creation to Running, and from its deletion to gone.
    pub(crate) async fn one(&mut self, name: &str, image: &str) -> anyhow::Result<(Duration, Duration)> {
        self.one_of(sleeper(name, image)).await
    }

    /// Runs a pod that does nothing on a node, and leaves it: as the API knows it then.
    pub(crate) async fn leave_on(&mut self, name: &str, image: &str, node: &str) -> anyhow::Result<Pod> {
        let mut pod = sleeper(name, image);
        pod.spec.get_or_insert_default().node_name = Some(node.to_owned());
        self.start(&pod).await?;
        Ok(self.api.get(name).await?)
    }

    /// Creates a pod: until it is Running.
    async fn start(&mut self, pod: &Pod) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        self.api.create(&PostParams::default(), pod).await?;
        Ok(self.until(&pod.name_any(), |seen| seen.phase == "Running").await? - begin)
    }

    pub(crate) async fn one_of(&mut self, pod: Pod) -> anyhow::Result<(Duration, Duration)> {
        let name = pod.name_any();
        let running = self.start(&pod).await?;
        let begin = Instant::now();
        self.api.delete(&name, &DeleteParams::default()).await?;
        let gone = self.until(&name, |seen| seen.gone).await?.saturating_duration_since(begin);
        Ok((running, gone))
    }

    /// Creates them all at once: until the last is Running.
    async fn all(&mut self, names: &[String], image: &str) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let creations = names.iter().map(|name| {
            let (api, pod) = (self.api.clone(), sleeper(name, image));
            tokio::spawn(async move { api.create(&PostParams::default(), &pod).await })
        });
        let creations: Vec<_> = creations.collect();
        for creation in creations {
            creation.await??;
        }
        Ok(self.until_each(names, |seen| seen.phase == "Running").await? - begin)
    }

    async fn delete_all(&mut self, names: &[String]) -> anyhow::Result<()> {
        for name in names {
            self.api.delete(name, &DeleteParams::default().grace_period(0)).await?;
        }
        self.until_each(names, |seen| seen.gone).await.map(|_| ())
    }

    async fn until(&mut self, name: &str, is: impl Fn(&Seen) -> bool) -> anyhow::Result<Instant> {
        self.until_each(&[name.to_owned()], is).await
    }

    /// When the last of them was seen so.
    async fn until_each(&mut self, names: &[String], is: impl Fn(&Seen) -> bool) -> anyhow::Result<Instant> {
        let mut waiting: HashMap<&str, String> = names.iter().map(|name| (name.as_str(), String::new())).collect();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let seen = match tokio::time::timeout_at(deadline, self.seen.recv()).await {
                Ok(Some(seen)) => seen,
                Ok(None) => bail!("the watch ended"),
                Err(_) => bail!("not within {PATIENCE:?}: {waiting:?}"),
            };
            if is(&seen) {
                waiting.remove(seen.name.as_str());
            } else if let Some(phase) = waiting.get_mut(seen.name.as_str()) {
                phase.clone_from(&seen.phase);
            }
            if waiting.is_empty() {
                return Ok(seen.at);
            }
        }
    }
}

/// The API as its administrator has it.
pub(crate) async fn client_of(cluster: &Cluster) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Ends on SIGTERM, which a first process must ask for; one that is told before it could ask has a second left.
fn sleeper(name: &str, image: &str) -> Pod {
    let command = ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"];
    let pod = json!({
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": image, "command": command}],
        },
    });
    serde_json::from_value(pod).expect("is a Pod")
}
