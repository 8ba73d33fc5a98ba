//! Further nodes of a cluster that is tried out on one machine: agents in network namespaces that are their machines.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::future::join_all;
use mizzen_network::{Machine, Machines};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::data_dir::{DataDir, write_private};
use super::kubeconfig::Login;
use super::loopback_names::{Asked, LoopbackNames};
use super::loopback_proxy::LoopbackProxy;
use super::node_credentials::NodeCredentials;
use crate::config::Config;

/// Fields of the configuration that are the first node's alone, or the server's.
const NOT_FOR_AGENTS: &[&str] = &[
    "apiAddress",
    "apiServerNames",
    "auditLogMaxBackups",
    "auditLogMaxSize",
    "auditLogPath",
    "auditPolicyFile",
    "auditWebhookBatchBufferSize",
    "auditWebhookBatchMaxSize",
    "auditWebhookBatchMaxWait",
    "auditWebhookConfigFile",
    "auditWebhookInitialBackoff",
    "dataDir",
    "encryptionProviderConfig",
    "kubeconfig",
    "loadBalancerAddresses",
    "maxMutatingRequestsInflight",
    "maxRequestsInflight",
    "nodeApiAddress",
    "nodeName",
    "plugins",
    "policyAuditInterval",
    "scheduler",
    "serviceCIDR",
    "serviceNodePortRange",
];

/// The agents, which are told to end with this; their pods go on running.
pub struct FurtherNodes {
    agents: Vec<Agent>,
    /// By which they reach registries on this machine's loopback.
    _proxy: LoopbackProxy,
    /// By which they reach name servers there.
    _names: LoopbackNames,
}

/// How long an agent that has ended stays down.
const RESTART: Duration = Duration::from_secs(1);

struct Agent {
    place: Place,
    process: Child,
}

/// Where an agent runs, also the next time.
struct Place {
    name: String,
    root: PathBuf,
    environment: Arc<[(&'static str, String)]>,
    machine: Machine,
}

impl FurtherNodes {
    /// Starts nodes until there are `count`, the first among them; returns when they are Ready. `file` is the configuration that
    /// the first was started with.
    ///
    /// # Errors
    /// When one does not come up.
    pub async fn start(
        count: u8,
        (config, file): (&Config, Option<&Path>),
        data: &DataDir,
        machines: &Machines,
        now: jiff::Timestamp,
    ) -> anyhow::Result<Self> {
        let server = server(config, data, machines)?;
        let settings = settings(file)?;
        let proxy = LoopbackProxy::start(machines.address()).await?;
        let no_proxy = std::env::var("no_proxy").or_else(|_| std::env::var("NO_PROXY")).ok();
        let environment: Arc<[_]> = proxy.environment(no_proxy.as_deref()).into();
        let (mut agents, mut names) = (Vec::new(), LoopbackNames::new());
        let asked = Asked::by(&config.dns.settings);
        for number in 2..=count {
            let name = format!("{}-{number}", config.node_name);
            let root = data.further_nodes().join(number.to_string());
            std::fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
            let credentials = NodeCredentials::issue(data, &name, Some(server.clone()), now)?;
            write_private(&root.join("kubeconfig"), credentials.to_yaml()?.as_bytes())?;
            write_private(&root.join("config.yaml"), settings.as_bytes())?;
            let place = Place { name, root, environment: environment.clone(), machine: machines.machine(number - 1).await? };
            if place.folder().join("cluster.json").exists() {
                // Of a first node that was killed.
                drop(DataDir::open(&place.folder())?.take_over().await?);
            }
            names.lead(&place.machine, asked.clone()).await;
            agents.push(Agent { process: place.start().await?, place });
        }
        for agent in &mut agents {
            agent.ready(data).await?;
        }
        Ok(Self { agents, _proxy: proxy, _names: names })
    }

    /// Starts agents again that end, as a machine's own supervisor would: their pods have gone on. Never returns.
    pub async fn keep(mut self) {
        join_all(self.agents.iter_mut().map(Agent::keep)).await;
        std::future::pending().await
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One that has ended has no id any more.
        if let Some(pid) = self.process.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

impl Place {
    fn folder(&self) -> PathBuf {
        self.root.join("data")
    }

    async fn start(&self) -> anyhow::Result<Child> {
        let Self { name, root, environment, machine } = self;
        let log = root.join("agent.log");
        let log =
            std::fs::File::options().create(true).append(true).open(&log).with_context(|| format!("open {}", log.display()))?;
        let mut command = Command::new(std::env::current_exe().context("find this program")?);
        command.args(["agent", "--node-name", name, "--data-dir"]).arg(self.folder());
        command.arg("--kubeconfig").arg(root.join("kubeconfig")).arg("--config").arg(root.join("config.yaml"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).env_remove("MIZZEN_DATA_DIR");
        command.env_remove("NO_PROXY").env_remove("HTTP_PROXY").envs(environment.iter().map(|(name, value)| (name, value)));
        machine.spawn(command).await.with_context(|| format!("start node {name}"))
    }
}

impl Agent {
    async fn keep(&mut self) {
        loop {
            let status = self.process.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
            tracing::warn!(node = self.place.name, status, "agent has ended and is started again");
            tokio::time::sleep(RESTART).await;
            match self.place.start().await {
                Ok(mut process) => {
                    if let Some(said) = process.stdout.take() {
                        drained(said);
                    }
                    self.process = process;
                }
                Err(error) => tracing::warn!("{error:#}"),
            }
        }
    }

    /// Returns when it says that its node is Ready.
    async fn ready(&mut self, data: &DataDir) -> anyhow::Result<()> {
        let said = self.process.stdout.take().context("an agent's output was read before")?;
        let mut lines = BufReader::new(said).lines();
        while let Some(line) = lines.next_line().await.context("read what an agent says")? {
            if line.contains("is Ready") {
                drained(lines.into_inner().into_inner());
                return Ok(());
            }
        }
        bail!("node {} did not become ready: its log is below {}", self.place.name, data.further_nodes().display())
    }
}

/// What an agent says goes nowhere, but it must not find its output closed.
fn drained(said: ChildStdout) {
    let mut lines = BufReader::new(said).lines();
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
}

/// The folders of the further nodes that a cluster was started with.
///
/// # Errors
/// When they cannot be read.
pub fn folders(data: &DataDir) -> anyhow::Result<Vec<PathBuf>> {
    let root = data.further_nodes();
    if !root.exists() {
        return Ok(Vec::new());
    }
    let read = std::fs::read_dir(&root).with_context(|| format!("read {}", root.display()))?;
    let folders = read.map(|entry| Ok(entry?.path().join("data"))).collect::<std::io::Result<Vec<_>>>();
    let folders = folders.with_context(|| format!("read {}", root.display()))?;
    Ok(folders.into_iter().filter(|folder| folder.join("cluster.json").exists()).collect())
}

/// Where they reach the server: it listens at this machine's address on their link, too, unless it was told one.
fn server(config: &Config, data: &DataDir, machines: &Machines) -> anyhow::Result<String> {
    let local = Login::read(&data.kubeconfig())?.server;
    let uri: http::Uri = local.parse().with_context(|| format!("read the URL {local}"))?;
    let listening = config.api_address.ip();
    let address = if listening.is_loopback() || listening.is_unspecified() { machines.address() } else { listening };
    Ok(format!("https://{}", std::net::SocketAddr::new(address, uri.port_u16().unwrap_or(443))))
}

/// What of the first node's configuration holds for the others.
fn settings(file: Option<&Path>) -> anyhow::Result<String> {
    let Some(file) = file else { return Ok("{}\n".to_owned()) };
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let mut fields: serde_yaml_ng::Mapping = serde_yaml_ng::from_str(&text).with_context(|| format!("{}", file.display()))?;
    fields.retain(|field, _| field.as_str().is_some_and(|field| !NOT_FOR_AGENTS.contains(&field)));
    serde_yaml_ng::to_string(&fields).context("write the configuration of further nodes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::agent;

    #[test]
    fn an_agent_takes_what_is_left_of_the_first_nodes_configuration() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.yaml");
        let text = "apiAddress: 127.0.0.1:1\nserviceCIDR: 10.96.0.0/16\nplugins: {}\nclusterDomain: k8s.example\n";
        std::fs::write(&file, text).expect("writes");
        let left = settings(Some(&file)).expect("is YAML");
        assert_eq!(left, "clusterDomain: k8s.example\n");
        std::fs::write(&file, left).expect("writes");
        let flags = agent::Flags { config: Some(file), kubeconfig: Some("/k".into()), ..agent::Flags::default() };
        assert_eq!(agent::Config::load(flags).expect("is an agent's").dns.settings.cluster_domain, "k8s.example");
    }
}
