//! History that is too old for memory.

use std::sync::Arc;

use crate::state::Changes;
use crate::{Range, RangeOptions, StoreError};

/// Where changes and versions are kept that memory has forgotten. Calls may block on a disk.
pub trait Archive: Send + Sync + 'static {
    /// Keys under a prefix as of `revision`.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when the revision is no longer kept, [`StoreError::Io`] when reading fails.
    fn range(&self, prefix: &str, options: &RangeOptions, revision: u64) -> Result<Range, StoreError>;

    /// Changes under a prefix after `after`, oldest first, and the revision up to which that is all of them: at most
    /// `until`, less when there are many.
    ///
    /// # Errors
    /// As for [`Archive::range`].
    fn changes(&self, prefix: &str, after: u64, until: u64) -> Result<(Vec<Changes>, u64), StoreError>;
}

/// The parts of a blocking call on an archive that outlive the caller.
pub(crate) async fn changes(
    archive: &Arc<dyn Archive>,
    prefix: &str,
    after: u64,
    until: u64,
) -> Result<(Vec<Changes>, u64), StoreError> {
    let (archive, prefix) = (archive.clone(), prefix.to_owned());
    tokio::task::spawn_blocking(move || archive.changes(&prefix, after, until))
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable { why: "reading the history was interrupted".into() }))
}
