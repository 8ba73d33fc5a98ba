//! One container as this agent knows it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mizzen_shim_protocol::record::{read, write_atomically};
use mizzen_shim_protocol::{Call, ExitRecord, LogLimits, Reply, State, files};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::bounds::Needs;
use super::hosts::{Host, is_gone};
use super::{rotation, state_of, views};
use crate::status::{ContainerState, ContainerStatus, Exit};

/// How long the news of an end may take.
const NEWS: Duration = Duration::from_secs(1);

/// How long a host may take to tell of what it runs.
const SETTLE: Duration = Duration::from_secs(5);

const AGAIN: Duration = Duration::from_millis(50);

/// What an agent must know after a restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) host: String,
    pub(super) log_path: PathBuf,
    #[serde(default)]
    pub(super) log_limits: Option<LogLimits>,
    #[serde(default)]
    pub(super) needs: Needs,
}

/// Where the folders for mounts of single files are, below a container's directory.
pub(super) const VIEWS: &str = "views";

/// How often a directory is removed again because something was added meanwhile.
const REMOVALS: usize = 8;

/// Takes a container's directory away, and what is mounted in it.
pub(super) fn remove_directory(directory: &Path) -> io::Result<()> {
    views::close(&directory.join(VIEWS))?;
    // An agent that is just taking the pods over may still note how this one ended: what it adds goes as well.
    for _ in 0..REMOVALS {
        match fs::remove_dir_all(directory) {
            Err(err) if err.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => return Ok(()),
        }
    }
    fs::remove_dir_all(directory)
}

impl Record {
    pub(super) fn read(directory: &Path) -> io::Result<Option<Self>> {
        read(&directory.join(files::CONTAINER))
    }

    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        write_atomically(&directory.join(files::CONTAINER), self)
    }
}

pub(super) struct Entry {
    id: String,
    directory: PathBuf,
    record: Record,
    pub(super) host: Arc<Host>,
    state: watch::Sender<Option<ContainerState>>,
    /// Whether the host was asked.
    settled: watch::Sender<bool>,
    changes: Arc<watch::Sender<u64>>,
    /// Held while the directory is written or taken away: an end that is told late must not write into a directory
    /// that is being removed.
    purged: Mutex<bool>,
}

impl Entry {
    pub(super) fn new(
        id: String,
        directory: PathBuf,
        record: Record,
        host: Arc<Host>,
        changes: Arc<watch::Sender<u64>>,
    ) -> Arc<Self> {
        let (state, settled) = (watch::Sender::new(None), watch::Sender::new(false));
        Arc::new(Self { id, directory, record, host, state, settled, changes, purged: Mutex::new(false) })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn log(&self) -> (&Path, Option<LogLimits>) {
        (&self.record.log_path, self.record.log_limits)
    }

    pub(super) fn status(&self) -> Option<ContainerStatus> {
        let state = self.state.borrow().clone()?;
        Some(ContainerStatus { id: self.id.clone(), labels: self.record.labels.clone(), state })
    }

    pub(super) fn has_exited(&self) -> bool {
        matches!(*self.state.borrow(), Some(ContainerState::Exited(_)))
    }

    /// Whether it has ended, after a moment for the news to come in.
    pub(super) async fn has_ended(&self) -> bool {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|state| matches!(state, Some(ContainerState::Exited(_))));
        tokio::time::timeout(NEWS, ended).await.is_ok_and(|ended| ended.is_ok())
    }

    /// Waits until the host has told how the container is, after a restart of the agent.
    pub(super) async fn settled(&self) {
        let mut settled = self.settled.subscribe();
        let _ = tokio::time::timeout(SETTLE, settled.wait_for(|settled| *settled)).await;
    }

    pub(super) fn started(self: &Arc<Self>, state: State) {
        self.set(state);
        self.settled.send_replace(true);
        if !self.has_exited() {
            tokio::spawn(Arc::clone(self).observe());
        }
    }

    /// Takes up what an earlier agent started.
    pub(super) fn adopt(self: &Arc<Self>) {
        match read(&self.directory.join(files::EXIT)) {
            Ok(Some(exit)) => {
                rotation::settle(&self.id, &self.record.log_path);
                self.started(State::Exited(exit));
            }
            Ok(None) | Err(_) => drop(tokio::spawn(Arc::clone(self).observe())),
        }
    }

    fn set(&self, state: State) {
        if let State::Exited(exit) = &state {
            self.record_exit(exit);
        }
        let state = state_of(state);
        if self.state.borrow().as_ref() == Some(&state) {
            return;
        }
        self.state.send_replace(Some(state));
        self.changes.send_modify(|count| *count += 1);
    }

    fn record_exit(&self, exit: &ExitRecord) {
        let purged = self.purged.lock();
        if *purged {
            return;
        }
        if let Err(err) = write_atomically(&self.directory.join(files::EXIT), exit) {
            tracing::warn!(container = self.id, %err, "its end cannot be recorded");
        }
        // Logs may be wanted for long; a volume must not be kept for as long by a mount of one of its files.
        if let Err(err) = views::close(&self.directory.join(VIEWS)) {
            tracing::warn!(container = self.id, %err, "its mounts stay until it is removed");
        }
    }

    fn is_purged(&self) -> bool {
        *self.purged.lock()
    }

    /// Follows the container to its end, or that of its host.
    async fn observe(self: Arc<Self>) {
        while !self.has_exited() && !self.is_purged() {
            match self.follow().await {
                Ok(()) => {}
                Err(err) if is_gone(&err) => self.lost("the host of Wasm pods ended, and the pod with it"),
                Err(err) => {
                    tracing::warn!(container = self.id, %err, "the host of Wasm pods cannot be asked");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn follow(&self) -> io::Result<()> {
        let mut client = self.host.connect().await?;
        client.send(&self.id, &Call::Watch, &[]).await?;
        while let Some(reply) = client.reply().await? {
            match reply {
                Reply::State { state } => {
                    self.set(state);
                    self.settled.send_replace(true);
                }
                // An agent was killed before it had asked for the start, or another host took the place.
                Reply::NotFound => self.lost("the host of Wasm pods does not know the pod"),
                other => return Err(io::Error::other(format!("{other:?}"))),
            }
        }
        if self.has_exited() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn lost(&self, message: &str) {
        let now = now();
        let started_at = match &*self.state.borrow() {
            Some(ContainerState::Running { started_at, .. }) => started_at.clone(),
            _ => now.clone(),
        };
        if !self.is_purged() {
            self.set(State::Exited(ExitRecord {
                code: 137,
                signal: Some(9),
                reason: "ContainerStatusUnknown".into(),
                message: message.into(),
                started_at,
                finished_at: now,
            }));
        }
        self.settled.send_replace(true);
    }

    pub(super) fn purge(&self) -> io::Result<()> {
        let mut purged = self.purged.lock();
        *purged = true;
        remove_directory(&self.directory)
    }
}

pub(super) fn exited(record: ExitRecord) -> Exit {
    let ExitRecord { code, signal, reason, message, started_at, finished_at } = record;
    Exit { code, signal, reason, message, started_at, finished_at }
}

/// RFC 3339, UTC.
#[expect(clippy::disallowed_methods, reason = "stands in for the host's own stamp; nothing here is simulated")]
fn now() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}
