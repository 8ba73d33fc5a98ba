//! One open watch: a position in a topic, or in the archive while the position is older than the topic.

use std::sync::Arc;

use async_trait::async_trait;

use crate::archive::{self, Archive};
use crate::served::Served;
use crate::topics::{Next, Topic};
use crate::{Batch, StoreError, Watch};

pub(crate) struct Watcher {
    served: Arc<Served>,
    topic: Arc<Topic>,
    archive: Option<Arc<dyn Archive>>,
    /// All changes up to here were returned.
    position: u64,
}

impl Watcher {
    pub(crate) fn new(served: Arc<Served>, topic: Arc<Topic>, position: u64, archive: Option<Arc<dyn Archive>>) -> Self {
        topic.joined();
        Self { served, topic, archive, position }
    }

    /// The changes that are there; `None` when there are none.
    async fn look(&mut self) -> Result<Option<Arc<Batch>>, StoreError> {
        loop {
            if self.served.is_closed() {
                return Err(StoreError::Unavailable { why: "the store is shutting down".into() });
            }
            // Read first: whatever is published up to this revision is seen below.
            let newest = self.served.revision();
            match self.topic.after(self.position) {
                Next::Changes(batch) => return Ok(Some(self.take(batch))),
                Next::Nothing => {
                    self.position = self.position.max(newest);
                    return Ok(None);
                }
                Next::Held => return Ok(None),
                Next::Behind(floor) => {
                    let Some(archive) = &self.archive else {
                        return Err(StoreError::Compacted { asked: self.position, oldest: floor });
                    };
                    let (changes, until) = archive::changes(archive, &self.topic.prefix, self.position, floor).await?;
                    let batch = self.take(Batch::new(&changes));
                    self.position = self.position.max(until);
                    if !batch.is_empty() {
                        return Ok(Some(batch));
                    }
                }
            }
        }
    }

    fn take(&mut self, batch: Arc<Batch>) -> Arc<Batch> {
        self.position = self.position.max(batch.span().1);
        batch
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.topic.left();
    }
}

#[async_trait]
impl Watch for Watcher {
    async fn next(&mut self) -> Result<Arc<Batch>, StoreError> {
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
        if self.topic.is_quiet_after(self.position) { self.position.max(newest) } else { self.position }
    }
}
