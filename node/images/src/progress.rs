//! Who watches a pull or push.

/// Called from several tasks at once; must not block.
pub trait Progress: Send + Sync {
    /// Bytes of a blob (`sha256:…`) that have been moved; `total` when known. The last call for a blob has them equal.
    fn transferred(&self, digest: &str, bytes: u64, total: Option<u64>);
    /// The blob was here (or there) already.
    fn exists(&self, digest: &str) {
        let _ = digest;
    }
    /// The layer is being unpacked, or was (`done`).
    fn unpacking(&self, digest: &str, done: bool) {
        let _ = (digest, done);
    }
}
