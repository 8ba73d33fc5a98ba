//! How patient the store is, and how much it takes.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Without a byte for so long, a transfer has stalled. A slow one that moves may take any time.
    pub stall: Duration,
    /// Of each request that failed in a way that may pass (429, 5xx, broken connection).
    pub attempts: u32,
    /// Before the second attempt; doubles.
    pub backoff: Duration,
    /// A registry that asks for more patience than this (`Retry-After`) is not waited for.
    pub longest_wait: Duration,
    /// Blobs moved at once for one image.
    pub parallel: usize,
    /// Bytes of one layer, unpacked.
    pub layer_bytes: u64,
    /// Files, directories and links of one layer.
    pub layer_entries: u64,
    /// Bytes of one entry's headers with its extensions (long names, PAX records, sparse maps), which are held in memory.
    pub entry_headers: u64,
    /// Directories on the way to an entry.
    pub entry_depth: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(30),
            attempts: 4,
            backoff: Duration::from_millis(250),
            longest_wait: Duration::from_secs(30),
            parallel: 4,
            layer_bytes: 32 << 30,
            layer_entries: 2_000_000,
            entry_headers: 1 << 20,
            entry_depth: 256,
        }
    }
}
