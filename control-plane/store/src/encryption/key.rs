//! A key of a provider: by its name a document tells which key opens it.

use ring::rand::{SecureRandom as _, SystemRandom};

/// One way to encrypt, with its secret.
pub(super) trait Cipher: Send + Sync {
    /// What stands behind the mark; `key` is the document's key in the store.
    ///
    /// # Errors
    /// Why it cannot be.
    fn seal(&self, key: &str, document: &[u8]) -> Result<Vec<u8>, String>;

    /// `None` when it was written with another secret, or changed.
    fn open(&self, key: &str, sealed: &[u8]) -> Option<Vec<u8>>;
}

pub(super) struct Key {
    pub(super) name: String,
    /// What its documents begin with.
    pub(super) mark: Vec<u8>,
    cipher: Box<dyn Cipher>,
}

impl Key {
    /// `provider` as the configuration names it.
    pub(super) fn new(provider: &str, name: &str, cipher: Box<dyn Cipher>) -> Self {
        Self { name: name.to_owned(), mark: format!("k8s:enc:{provider}:v1:{name}:").into_bytes(), cipher }
    }

    pub(super) fn seal(&self, key: &str, document: &[u8]) -> Result<Vec<u8>, String> {
        Ok([&self.mark[..], &self.cipher.seal(key, document)?].concat())
    }

    /// `sealed` is what stands behind the mark.
    pub(super) fn open(&self, key: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let wrong = || format!("it was not written with the key {:?} that the configuration has, or was changed", self.name);
        self.cipher.open(key, sealed).ok_or_else(wrong)
    }
}

/// As many random bytes: a nonce, or what takes its place.
///
/// # Errors
/// Why there are none.
pub(super) fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the machine gives no random numbers".to_owned())?;
    Ok(bytes)
}
