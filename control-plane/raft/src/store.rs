//! [`RaftStore`]: the store as this server serves it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mizzen_api::Object;
use mizzen_store::archive::Archive;
use mizzen_store::persist::Persister;
use mizzen_store::redb_state::RedbState;
use mizzen_store::seal::{Seal, Unsealed};
use mizzen_store::served::Served;
use mizzen_store::{HISTORY_BYTES, Range, RangeOptions, Store, StoreError, Txn, TxnOutcome, Watch};
use openraft::{BasicNode, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::network::{Links, Peers, Router};
use crate::proposer::{self, Answer, Pending, Proposal};
use crate::types::{Note, Raft};
use crate::{RaftError, dir, purge};

/// Callers that may wait to be proposed before further ones wait to be taken in.
const QUEUE: usize = 4096;

/// How a server's store is set up. `RaftConfig::new` gives what a single server needs.
#[derive(Clone)]
pub struct RaftConfig {
    /// The folder of `log.redb` and `state.redb`.
    pub dir: PathBuf,
    /// This server's number, never 0 and never another's.
    pub node_id: u64,
    /// History kept in memory, in bytes; older history is read from disk.
    pub history_bytes: usize,
    /// Page cache of `state.redb`, in bytes.
    pub state_cache_bytes: usize,
    /// Log entries after which the state is made durable and the log before it purged.
    pub snapshot_entries: u64,
    /// Log bytes after which the same is done before there are so many entries.
    pub snapshot_bytes: u64,
    /// How long a transaction may take before it is given up as [`StoreError::Unavailable`].
    pub timeout: Duration,
    /// The voters that an empty folder starts with; empty when this server joins others.
    pub voters: Vec<u64>,
    /// How to reach the other servers.
    pub router: Router,
    /// How documents are written to this server's disk.
    pub seal: Arc<dyn Seal>,
}

impl RaftConfig {
    /// A single voter.
    pub fn new(dir: impl Into<PathBuf>, node_id: u64) -> Self {
        Self {
            dir: dir.into(),
            node_id,
            history_bytes: HISTORY_BYTES,
            state_cache_bytes: 8 << 20,
            snapshot_entries: 5000,
            snapshot_bytes: 64 << 20,
            timeout: Duration::from_secs(10),
            voters: vec![node_id],
            router: Router::new(),
            seal: Unsealed::shared(),
        }
    }
}

/// The store over raft: writes go through the log, reads come from memory on this server.
pub struct RaftStore {
    node_id: u64,
    served: Arc<Served>,
    raft: Raft,
    log: LogStore,
    persister: Arc<Persister>,
    state: Arc<RedbState>,
    links: Links,
    timeout: Duration,
    /// As they were when the state was opened: what is written later is written as it should be.
    stale: HashMap<Arc<str>, u64>,
    proposals: Mutex<Option<mpsc::Sender<Proposal>>>,
    proposer: Mutex<Option<tokio::task::JoinHandle<()>>>,
    purger: tokio::task::AbortHandle,
}

impl RaftStore {
    /// Opens the folder, replays the log, and returns once everything known to be committed is applied. Must be called
    /// in a tokio runtime.
    ///
    /// # Errors
    /// [`RaftError::Format`] and [`RaftError::Node`] when the folder is not this version's or not this server's,
    /// otherwise what failed.
    pub async fn open(config: RaftConfig) -> Result<Arc<Self>, RaftError> {
        dir::prepare(&config.dir, config.node_id)?;
        let log = LogStore::open(&config.dir.join("log.redb"), config.seal.clone())?;
        let state = RedbState::open(&config.dir.join("state.redb"), config.state_cache_bytes)?.sealed(config.seal.clone());
        dir::sync(&config.dir)?;
        Self::start(config, log, state).await
    }

    pub(crate) async fn start(config: RaftConfig, log: LogStore, state: RedbState) -> Result<Arc<Self>, RaftError> {
        let state = Arc::new(state);
        let loaded = state.load(config.history_bytes)?;
        let note = Note::decode(&loaded.note)
            .map_err(|error| RaftError::Raft { operation: "reading how far the log is applied", why: error.to_string() })?;
        let persister = Arc::new(Persister::start(state.clone(), note.applied.map_or(0, |applied| applied.index))?);
        log.keep_for(persister.clone());
        let archive: Arc<dyn Archive> = state.clone();
        let served = Served::new(loaded.saved, config.history_bytes, Some(archive));
        let pending = Pending::new(run_id());
        let machine = Machine {
            served: served.clone(),
            persister: persister.clone(),
            pending: pending.clone(),
            note,
            history_bytes: config.history_bytes,
        };
        let (last, committed) = log.ends();
        let links = Links { router: config.router.clone(), from: config.node_id };
        let raft_config = Arc::new(raft_config(&config)?);
        let raft = Raft::new(config.node_id, raft_config, links.clone(), log.clone(), machine)
            .await
            .map_err(|error| RaftError::Raft { operation: "starting raft", why: error.to_string() })?;
        config.router.add(config.node_id, raft.clone());
        let grown = log.notify_each(config.snapshot_bytes);
        let purger = tokio::spawn(purge::run(raft.clone(), log.clone(), grown)).abort_handle();

        let (proposals, queue) = mpsc::channel(QUEUE);
        let peers: Arc<dyn Peers> = Arc::new(links.clone());
        let proposer = tokio::spawn(proposer::run(config.node_id, raft.clone(), peers, pending, queue));
        let store = Arc::new(Self {
            node_id: config.node_id,
            served,
            raft,
            log,
            persister,
            state,
            links,
            timeout: config.timeout,
            stale: loaded.stale,
            proposals: Mutex::new(Some(proposals)),
            proposer: Mutex::new(Some(proposer)),
            purger,
        });
        if last.is_none() && !config.voters.is_empty() {
            store.bootstrap(&config.voters).await?;
        }
        // A sole voter's whole log is committed. What others hold of theirs is for the leader to say.
        let id = config.node_id;
        let sole = store.raft.with_raft_state(move |raft| raft.membership_state.effective().voter_ids().eq([id])).await;
        let sole = sole.map_err(|error| RaftError::Raft { operation: "reading the membership", why: error.to_string() })?;
        let needed = if sole { last } else { committed };
        if sole {
            let leader = store.raft.wait(Some(config.timeout)).current_leader(config.node_id, "the only voter leads").await;
            leader.map_err(|error| RaftError::Raft { operation: "waiting to lead", why: error.to_string() })?;
        }
        if let Some(needed) = needed {
            let replayed = store.raft.wait(None).applied_index_at_least(Some(needed.index), "the log is replayed").await;
            replayed.map_err(|error| RaftError::Raft { operation: "replaying the log", why: error.to_string() })?;
        }
        Ok(store)
    }

    async fn bootstrap(&self, voters: &[u64]) -> Result<(), RaftError> {
        let members: BTreeMap<u64, BasicNode> = voters.iter().map(|&id| (id, BasicNode::default())).collect();
        match self.raft.initialize(members).await {
            // Another server was faster.
            Ok(()) | Err(openraft::error::RaftError::APIError(openraft::error::InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(RaftError::Raft { operation: "starting the cluster", why: error.to_string() }),
        }
    }

    /// Stops serving, makes what is applied durable and closes the files. Watches end with
    /// [`StoreError::Unavailable`].
    pub async fn shutdown(&self) {
        self.purger.abort();
        self.links.router.remove(self.node_id);
        drop(self.proposals.lock().take());
        self.served.close();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not end cleanly");
        }
        let proposer = self.proposer.lock().take();
        if let Some(proposer) = proposer
            && let Err(error) = proposer.await
        {
            tracing::warn!(%error, "the proposer did not end cleanly");
        }
        let (persister, log, state) = (self.persister.clone(), self.log.clone(), self.state.clone());
        let closed = tokio::task::spawn_blocking(move || {
            persister.stop();
            state.close();
            log.stop();
        });
        if let Err(error) = closed.await {
            tracing::warn!(%error, "closing the files failed");
        }
    }

    /// Whether this server leads, as far as it knows: what one server should do for all (compacting, say) is the
    /// leader's to do.
    pub fn is_leader(&self) -> bool {
        self.raft.metrics().borrow().current_leader == Some(self.node_id)
    }

    /// Bytes of history that were applied since the store was opened, for [`mizzen_store::retention::AutoCompaction`].
    pub fn history_written(&self) -> u64 {
        self.served.history_written()
    }

    async fn propose<T>(&self, proposal: impl FnOnce(Answer<T>) -> Proposal) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable { why: "the store is shutting down".into() };
        let proposals = self.proposals.lock().clone().ok_or_else(closed)?;
        let (answer, outcome) = oneshot::channel();
        let proposed = async {
            proposals.send(proposal(answer)).await.map_err(|_| closed())?;
            drop(proposals);
            outcome.await.unwrap_or_else(|_| Err(closed()))
        };
        match tokio::time::timeout(self.timeout, proposed).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::Unavailable { why: format!("no answer within {:?}", self.timeout) }),
        }
    }

    /// Whether every write that was acknowledged anywhere was applied here first. Nobody else can lead, or have led since,
    /// without the vote of the only voter, whose metrics would say so by then.
    fn is_sole_leader(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let voters = metrics.membership_config.membership().get_joint_config();
        metrics.current_leader == Some(self.node_id)
            && metrics.running_state.is_ok()
            && matches!(&voters[..], [only] if only.len() == 1 && only.contains(&self.node_id))
    }

    async fn read_index(&self) -> Result<Option<u64>, StoreError> {
        let unavailable = |why| StoreError::Unavailable { why };
        let leader = self.raft.metrics().borrow().current_leader;
        match leader {
            Some(leader) if leader == self.node_id => {
                let (read, _) = self.raft.get_read_log_id().await.map_err(|error| unavailable(error.to_string()))?;
                Ok(read.map(|read| read.index))
            }
            Some(leader) => self.links.read_index(leader).await.map_err(unavailable),
            None => Err(unavailable("there is no leader".into())),
        }
    }
}

#[async_trait]
impl Store for RaftStore {
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        self.propose(|answer| Proposal::Txn(txn, answer)).await
    }

    async fn barrier(&self) -> Result<(), StoreError> {
        if self.is_sole_leader() {
            return Ok(());
        }
        let confirmed = async {
            let index = self.read_index().await?;
            let applied = self.raft.wait(None).applied_index_at_least(index, "a read index").await;
            applied.map(|_| ()).map_err(|error| StoreError::Unavailable { why: error.to_string() })
        };
        match tokio::time::timeout(self.timeout, confirmed).await {
            Ok(confirmed) => confirmed,
            Err(_) => Err(StoreError::Unavailable { why: format!("no leader confirmed a read within {:?}", self.timeout) }),
        }
    }

    fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.served.get(key)
    }

    fn range(&self, prefix: &str, options: &RangeOptions) -> Result<Range, StoreError> {
        self.served.range(prefix, options)
    }

    fn watch(&self, prefix: &str, after: u64) -> Result<Box<dyn Watch>, StoreError> {
        self.served.watch(prefix, after)
    }

    fn is_stale(&self, key: &str, revision: u64) -> bool {
        self.stale.get(key) == Some(&revision)
    }

    fn revision(&self) -> u64 {
        self.served.revision()
    }

    async fn compact(&self, revision: u64) -> Result<(), StoreError> {
        self.propose(|answer| Proposal::Compact(revision, answer)).await
    }
}

fn raft_config(config: &RaftConfig) -> Result<openraft::Config, RaftError> {
    let config = openraft::Config {
        cluster_name: "mizzen".into(),
        heartbeat_interval: 200,
        election_timeout_min: 1000,
        election_timeout_max: 2000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_entries),
        max_in_snapshot_log_to_keep: config.snapshot_entries / 5,
        replication_lag_threshold: config.snapshot_entries * 2,
        install_snapshot_timeout: 60_000,
        ..openraft::Config::default()
    };
    config.validate().map_err(|error| RaftError::Raft { operation: "configuring raft", why: error.to_string() })
}

/// Differs between any two runs: every hasher state of the standard library is seeded by the system's randomness.
fn run_id() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
