//! One open watch: a position in a topic, or in the archive while the position is older than the topic.

use std::sync::Arc;

use async_trait::async_trait;

use crate::archive::{self, Archive};
use crate::served::Served;
use crate::state::Changes;
use crate::topics::{Next, Topic, revision_of};
use crate::{Event, StoreError, Watch};

pub(crate) struct Watcher {
    served: Arc<Served>,
    topic: Arc<Topic>,
    archive: Option<Arc<dyn Archive>>,
    /// All changes up to here were returned.
    position: u64,
}

impl Watcher {
    pub(crate) fn new(served: Arc<Served>, topic: Arc<Topic>, position: u64, archive: Option<Arc<dyn Archive>>) -> Self {
        Self { served, topic, archive, position }
    }

    /// The changes that are there; `None` when there are none.
    async fn look(&mut self) -> Result<Option<Vec<Event>>, StoreError> {
        loop {
            if self.served.is_closed() {
                return Err(StoreError::Unavailable { why: "the store is shutting down".into() });
            }
            // Read first: whatever is published up to this revision is seen below.
            let newest = self.served.revision();
            match self.topic.after(self.position) {
                Next::Changes(batches) => return Ok(Some(self.take(&batches))),
                Next::Nothing => {
                    self.position = self.position.max(newest);
                    return Ok(None);
                }
                Next::Behind(floor) => {
                    let Some(archive) = &self.archive else {
                        return Err(StoreError::Compacted { asked: self.position, oldest: floor });
                    };
                    let (batches, until) = archive::changes(archive, &self.topic.prefix, self.position, floor).await?;
                    let events = self.take(&batches);
                    self.position = self.position.max(until);
                    if !events.is_empty() {
                        return Ok(Some(events));
                    }
                }
            }
        }
    }

    fn take(&mut self, batches: &[Changes]) -> Vec<Event> {
        if let Some(last) = batches.last() {
            self.position = self.position.max(revision_of(last));
        }
        batches.iter().flat_map(|changes| changes.iter().cloned()).collect()
    }
}

#[async_trait]
impl Watch for Watcher {
    async fn next(&mut self) -> Result<Vec<Event>, StoreError> {
        let topic = self.topic.clone();
        loop {
            if let Some(events) = self.look().await? {
                return Ok(events);
            }
            // Registered before looking again, so that a change between looking and waiting is not missed.
            let mut changed = std::pin::pin!(topic.changed.notified());
            changed.as_mut().enable();
            if let Some(events) = self.look().await? {
                return Ok(events);
            }
            changed.await;
        }
    }

    fn progress(&self) -> u64 {
        let newest = self.served.revision();
        match self.topic.after(self.position) {
            Next::Nothing => self.position.max(newest),
            Next::Changes(_) | Next::Behind(_) => self.position,
        }
    }
}
