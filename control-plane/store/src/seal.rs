//! What documents look like on disk.

use std::sync::Arc;

/// What every encrypted document begins with, as in Kubernetes.
pub const MARK: &[u8] = b"k8s:enc:";

#[derive(Debug, thiserror::Error)]
#[error("{operation} {key}: {why}")]
pub struct SealError {
    pub operation: &'static str,
    /// Of the document.
    pub key: String,
    pub why: String,
}

/// Turns documents into what is written, and back. What is in memory is never sealed.
pub trait Seal: Send + Sync + 'static {
    /// What is written for a document; `None` when it is written as it is.
    ///
    /// # Errors
    /// When it cannot be sealed: it must not be written then.
    fn seal(&self, key: &str, document: &[u8]) -> Result<Option<Vec<u8>>, SealError>;

    /// The document of what was written; `None` when it was written as it is.
    ///
    /// # Errors
    /// When it is sealed and cannot be opened.
    fn open(&self, key: &str, written: &[u8]) -> Result<Option<Vec<u8>>, SealError>;

    /// Whether it would be written in the same way again.
    fn is_current(&self, key: &str, written: &[u8]) -> bool;
}

/// Everything is written as it is.
pub struct Unsealed;

impl Unsealed {
    pub fn shared() -> Arc<dyn Seal> {
        Arc::new(Self)
    }
}

impl Seal for Unsealed {
    fn seal(&self, _key: &str, _document: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        Ok(None)
    }

    fn is_current(&self, _key: &str, written: &[u8]) -> bool {
        !written.starts_with(MARK)
    }

    fn open(&self, key: &str, written: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        if !written.starts_with(MARK) {
            return Ok(None);
        }
        let why = "it is encrypted, and there is no encryption configuration".to_owned();
        Err(SealError { operation: "read", key: key.to_owned(), why })
    }
}
