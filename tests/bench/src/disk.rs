//! What the disk allows one writer at most.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::load::DOCUMENT;
use crate::samples::Samples;

/// Appends of a document's size, each followed by fdatasync, one after another.
pub(crate) fn appends(time: Duration) -> std::io::Result<Samples> {
    let mut file = tempfile::tempfile()?;
    let document = [b'x'; DOCUMENT];
    let (begin, mut samples) = (Instant::now(), Samples::default());
    while begin.elapsed() < time {
        let start = Instant::now();
        file.write_all(&document)?;
        file.sync_data()?;
        samples.push(start.elapsed());
    }
    Ok(samples)
}
