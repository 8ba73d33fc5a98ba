//! Snapshots: the state's file as of one log position, read only when a follower needs it.

use mizzen_store::frozen::Frozen;
use mizzen_store::{StoreError, persist::Persister};
use openraft::{Snapshot, SnapshotMeta};

use crate::types::{Note, TypeConfig};

/// What openraft carries around as a snapshot.
pub(crate) enum SnapshotData {
    /// A view of this server's file.
    Frozen(Frozen),
    /// A received one.
    Bytes(Vec<u8>),
}

impl SnapshotData {
    /// The snapshot as it is sent.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the file cannot be read. Blocks.
    pub(crate) fn into_bytes(self) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::Frozen(frozen) => frozen.dump(),
            Self::Bytes(bytes) => Ok(bytes),
        }
    }
}

/// A view of everything submitted to the persister before the call; `None` when nothing was applied yet.
pub(crate) async fn take(persister: &Persister) -> Result<Option<Snapshot<TypeConfig>>, StoreError> {
    let frozen = persister.run(|state| state.freeze()).await?;
    let note = Note::decode(frozen.note()).map_err(|error| StoreError::Unavailable { why: error.to_string() })?;
    let Some(applied) = note.applied else { return Ok(None) };
    let meta = SnapshotMeta {
        last_log_id: Some(applied),
        last_membership: note.membership,
        snapshot_id: format!("{}-{}", applied.leader_id, applied.index),
    };
    Ok(Some(Snapshot { meta, snapshot: Box::new(SnapshotData::Frozen(frozen)) }))
}
