//! One container as this agent knows it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mizzen_shim_protocol::{Call, ContainerFile, ExitRecord, Reply, RunningRecord, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::watch;

use super::connection::Connection;
use super::directory::Directory;
use crate::RuntimeError;
use crate::cgroup;
use crate::status::{ContainerState, ContainerStatus, Exit};

/// How long a shim may take to end its container.
const END: Duration = Duration::from_secs(10);

/// How long a start that an earlier agent began may take.
const START: Duration = Duration::from_secs(70);

/// How long the news of an end may take.
const NEWS: Duration = Duration::from_secs(1);

pub(super) struct Entry {
    pub(super) directory: Directory,
    pub(super) file: ContainerFile,
    /// Held by what starts or removes.
    pub(super) gate: tokio::sync::Mutex<()>,
    state: watch::Sender<Option<ContainerState>>,
    changes: Arc<watch::Sender<u64>>,
}

impl Entry {
    pub(super) fn new(directory: Directory, file: ContainerFile, changes: Arc<watch::Sender<u64>>) -> Arc<Self> {
        let (gate, state) = (tokio::sync::Mutex::default(), watch::Sender::new(None));
        Arc::new(Self { directory, file, gate, state, changes })
    }

    pub(super) fn id(&self) -> &str {
        &self.file.id
    }

    pub(super) fn state(&self) -> Option<ContainerState> {
        self.state.borrow().clone()
    }

    pub(super) fn status(&self) -> Option<ContainerStatus> {
        let state = self.state()?;
        Some(ContainerStatus { id: self.file.id.clone(), labels: self.file.labels.clone(), state })
    }

    /// The status, after waiting for a start that an earlier agent began. `None` when there was no start.
    pub(super) async fn known(&self) -> Option<ContainerStatus> {
        if self.state().is_none() && self.directory.shim_lives() {
            let mut state = self.state.subscribe();
            let _ = tokio::time::timeout(START, state.wait_for(Option::is_some)).await;
        }
        self.status()
    }

    /// Whether a container whose shim did not answer has ended, after a moment for the news to come in.
    pub(super) async fn has_ended(&self) -> bool {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|state| matches!(state, Some(ContainerState::Exited(_))));
        tokio::time::timeout(NEWS, ended).await.is_ok_and(|ended| ended.is_ok())
    }

    fn set(&self, state: ContainerState) {
        if self.state.borrow().as_ref() == Some(&state) {
            return;
        }
        self.state.send_replace(Some(state));
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn started(self: &Arc<Self>, record: RunningRecord) {
        self.set(ContainerState::Running { started_at: record.started_at, pid: Some(record.pid) });
        tokio::spawn(Arc::clone(self).observe());
    }

    /// Takes up what an earlier agent started.
    pub(super) fn adopt(self: &Arc<Self>) {
        match self.directory.exit() {
            Ok(Some(exit)) => self.set(ContainerState::Exited(exited(exit))),
            Ok(None) | Err(_) => match self.directory.running() {
                Ok(Some(record)) => self.started(record),
                // The shim is still about to start it, or never came to it.
                Ok(None) | Err(_) => drop(tokio::spawn(Arc::clone(self).observe())),
            },
        }
    }

    /// Follows the shim until it is gone, then finds out what became of the container.
    async fn observe(self: Arc<Self>) {
        if let Err(err) = self.follow().await {
            tracing::debug!(container = self.id(), %err, "the shim cannot be followed");
        }
        if let Err(err) = self.conclude().await {
            tracing::warn!(container = self.id(), %err, "its end cannot be recorded");
        }
    }

    async fn follow(&self) -> io::Result<()> {
        let mut connection = Connection::open(self.directory.path()).await?;
        connection.send(self.id(), Call::Watch).await?;
        while let Some(reply) = connection.reply().await? {
            match reply {
                Reply::State { state: State::Running { started_at, pid } } => {
                    self.set(ContainerState::Running { started_at, pid });
                }
                Reply::State { state: State::Exited(exit) } => self.set(ContainerState::Exited(exited(exit))),
                other => return Err(io::Error::other(format!("{other:?}"))),
            }
        }
        Ok(())
    }

    /// To be called when the shim has gone: it left its record, or was killed.
    async fn conclude(&self) -> io::Result<()> {
        while self.directory.shim_lives() {
            // A connection that was refused while the shim was on its way up or down; it tells nobody when it is.
            tokio::time::sleep(Duration::from_millis(5)).await;
            if let Ok(()) = self.follow().await {
                continue;
            }
        }
        if !self.directory.path().exists() {
            return Ok(());
        }
        if let Some(exit) = self.directory.exit()? {
            self.set(ContainerState::Exited(exited(exit)));
            return Ok(());
        }
        cgroup::kill_all(&self.file.cgroups);
        let Some(running) = self.directory.running()? else { return Ok(()) };
        let exit = ExitRecord {
            code: 137,
            signal: Some(9),
            reason: "ContainerStatusUnknown".into(),
            message: "the process that watched over the container was killed, and the container with it".into(),
            started_at: running.started_at,
            finished_at: now(),
        };
        self.directory.write_exit(&exit)?;
        self.set(ContainerState::Exited(exited(exit)));
        Ok(())
    }

    /// Ends the container and its shim, whatever it takes.
    pub(super) async fn end(&self) {
        let Ok(mut connection) = Connection::open(self.directory.path()).await else { return };
        let asked = async {
            connection.send(self.id(), Call::Remove).await?;
            // Until the shim ends.
            while connection.frame().await?.is_some() {}
            Ok::<_, io::Error>(())
        };
        if tokio::time::timeout(END, asked).await.is_err()
            && let Some(shim) = connection.peer()
        {
            tracing::warn!(container = self.id(), shim, "the shim does not end; it is killed");
            let _ = kill(Pid::from_raw(shim), Signal::SIGKILL);
        }
    }

    /// Removes processes, cgroup, mounts and files.
    pub(super) async fn purge(&self) -> Result<(), RuntimeError> {
        let failed = |source| RuntimeError::Io { operation: "remove", id: self.id().to_owned(), source };
        cgroup::remove(&self.file.cgroups).await.map_err(failed)?;
        let directory = self.directory.clone();
        let removed = tokio::task::spawn_blocking(move || directory.remove()).await;
        removed.map_err(|err| failed(io::Error::other(err)))?.map_err(failed)
    }
}

fn exited(record: ExitRecord) -> Exit {
    let ExitRecord { code, signal, reason, message, started_at, finished_at } = record;
    Exit { code, signal, reason, message, started_at, finished_at }
}

/// RFC 3339, UTC.
#[expect(clippy::disallowed_methods, reason = "stands in for the shim's own stamp; nothing here is simulated")]
fn now() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}
