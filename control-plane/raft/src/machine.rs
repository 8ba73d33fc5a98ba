//! The state machine as openraft drives it.

use std::sync::Arc;

use mizzen_store::persist::Persister;
use mizzen_store::redb_state::{RedbState, Step};
use mizzen_store::served::Served;
use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, BasicNode, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageError,
    StorageIOError, StoredMembership,
};

use crate::proposer::Pending;
use crate::snapshot::{self, SnapshotData};
use crate::types::{Batch, Entry, Note, TypeConfig};

pub(crate) struct Machine {
    pub(crate) served: Arc<Served>,
    pub(crate) persister: Arc<Persister>,
    pub(crate) pending: Arc<Pending>,
    pub(crate) note: Note,
    pub(crate) history_bytes: usize,
}

impl Machine {
    fn apply_batch(&self, batch: &Batch, steps: &mut Vec<Step>) {
        let mut outcomes = Vec::with_capacity(batch.txns.len());
        for (outcome, changes) in self.served.apply(&batch.txns) {
            steps.extend(changes.map(Step::Changes));
            outcomes.push(outcome);
        }
        if let Some(revision) = batch.compact {
            // Past the newest revision there is nothing to forget.
            let revision = revision.min(self.served.revision());
            self.served.compact(revision);
            steps.push(Step::Compact(revision));
        }
        self.pending.applied(batch, outcomes);
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), StorageError<u64>> {
        Ok((self.note.applied, self.note.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.persister.room().await.map_err(write_error)?;
        let (mut steps, mut answers) = (Vec::new(), Vec::new());
        for entry in entries {
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(batch) => self.apply_batch(batch, &mut steps),
                EntryPayload::Membership(members) => {
                    self.note.membership = StoredMembership::new(Some(entry.log_id), members.clone());
                }
            }
            self.note.applied = Some(entry.log_id);
            answers.push(());
        }
        let Some(applied) = self.note.applied else { return Ok(answers) };
        let note = self.note.encode().map_err(|error| StorageIOError::apply(applied, AnyError::new(&error)))?;
        let (served, revision) = (self.served.clone(), self.served.revision());
        self.persister.submit(steps, note, applied.index, move || served.archived(revision));
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { persister: self.persister.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotData>, StorageError<u64>> {
        Ok(Box::new(SnapshotData::Bytes(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<SnapshotData>,
    ) -> Result<(), StorageError<u64>> {
        let history_bytes = self.history_bytes;
        let loaded = self
            .persister
            .run(move |state: &RedbState| {
                state.restore(&snapshot.into_bytes()?)?;
                state.load(history_bytes)
            })
            .await
            .map_err(|error| StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(&error)))?;
        self.note = Note { applied: meta.last_log_id, membership: meta.last_membership.clone() };
        self.served.replace(loaded.saved);
        if let Some(applied) = meta.last_log_id {
            self.persister.restored(applied.index);
        }
        self.pending.overtaken();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError<u64>> {
        snapshot::take(&self.persister).await.map_err(|error| StorageIOError::read_snapshot(None, AnyError::new(&error)).into())
    }
}

/// What openraft calls a snapshot to purge the log by is here a durable commit of the state.
pub(crate) struct Builder {
    persister: Arc<Persister>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError<u64>> {
        let fail = |error: mizzen_store::StoreError| StorageIOError::read_snapshot(None, AnyError::new(&error));
        let snapshot = snapshot::take(&self.persister).await.map_err(fail)?;
        let snapshot = snapshot.ok_or_else(|| StorageIOError::read_snapshot(None, AnyError::error("nothing is applied yet")))?;
        let applied = snapshot.meta.last_log_id.map_or(0, |applied| applied.index);
        self.persister.durable(applied).await.map_err(fail)?;
        Ok(snapshot)
    }
}

fn write_error(error: mizzen_store::StoreError) -> StorageError<u64> {
    StorageIOError::write_state_machine(AnyError::new(&error)).into()
}
