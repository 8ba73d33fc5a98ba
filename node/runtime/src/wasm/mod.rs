//! Wasm pods through `mizzen-wasm`: an unprivileged process for each namespace, which hosts many pods and outlives the
//! agent.
//!
//! What an agent must know after a restart lies in a directory per container below the root; the rest is asked of the
//! hosts.

mod bounds;
mod cache;
mod client;
mod entry;
mod hosts;
mod rotation;
mod text;
mod views;

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use mizzen_shim_protocol::wasm::HOST_USER;
use mizzen_shim_protocol::wasm::MAX_DESCRIPTORS;
use mizzen_shim_protocol::{Call, CpuQuota, Reply, State, WasmStart, logs};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::executable::keep_copy;
use crate::spec::{ContainerSpec, Image};
use crate::status::{ContainerState, ContainerStatus, Stats};
use crate::stream::{ExecSpec, Session};
use crate::{Runtime, RuntimeError};
use bounds::{Needs, Parent};
use cache::Cache;
use entry::{Entry, Record, VIEWS};
use hosts::Hosts;
use views::Views;

/// The label that says on which port a `wasi:http` component is served.
pub const HTTP_PORT: &str = "mizzen.dev/http-port";

const DEFAULT_HTTP_PORT: u16 = 8080;

#[derive(Clone, Debug)]
pub struct WasmConfig {
    /// Where containers, sockets and compiled programs are kept; it must outlive the agent.
    pub root: PathBuf,
    /// The `mizzen-wasm` executable. A copy is kept in `root` and used, so that it can be replaced at any time.
    pub executable: PathBuf,
    /// Below which cgroup, relative to each hierarchy's root, hosts get cgroups of their own; without one they stay in the
    /// agent's.
    pub cgroup: Option<String>,
    /// How long a host stays when it has no pod any more.
    pub stay: Duration,
    /// How often logs are looked at that may have to go on in a new file.
    pub look_at_logs: Duration,
}

/// [`Runtime`] for Wasm components and modules.
pub struct WasmRuntime {
    containers: PathBuf,
    cache: Cache,
    hosts: Hosts,
    entries: Mutex<HashMap<String, Arc<Entry>>>,
    changes: Arc<watch::Sender<u64>>,
}

impl WasmRuntime {
    /// Takes up the containers that are found below the root. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When the root is not writable, or the executable cannot be run.
    pub fn new(config: WasmConfig) -> Result<Arc<Self>, RuntimeError> {
        let failed = |operation| move |source| RuntimeError::Io { operation, id: "(all)".into(), source };
        let containers = config.root.join("containers");
        let make = |path: &PathBuf| DirBuilder::new().recursive(true).mode(0o700).create(path);
        make(&containers).and_then(|()| make(&config.root.join("hosts"))).map_err(failed("create the directory"))?;
        let copies = config.root.join("executable");
        let executable = keep_copy(&config.executable, &copies).map_err(failed("copy the host's executable"))?;
        let cache = Cache::open(config.root.join("cache"), &config.executable, executable.path.clone())
            .map_err(failed("open the cache"))?;
        let parent = config.cgroup.as_deref().map(Parent::open).transpose().map_err(failed("find the cgroups"))?;
        let hosts = Hosts::new(config.root.join("hosts"), executable, parent, config.stay);
        let (entries, changes) = (Mutex::default(), Arc::new(watch::Sender::new(0)));
        let runtime = Arc::new(Self { containers, cache, hosts, entries, changes });
        runtime.adopt().map_err(failed("find the containers"))?;
        runtime.hosts.tidy();
        tokio::spawn(rotation::run(Arc::downgrade(&runtime), config.look_at_logs));
        Ok(runtime)
    }

    fn adopt(&self) -> io::Result<()> {
        for found in fs::read_dir(&self.containers)? {
            let Ok(id) = found?.file_name().into_string() else { continue };
            let directory = self.containers.join(&id);
            match Record::read(&directory) {
                Ok(Some(record)) => {
                    let host = self.hosts.get(&record.host);
                    host.adopt(&id, record.needs);
                    let entry = Entry::new(id.clone(), directory, record, host, Arc::clone(&self.changes));
                    self.entries.lock().insert(id, Arc::clone(&entry));
                    entry.adopt();
                }
                // An agent was killed before it had anything started, or when all else was removed.
                Ok(None) => entry::remove_directory(&directory)?,
                Err(err) => tracing::warn!(container = id, %err, "its directory cannot be read; left alone"),
            }
        }
        // One share after the other would be too tight for what runs.
        self.hosts.take_up();
        Ok(())
    }

    async fn entry(&self, id: &str) -> Result<Arc<Entry>, RuntimeError> {
        let entry = self.entries.lock().get(id).cloned().ok_or_else(|| RuntimeError::NotFound { id: id.to_owned() })?;
        entry.settled().await;
        Ok(entry)
    }

    fn plan(&self, spec: &ContainerSpec) -> Result<Plan, RuntimeError> {
        let refused = |message: String| refused(&spec.id, message);
        let Image::Wasm { path, digest } = &spec.image else {
            return Err(refused("an OCI image cannot run as a Wasm pod".into()));
        };
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if spec.id.is_empty() || spec.id.len() > 64 || !spec.id.bytes().all(valid) {
            return Err(refused(format!("{:?} is no container id", spec.id)));
        }
        let http_port = match spec.labels.get(HTTP_PORT) {
            Some(port) => port.parse().map_err(|_| refused(format!("{HTTP_PORT}: {port:?} is no port")))?,
            None => DEFAULT_HTTP_PORT,
        };
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let resources = &spec.resources;
        let unsigned = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let quota = unsigned(resources.cpu_quota).zip(resources.cpu_period);
        let start = WasmStart {
            program: digest.clone(),
            args: std::iter::once(name).chain(spec.process.args.iter().cloned()).collect(),
            env: spec.process.env.clone(),
            preopens: Vec::new(),
            memory_limit: unsigned(resources.memory_limit),
            cpu_quota: quota.map(|(quota, period)| CpuQuota { quota, period }),
            cpu_shares: resources.cpu_shares,
            addresses: spec.sandbox.addresses.clone(),
            http_port,
            resolv_conf: text(spec, views::RESOLV_CONF)?,
            hosts: text(spec, views::HOSTS)?,
        };
        Ok(Plan { start, program: path.clone() })
    }

    async fn start_new(&self, spec: &ContainerSpec) -> Result<Arc<Entry>, RuntimeError> {
        let id = &spec.id;
        let Plan { mut start, program } = self.plan(spec)?;
        let artifact = self.cache.get(&start.program, &program).await.map_err(|why| refused(id, why))?;
        let log = logs::open(&spec.log_path).map_err(|err| refused(id, format!("open the log: {err}")))?;
        let host = self.hosts.of(&spec.sandbox);
        let directory = self.containers.join(id);
        let io = |source| RuntimeError::Io { operation: "start", id: id.clone(), source };
        let program = artifact.metadata().map_err(io)?.len();
        let needs = Needs { memory: start.memory_limit, program, shares: start.cpu_shares.unwrap_or(0) };
        let (labels, log_path) = (spec.labels.clone(), spec.log_path.clone());
        let record = Record { labels, host: host.key().to_owned(), log_path, log_limits: spec.log_limits, needs };
        record.write(&directory).map_err(io)?;
        let started = async {
            let Views { preopens, directories } =
                views::open(&spec.mounts, &directory.join(VIEWS)).map_err(|why| ("CreateContainerError", why))?;
            if directories.len() + 2 > MAX_DESCRIPTORS {
                let why = format!("{} volumes are more than a Wasm pod can have", directories.len());
                return Err(("CreateContainerError", why));
            }
            start.preopens = preopens;
            let files: Vec<File> = [artifact, log].into_iter().chain(directories).collect();
            let failed = |message: String| ("StartError", message);
            let call = Call::Start { spec: serde_json::to_value(&start).map_err(|err| failed(err.to_string()))? };
            host.add(id, needs).map_err(|err| failed(format!("the host of Wasm pods cannot be bounded: {err}")))?;
            match self.hosts.start(&host, spec.sandbox.network_namespace.as_deref(), id, &call, &files).await {
                Ok(Reply::State { state }) => Ok(state),
                Ok(Reply::Failed { message }) => Err(failed(message)),
                Ok(other) => Err(failed(format!("the host of Wasm pods answered {other:?}"))),
                Err(err) => Err(failed(format!("the host of Wasm pods cannot be reached: {err}"))),
            }
        };
        match started.await {
            Ok(state) => {
                let entry = Entry::new(id.clone(), directory, record, host, Arc::clone(&self.changes));
                entry.started(state);
                Ok(entry)
            }
            Err((reason, message)) => {
                self.hosts.forget(&host, id, None);
                entry::remove_directory(&directory).map_err(io)?;
                Err(RuntimeError::Start { id: id.clone(), reason: reason.into(), message })
            }
        }
    }

    /// Ends every host, and the pods with it, also those that nobody knows of any more.
    ///
    /// # Errors
    /// When a process does not end.
    pub async fn end_hosts(&self) -> Result<(), RuntimeError> {
        let failed = |source| RuntimeError::Io { operation: "end the hosts of", id: "(all)".into(), source };
        self.hosts.end().await.map_err(failed)
    }

    async fn ask(&self, entry: &Entry, call: Call, files: &[File]) -> Result<Reply, RuntimeError> {
        let (id, unreachable) = (entry.id().to_owned(), |why| RuntimeError::Unreachable { id: entry.id().to_owned(), why });
        match entry.host.ask(entry.id(), &call, files).await.map_err(|err| unreachable(err.to_string()))? {
            Reply::NotRunning => Err(RuntimeError::NotRunning { id }),
            Reply::NotFound => Err(RuntimeError::NotFound { id }),
            Reply::Version { version } => Err(unreachable(format!("it speaks version {version}"))),
            Reply::Failed { message } | Reply::Unsupported { why: message } => Err(unreachable(message)),
            reply => Ok(reply),
        }
    }

    /// `None` when the container has ended.
    async fn ask_running(&self, id: &str, call: Call, files: &[File]) -> Result<Option<Reply>, RuntimeError> {
        let entry = self.entry(id).await?;
        if entry.has_exited() {
            return Ok(None);
        }
        match self.ask(&entry, call, files).await {
            Ok(reply) => Ok(Some(reply)),
            Err(RuntimeError::NotRunning { .. }) => Ok(None),
            // It ended, or its host did, between the look at it and the question.
            Err(_) if entry.has_ended().await => Ok(None),
            Err(err) => Err(err),
        }
    }
}

struct Plan {
    start: WasmStart,
    program: PathBuf,
}

/// The text of a file that stands at `target` for the pod; empty where there is none.
fn text(spec: &ContainerSpec, target: &str) -> Result<String, RuntimeError> {
    let Some(mount) = spec.mounts.iter().find(|mount| mount.target == Path::new(target)) else { return Ok(String::new()) };
    text::read(&mount.source).map_err(|err| refused(&spec.id, format!("read {}: {err}", mount.source.display())))
}

fn refused(id: &str, message: String) -> RuntimeError {
    RuntimeError::Start { id: id.to_owned(), reason: "CreateContainerError".into(), message }
}

fn state_of(state: State) -> ContainerState {
    match state {
        State::Running { started_at, pid } => ContainerState::Running { started_at, pid },
        State::Exited(exit) => ContainerState::Exited(entry::exited(exit)),
    }
}

#[async_trait]
impl Runtime for WasmRuntime {
    async fn start(&self, spec: &ContainerSpec) -> Result<ContainerStatus, RuntimeError> {
        let _gate = self.hosts.gate(&spec.id).await;
        if let Ok(entry) = self.entry(&spec.id).await
            && let Some(status) = entry.status()
        {
            return Ok(status);
        }
        let entry = self.start_new(spec).await?;
        self.entries.lock().insert(spec.id.clone(), Arc::clone(&entry));
        entry.status().ok_or_else(|| RuntimeError::NotFound { id: spec.id.clone() })
    }

    async fn status(&self, id: &str) -> Result<ContainerStatus, RuntimeError> {
        self.entry(id).await?.status().ok_or_else(|| RuntimeError::NotFound { id: id.to_owned() })
    }

    async fn list(&self) -> Result<Vec<ContainerStatus>, RuntimeError> {
        let entries: Vec<_> = self.entries.lock().values().cloned().collect();
        let mut all = Vec::with_capacity(entries.len());
        for entry in entries {
            entry.settled().await;
            all.extend(entry.status());
        }
        Ok(all)
    }

    async fn signal(&self, id: &str, signal: i32) -> Result<(), RuntimeError> {
        self.ask_running(id, Call::Signal { signal }, &[]).await.map(drop)
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let _gate = self.hosts.gate(id).await;
        let Some(entry) = self.entries.lock().get(id).cloned() else { return Ok(()) };
        self.hosts
            .remove(&entry.host, id)
            .await
            .map_err(|err| RuntimeError::Unreachable { id: id.to_owned(), why: err.to_string() })?;
        let failed = |source| RuntimeError::Io { operation: "remove", id: id.to_owned(), source };
        entry.purge().map_err(failed)?;
        self.entries.lock().remove(id);
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn exec(&self, id: &str, _: ExecSpec) -> Result<Session, RuntimeError> {
        let why = "a Wasm pod has no shell and no processes to add".to_owned();
        self.entry(id).await?;
        Err(RuntimeError::Unsupported { operation: "exec", id: id.to_owned(), why })
    }

    async fn attach(&self, id: &str) -> Result<Session, RuntimeError> {
        let why = "a Wasm pod has no open standard input; its output is in its log".to_owned();
        self.entry(id).await?;
        Err(RuntimeError::Unsupported { operation: "attach", id: id.to_owned(), why })
    }

    async fn stats(&self, id: &str) -> Result<Stats, RuntimeError> {
        match self.ask_running(id, Call::Stats, &[]).await? {
            Some(Reply::Stats { memory, cpu }) => Ok(Stats { memory, cpu }),
            Some(reply) => Err(RuntimeError::Unreachable { id: id.to_owned(), why: format!("it answered {reply:?}") }),
            None => Err(RuntimeError::NotRunning { id: id.to_owned() }),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
