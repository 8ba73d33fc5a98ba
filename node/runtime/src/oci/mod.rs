//! Containers through `mizzen-shim`, one small process for each, which outlives the agent.
//!
//! What is known of a container lies in its directory below the root (see [`mizzen_shim_protocol::files`]); this module's
//! own memory is a copy of it, kept current by one watching connection per running container.

mod connection;
mod directory;
mod entry;
mod host;
mod launcher;
mod seccomp;
mod session;
mod spec;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mizzen_shim_protocol::{Call, ContainerFile, PROTOCOL_VERSION, Reply, StartReply};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

pub use crate::cgroup::Hierarchies;
pub use host::CAPABILITIES;

use crate::executable::keep_copy;
use crate::spec::{ContainerSpec, Image};
use crate::status::{ContainerState, ContainerStatus, Stats};
use crate::stream::{ExecSpec, Session};
use crate::{Runtime, RuntimeError};
use connection::Connection;
use directory::Directory;
use entry::Entry;
use host::Host;

/// How long a shim may take to answer a question.
const ANSWER: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct OciConfig {
    /// Where containers are kept; it must outlive the agent.
    pub root: PathBuf,
    /// The `mizzen-shim` executable. A copy is kept in `root` and used, so that it can be replaced at any time.
    pub shim: PathBuf,
}

/// [`Runtime`] for OCI images.
pub struct OciRuntime {
    shim: PathBuf,
    containers: PathBuf,
    host: Host,
    entries: Mutex<HashMap<String, Arc<Entry>>>,
    /// More starts at a time than this only slow each other down.
    starts: Semaphore,
    changes: Arc<watch::Sender<u64>>,
}

impl OciRuntime {
    /// Takes up the containers that are found below the root. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When the root is not writable, the shim cannot be read, or the machine has no cgroups.
    pub fn new(config: OciConfig) -> Result<Arc<Self>, RuntimeError> {
        let failed = |operation| move |source| RuntimeError::Io { operation, id: "(all)".into(), source };
        let containers = config.root.join("containers");
        fs::create_dir_all(&containers).map_err(failed("create the directory"))?;
        let shim = keep_copy(&config.shim, &config.root.join("shim")).map_err(failed("copy the shim"))?;
        let runtime = Arc::new(Self {
            shim: shim.path,
            containers,
            host: Host::read().map_err(failed("read the capacities"))?,
            entries: Mutex::default(),
            starts: Semaphore::new(2 * std::thread::available_parallelism().map_or(1, usize::from)),
            changes: Arc::new(watch::Sender::new(0)),
        });
        runtime.adopt().map_err(failed("find the directories"))?;
        Ok(runtime)
    }

    fn adopt(&self) -> io::Result<()> {
        for found in fs::read_dir(&self.containers)? {
            let Ok(id) = found?.file_name().into_string() else { continue };
            let directory = Directory::new(&self.containers, &id);
            let file = match directory.container() {
                Ok(Some(file)) => file,
                // An agent was killed before it had anything started, or when everything else was removed.
                Ok(None) => {
                    directory.remove()?;
                    continue;
                }
                // A power cut came before the file was on the disk; nothing of the container is left but files.
                Err(err) if err.kind() == io::ErrorKind::UnexpectedEof && !directory.shim_lives() => {
                    directory.remove()?;
                    continue;
                }
                Err(err) => {
                    tracing::warn!(container = id, %err, "its directory cannot be read; left alone");
                    continue;
                }
            };
            let entry = Entry::new(directory, file, Arc::clone(&self.changes));
            self.entries.lock().insert(id, Arc::clone(&entry));
            entry.adopt();
        }
        Ok(())
    }

    fn entry(&self, id: &str) -> Result<Arc<Entry>, RuntimeError> {
        self.entries.lock().get(id).cloned().ok_or_else(|| RuntimeError::NotFound { id: id.to_owned() })
    }

    /// Whether the entry is still the one of its id, for one who has waited for its gate.
    fn is_current(&self, entry: &Arc<Entry>) -> bool {
        self.entries.lock().get(entry.id()).is_some_and(|current| Arc::ptr_eq(current, entry))
    }

    fn running(&self, id: &str) -> Result<Arc<Entry>, RuntimeError> {
        let entry = self.entry(id)?;
        match entry.state() {
            None => Err(RuntimeError::NotFound { id: id.to_owned() }),
            Some(ContainerState::Exited(_)) => Err(RuntimeError::NotRunning { id: id.to_owned() }),
            Some(ContainerState::Running { .. }) => Ok(entry),
        }
    }

    /// What the shim is to know, and the configuration for libcontainer.
    fn plan(&self, spec: &ContainerSpec) -> Result<(ContainerFile, oci_spec::runtime::Spec), RuntimeError> {
        let refused =
            |message: String| RuntimeError::Start { id: spec.id.clone(), reason: "CreateContainerError".into(), message };
        let Image::Layers(layers) = &spec.image else {
            return Err(refused("a Wasm module cannot run as an OCI container".into()));
        };
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if spec.id.is_empty() || spec.id.len() > 64 || !spec.id.bytes().all(valid) {
            return Err(refused(format!("{:?} is no container id", spec.id)));
        }
        if let Some(mount) = spec.mounts.iter().find(|mount| !mount.source.exists()) {
            let (source, target) = (mount.source.display(), mount.target.display());
            return Err(refused(format!("cannot mount {source} on {target}: no such file or directory")));
        }
        let cgroup = format!("/{}/{}", spec.sandbox.cgroup.trim_matches('/'), spec.id);
        let translation = spec::translate(spec, &cgroup, &self.host).map_err(refused)?;
        for warning in &translation.warnings {
            tracing::warn!(container = spec.id, "{warning}");
        }
        let file = ContainerFile {
            version: PROTOCOL_VERSION,
            id: spec.id.clone(),
            labels: spec.labels.clone(),
            layers: layers.clone(),
            log_path: spec.log_path.clone(),
            log_limits: spec.log_limits,
            terminal: spec.process.terminal,
            stdin: spec.process.stdin,
            stdin_once: spec.process.stdin_once,
            cgroups: self.host.hierarchies.directories(&cgroup),
            uid: spec.process.uid,
            shared_mounts: spec.mounts.iter().any(|mount| mount.propagation == "rshared"),
        };
        Ok((file, translation.config))
    }

    async fn start_new(&self, entry: &Arc<Entry>, config: &oci_spec::runtime::Spec) -> Result<(), RuntimeError> {
        let id = entry.id().to_owned();
        let failed = |source| RuntimeError::Io { operation: "start", id: id.clone(), source };
        let _permit = self.starts.acquire().await.map_err(|err| failed(io::Error::other(err)))?;
        let lock = entry.directory.prepare(&entry.file, config).map_err(failed)?;
        let (reason, message) = match launcher::launch(&self.shim, &entry.directory, lock).await {
            Ok(StartReply::Running(record)) => {
                entry.started(record);
                return Ok(());
            }
            Ok(StartReply::Failed { reason, message }) => (reason, message),
            Err(err) => ("CreateContainerError".to_owned(), err.to_string()),
        };
        entry.purge().await?;
        Err(RuntimeError::Start { id, reason, message })
    }

    async fn ask(&self, entry: &Entry, call: Call) -> Result<Reply, RuntimeError> {
        let (_, reply) = self.open(entry, call).await?;
        Ok(reply)
    }

    async fn open(&self, entry: &Entry, call: Call) -> Result<(Connection, Reply), RuntimeError> {
        let id = entry.id();
        let unreachable = |why: String| RuntimeError::Unreachable { id: id.to_owned(), why };
        let exchange = async {
            let mut connection = Connection::open(entry.directory.path()).await?;
            connection.send(id, call).await?;
            let reply = connection.reply().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            Ok::<_, io::Error>((connection, reply))
        };
        let answered = tokio::time::timeout(ANSWER, exchange).await;
        let (connection, reply) =
            answered.map_err(|_| unreachable("no answer".into()))?.map_err(|err| unreachable(err.to_string()))?;
        match reply {
            Reply::NotRunning => Err(RuntimeError::NotRunning { id: id.to_owned() }),
            Reply::NotFound => Err(RuntimeError::NotFound { id: id.to_owned() }),
            Reply::Version { version } => Err(unreachable(format!("it speaks version {version}"))),
            Reply::Failed { message } | Reply::Unsupported { why: message } => Err(unreachable(message)),
            reply => Ok((connection, reply)),
        }
    }

    /// A container that ended between the look at it and the question is not running.
    async fn unless_ended<T: Send>(entry: &Entry, result: Result<T, RuntimeError>) -> Result<T, RuntimeError> {
        match result {
            Err(RuntimeError::Unreachable { id, .. }) if entry.has_ended().await => Err(RuntimeError::NotRunning { id }),
            result => result,
        }
    }

    async fn stream(&self, id: &str, call: Call, stdin: bool, terminal: bool) -> Result<Session, RuntimeError> {
        let entry = self.running(id)?;
        let opened = self.open(&entry, call).await;
        match Self::unless_ended(&entry, opened).await? {
            (connection, Reply::Streaming) => Ok(session::session(id.to_owned(), connection, stdin, terminal)),
            (_, reply) => Err(RuntimeError::Unreachable { id: id.to_owned(), why: format!("it answered {reply:?}") }),
        }
    }
}

#[async_trait]
impl Runtime for OciRuntime {
    async fn start(&self, spec: &ContainerSpec) -> Result<ContainerStatus, RuntimeError> {
        loop {
            let known = self.entries.lock().get(&spec.id).cloned();
            let entry = match known {
                Some(entry) => entry,
                None => {
                    let directory = Directory::new(&self.containers, &spec.id);
                    let new = Entry::new(directory, self.plan(spec)?.0, Arc::clone(&self.changes));
                    Arc::clone(self.entries.lock().entry(spec.id.clone()).or_insert(new))
                }
            };
            let _gate = entry.gate.lock().await;
            if !self.is_current(&entry) {
                // Another call failed to start it, or removed it.
                continue;
            }
            if let Some(status) = entry.known().await {
                return Ok(status);
            }
            if entry.directory.path().exists() {
                // An earlier agent came to its end in the middle of a start.
                entry.purge().await?;
                self.entries.lock().remove(&spec.id);
                continue;
            }
            let result = self.start_new(&entry, &self.plan(spec)?.1).await;
            if result.is_err() {
                self.entries.lock().remove(&spec.id);
            }
            result?;
            return entry.status().ok_or_else(|| RuntimeError::NotFound { id: spec.id.clone() });
        }
    }

    async fn status(&self, id: &str) -> Result<ContainerStatus, RuntimeError> {
        self.entry(id)?.status().ok_or_else(|| RuntimeError::NotFound { id: id.to_owned() })
    }

    async fn list(&self) -> Result<Vec<ContainerStatus>, RuntimeError> {
        Ok(self.entries.lock().values().filter_map(|entry| entry.status()).collect())
    }

    async fn signal(&self, id: &str, signal: i32) -> Result<(), RuntimeError> {
        let entry = match self.running(id) {
            Err(RuntimeError::NotRunning { .. }) => return Ok(()),
            entry => entry?,
        };
        let asked = self.ask(&entry, Call::Signal { signal }).await;
        match Self::unless_ended(&entry, asked).await {
            Ok(_) | Err(RuntimeError::NotRunning { .. }) => Ok(()),
            Err(err) => Err(err),
        }
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        while let Ok(entry) = self.entry(id) {
            let _gate = entry.gate.lock().await;
            if self.is_current(&entry) {
                entry.end().await;
                entry.purge().await?;
                self.entries.lock().remove(id);
                self.changes.send_modify(|count| *count += 1);
            }
        }
        Ok(())
    }

    async fn exec(&self, id: &str, exec: ExecSpec) -> Result<Session, RuntimeError> {
        let ExecSpec { command, terminal, stdin } = exec;
        self.stream(id, Call::Exec { command, terminal, stdin }, stdin, terminal).await
    }

    async fn attach(&self, id: &str) -> Result<Session, RuntimeError> {
        let (stdin, terminal) = {
            let file = &self.entry(id)?.file;
            (file.stdin, file.terminal)
        };
        self.stream(id, Call::Attach { stdin }, stdin || terminal, terminal).await
    }

    async fn stats(&self, id: &str) -> Result<Stats, RuntimeError> {
        let entry = self.running(id)?;
        let asked = self.ask(&entry, Call::Stats).await;
        match Self::unless_ended(&entry, asked).await? {
            Reply::Stats { memory, cpu } => Ok(Stats { memory, cpu }),
            reply => Err(RuntimeError::Unreachable { id: id.to_owned(), why: format!("it answered {reply:?}") }),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
