//! How servers reach each other. Here in one process; over HTTPS once servers join clusters.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use openraft::error::{Fatal, NetworkError, RPCError, RaftError, RemoteError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{AnyError, BasicNode, OptionalSend, Snapshot, Vote};
use parking_lot::RwLock;

use crate::snapshot::SnapshotData;
use crate::types::{Batch, Raft, TypeConfig};

/// What a server asks of the leader beyond raft's own calls.
#[async_trait]
pub(crate) trait Peers: Send + Sync + 'static {
    /// Has the leader put a batch into the log; returns once it is committed.
    async fn propose(&self, leader: u64, batch: Arc<Batch>) -> Result<(), String>;

    /// The log index that a linearizable read must have seen.
    async fn read_index(&self, leader: u64) -> Result<Option<u64>, String>;
}

/// Connects the servers of one process. Links between two servers can be cut, for tests.
#[derive(Clone, Default)]
pub struct Router {
    shared: Arc<RwLock<Routes>>,
}

#[derive(Default)]
struct Routes {
    servers: HashMap<u64, Raft>,
    cut: std::collections::HashSet<u64>,
}

impl Router {
    /// A router that knows nobody yet: enough for a single server.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&self, node_id: u64, raft: Raft) {
        self.shared.write().servers.insert(node_id, raft);
    }

    pub(crate) fn remove(&self, node_id: u64) {
        self.shared.write().servers.remove(&node_id);
    }

    /// Cuts a server off from all others, or connects it again.
    pub fn set_cut(&self, node_id: u64, cut: bool) {
        let mut routes = self.shared.write();
        if cut {
            routes.cut.insert(node_id);
        } else {
            routes.cut.remove(&node_id);
        }
    }

    fn route(&self, from: u64, to: u64) -> Result<Raft, String> {
        let routes = self.shared.read();
        if routes.cut.contains(&from) || routes.cut.contains(&to) {
            return Err(format!("server {to} cannot be reached from server {from}"));
        }
        routes.servers.get(&to).cloned().ok_or_else(|| format!("server {to} is not running"))
    }
}

/// The router as one server sees it.
#[derive(Clone)]
pub(crate) struct Links {
    pub(crate) router: Router,
    pub(crate) from: u64,
}

#[async_trait]
impl Peers for Links {
    async fn propose(&self, leader: u64, batch: Arc<Batch>) -> Result<(), String> {
        let raft = self.router.route(self.from, leader)?;
        raft.client_write(batch).await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn read_index(&self, leader: u64) -> Result<Option<u64>, String> {
        let raft = self.router.route(self.from, leader)?;
        let (read, _) = raft.get_read_log_id().await.map_err(|error| error.to_string())?;
        Ok(read.map(|read| read.index))
    }
}

impl RaftNetworkFactory<TypeConfig> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Link {
        Link { links: self.clone(), target }
    }
}

/// One server's way to one other.
pub(crate) struct Link {
    links: Links,
    target: u64,
}

impl Link {
    fn raft(&self) -> Result<Raft, Unreachable> {
        self.links.router.route(self.links.from, self.target).map_err(|why| Unreachable::new(&AnyError::error(why)))
    }
}

type RpcResult<T> = Result<T, RPCError<u64, BasicNode, RaftError<u64>>>;

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<u64>> {
        let answer = self.raft()?.append_entries(rpc).await;
        answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
    }

    async fn vote(&mut self, rpc: VoteRequest<u64>, _option: RPCOption) -> RpcResult<VoteResponse<u64>> {
        let answer = self.raft()?.vote(rpc).await;
        answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let raft = self.raft()?;
        let Snapshot { meta, snapshot } = snapshot;
        let bytes = tokio::task::spawn_blocking(move || snapshot.into_bytes())
            .await
            .map_err(|error| NetworkError::new(&error))?
            .map_err(|error| NetworkError::new(&error))?;
        let snapshot = Snapshot { meta, snapshot: Box::new(SnapshotData::Bytes(bytes)) };
        tokio::select! {
            closed = cancel => Err(closed.into()),
            answer = raft.install_full_snapshot(vote, snapshot) => {
                answer.map_err(|error| StreamingError::RemoteError(RemoteError::new(self.target, error)))
            }
        }
    }
}
