//! Work that holds its thread.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does the work here; in a runtime that has other threads, these go on with what this one had to do.
pub(crate) fn apart<R>(work: impl FnOnce() -> R) -> R {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
