//! UUIDs of version 4. Each request has one, so they come from the thread's generator and not from a system call.

/// A new one, as text.
pub(crate) fn new() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}
