//! The host processes: one for each pod namespace in each network namespace.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use mizzen_shim_protocol::{Call, Reply, files};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::sync::OwnedMutexGuard;

use super::bounds::{HostCgroup, Needs, Parent};
use super::client::Client;
use crate::cgroup;
use crate::executable::Copy;
use crate::spec::Sandbox;

/// How long a host may take to answer a question, or to come up.
const ANSWER: Duration = Duration::from_secs(20);

/// How long a host without pods may take to end.
const END: Duration = Duration::from_secs(5);

pub(super) struct Host {
    key: String,
    directory: PathBuf,
    /// Held while the host may come up or go down.
    turn: tokio::sync::Mutex<()>,
    cgroup: Option<Mutex<HostCgroup>>,
}

impl Host {
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Counts a pod among those that the host is bounded by.
    ///
    /// # Errors
    /// When the bounds cannot be set.
    pub(super) fn add(&self, pod: &str, needs: Needs) -> io::Result<()> {
        self.cgroup.as_ref().map_or(Ok(()), |cgroup| cgroup.lock().add(pod, needs))
    }

    /// Counts a pod that an earlier agent started.
    pub(super) fn adopt(&self, pod: &str, needs: Needs) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.lock().adopt(pod, needs);
        }
    }

    /// Takes the cgroup away once the host has ended, unless it gets pods meanwhile. `idle` is what
    /// [`HostCgroup::idle`] answered, `client` a connection to the host.
    async fn leave(self: Arc<Self>, idle: u64, client: Option<Client>, stay: Duration) {
        let Some(cgroup) = &self.cgroup else { return };
        let client = match client {
            Some(client) => Some(client),
            None => self.connect().await.ok(),
        };
        if let Some(mut client) = client {
            // A host's connections end with it.
            let _ = tokio::time::timeout(stay + END, client.reply()).await;
        }
        let _turn = self.turn.lock().await;
        // Pods that came and went meanwhile have somebody of their own who waits as long for the host.
        let Some(directories) = cgroup.lock().close(idle) else { return };
        if let Err(err) = cgroup::remove(&directories).await {
            tracing::warn!(host = self.key, %err, "its cgroup stays");
        }
    }

    pub(super) async fn connect(&self) -> io::Result<Client> {
        Client::open(&self.directory).await
    }

    /// # Errors
    /// When there is no host, it ends, or does not answer in time.
    pub(super) async fn ask(&self, container: &str, call: &Call, files: &[File]) -> io::Result<Reply> {
        let exchange = async {
            let mut client = self.connect().await?;
            client.send(container, call, files).await?;
            client.reply().await?.ok_or_else(|| io::ErrorKind::ConnectionReset.into())
        };
        tokio::time::timeout(ANSWER, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

pub(super) struct Hosts {
    root: PathBuf,
    executable: Copy,
    parent: Option<Parent>,
    /// How long a host without pods stays.
    stay: Duration,
    known: Mutex<HashMap<String, Arc<Host>>>,
    gates: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Hosts {
    pub(super) fn new(root: PathBuf, executable: Copy, parent: Option<Parent>, stay: Duration) -> Self {
        Self { root, executable, parent, stay, known: Mutex::default(), gates: Mutex::default() }
    }

    /// Sees to the cgroups of hosts that an earlier agent left without a pod.
    pub(super) fn tidy(&self) {
        for key in self.parent.iter().flat_map(Parent::hosts) {
            let host = self.get(&key);
            if let Some(idle) = host.cgroup.as_ref().and_then(|cgroup| cgroup.lock().idle()) {
                tokio::spawn(host.leave(idle, None, self.stay));
            }
        }
    }

    /// Bounds the hosts that an earlier agent started, when all of their pods are known.
    pub(super) fn take_up(&self) {
        for host in self.known.lock().values() {
            if let Some(Err(err)) = host.cgroup.as_ref().map(|cgroup| cgroup.lock().take_up()) {
                tracing::warn!(host = host.key, %err, "not bounded");
            }
        }
    }

    /// The one who starts or removes this container.
    pub(super) async fn gate(&self, id: &str) -> OwnedMutexGuard<()> {
        let gate = {
            let mut gates = self.gates.lock();
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
            Arc::clone(gates.entry(id.to_owned()).or_default())
        };
        gate.lock_owned().await
    }

    /// A host runs programs compiled for its own engine and does what its own version can, so that an upgrade comes with
    /// new hosts.
    pub(super) fn of(&self, sandbox: &Sandbox) -> Arc<Host> {
        let network = sandbox.network_namespace.as_deref().unwrap_or(Path::new("")).to_string_lossy();
        let name = format!("{}\0{network}\0{}", sandbox.namespace, self.executable.digest);
        let key: String = Sha256::digest(name).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        self.get(&key)
    }

    pub(super) fn get(&self, key: &str) -> Arc<Host> {
        let mut known = self.known.lock();
        let host = known.entry(key.to_owned()).or_insert_with(|| {
            Arc::new(Host {
                key: key.to_owned(),
                directory: self.root.join(key),
                turn: tokio::sync::Mutex::default(),
                cgroup: self.parent.as_ref().map(|parent| Mutex::new(parent.of(key))),
            })
        });
        Arc::clone(host)
    }

    /// Asks the host to start a pod that was counted by [`Host::add`], and brings the host up first where there is none.
    pub(super) async fn start(
        &self,
        host: &Host,
        network: Option<&Path>,
        id: &str,
        call: &Call,
        files: &[File],
    ) -> io::Result<Reply> {
        // Whoever takes the cgroup away of a host that had no pods must have done so, or the pod would go with it.
        drop(host.turn.lock().await);
        let first = match host.ask(id, call, files).await {
            Err(err) if is_gone(&err) => err,
            answered => return answered,
        };
        let _turn = host.turn.lock().await;
        tracing::debug!(%first, host = host.key, "there is no host yet");
        // Another start may have brought it up meanwhile.
        match host.ask(id, call, files).await {
            Err(err) if is_gone(&err) => self.launch(host, network).await?,
            answered => return answered,
        }
        host.ask(id, call, files).await
    }

    /// No error when the host, and the pod with it, is gone.
    pub(super) async fn remove(&self, host: &Arc<Host>, id: &str) -> io::Result<()> {
        let _turn = host.turn.lock().await;
        let removing = async {
            let mut client = host.connect().await?;
            client.send(id, &Call::Remove, &[]).await?;
            client.reply().await?;
            Ok::<_, io::Error>(client)
        };
        let client = match tokio::time::timeout(ANSWER, removing).await.map_err(|_| io::ErrorKind::TimedOut)? {
            Ok(client) => Some(client),
            Err(err) if is_gone(&err) => None,
            Err(err) => return Err(err),
        };
        self.forget(host, id, client);
        Ok(())
    }

    /// To be called when a pod is not on the host any more; `client` is a connection to it.
    pub(super) fn forget(&self, host: &Arc<Host>, id: &str, client: Option<Client>) {
        if let Some(idle) = host.cgroup.as_ref().and_then(|cgroup| cgroup.lock().remove(id)) {
            tokio::spawn(Arc::clone(host).leave(idle, client, self.stay));
        }
    }

    /// Ends every host, and the pods with it.
    ///
    /// # Errors
    /// When one does not end.
    pub(super) async fn end(&self) -> io::Result<()> {
        match &self.parent {
            Some(parent) => parent.remove().await,
            None => Ok(()),
        }
    }

    async fn launch(&self, host: &Host, network: Option<&Path>) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&host.directory)?;
        let log_path = host.directory.join("host.log");
        let log = File::create(&log_path)?;
        let entrances = host.cgroup.as_ref().map(|cgroup| cgroup.lock().make()).transpose()?.unwrap_or_default();
        let mut command = Command::new(&self.executable.path);
        command.arg("host").arg(&host.directory).arg(self.stay.as_millis().to_string()).env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::from(log));
        // SAFETY: nothing but system calls on descriptors that the closure owns happens between fork and exec.
        unsafe {
            command.pre_exec(move || entrances.iter().try_for_each(|mut cgroup| cgroup.write_all(b"0")));
        }
        if let Some(network) = network {
            let namespace = File::open(network)?;
            command.arg("own-network");
            let join = move || {
                // SAFETY: a system call on a descriptor that the closure owns.
                match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            };
            // SAFETY: nothing but a system call happens between fork and exec.
            unsafe { command.pre_exec(join) };
        }
        // It listens before it goes on in a child of its own; this one has only to be reaped.
        let ended = tokio::time::timeout(ANSWER, command.spawn()?.wait()).await;
        match ended.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
            status if status.success() && host.directory.join(files::SOCKET).exists() => Ok(()),
            status => {
                let complaints = fs::read_to_string(log_path).unwrap_or_default();
                Err(io::Error::other(format!("mizzen-wasm ended with {status}: {}", complaints.trim())))
            }
        }
    }
}

/// Nobody listens, or the one who did ended.
pub(super) fn is_gone(err: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(err.kind(), BrokenPipe | ConnectionRefused | ConnectionReset | NotFound | UnexpectedEof)
}
