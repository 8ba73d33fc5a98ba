//! What keeps the table: nftables, or a fake that behaves like it (the suite in `apply_tests.rs` holds for both).

use async_trait::async_trait;

use crate::key::{Changes, Elements};

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Network(#[from] mizzen_network::NetworkError),
    #[error("read nftables table {table}: {source}")]
    Listing {
        table: String,
        #[source]
        source: serde_json::Error,
    },
}

#[async_trait]
pub trait Apply: Send + Sync {
    /// What is in the table but for its frame; `None` when there is no table, or its frame is not as it should be.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn read(&self, wanted: &Elements) -> Result<Option<Elements>, ApplyError>;

    /// Whether the table seems to be as it should be: a look that costs little, and does not see all.
    async fn is_whole(&self) -> bool;

    /// Changes the table, all at once or not at all.
    ///
    /// # Errors
    /// When something is not as the changes say that it was; nothing is changed then.
    async fn change(&self, changes: &Changes) -> Result<(), ApplyError>;

    /// Puts the table in the place of what was there, at once.
    ///
    /// # Errors
    /// When it is refused; nothing is changed then.
    async fn rebuild(&self, wanted: &Elements) -> Result<(), ApplyError>;

    /// Takes the table away; no error when there is none.
    ///
    /// # Errors
    /// When that is refused.
    async fn remove(&self) -> Result<(), ApplyError>;
}
