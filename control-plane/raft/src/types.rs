//! What goes through the log.

use std::sync::Arc;

use mizzen_store::Txn;
use openraft::{BasicNode, LogId, StoredMembership};
use serde::{Deserialize, Serialize};

use crate::snapshot::SnapshotData;

openraft::declare_raft_types!(
    /// Outcomes do not travel through openraft: the machine answers the proposer itself (see `proposer`).
    pub(crate) TypeConfig:
        D = Arc<Batch>,
        R = (),
        NodeId = u64,
        Node = BasicNode,
        SnapshotData = SnapshotData,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;

/// One log entry: the transactions that came together, then perhaps a compaction. Each transaction has a revision and an
/// outcome of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// Which run of which server proposed it, so that the same run answers its callers when it applies it.
    pub(crate) proposer: u64,
    pub(crate) number: u64,
    pub(crate) txns: Vec<Txn>,
    pub(crate) compact: Option<u64>,
}

/// What the state's file says about the log: how far it is applied, and who was in the cluster then.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) applied: Option<LogId<u64>>,
    pub(crate) membership: StoredMembership<u64, BasicNode>,
}

impl Note {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        if bytes.is_empty() { Ok(Self::default()) } else { postcard::from_bytes(bytes) }
    }
}
