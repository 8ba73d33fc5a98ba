//! Times as the API writes them.

use jiff::Timestamp;

/// `meta/v1.Time` has whole seconds.
pub(crate) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
