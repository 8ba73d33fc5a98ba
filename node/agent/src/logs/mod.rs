//! Containers' logs: the CRI format, chosen and followed as `kubectl logs` asks.

pub(crate) mod line;
pub(crate) mod options;
pub(crate) mod stream;
pub(crate) mod tail;

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// How much of a log is read for its end: lines may be of any length.
const TAIL: u64 = 64 * 1024;

/// The end of a log as plain text: at most so many lines and bytes.
pub(crate) async fn tail_text(path: &Path, lines: usize, bytes: usize) -> String {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut file = std::fs::File::open(&path)?;
        let start = tail::seek_to_last_lines(&mut file, lines)?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(start.max(end.saturating_sub(TAIL))))?;
        let mut raw = Vec::new();
        file.take(TAIL).read_to_end(&mut raw)?;
        // A line that begins before what was read does not parse and is left out.
        let raw = String::from_utf8_lossy(&raw);
        let text: String = raw.split_inclusive('\n').filter_map(line::parse).map(|line| line.text_with_end()).collect();
        let cut = text.len().saturating_sub(bytes);
        let at = (cut..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        Ok(text[at..].to_owned())
    });
    read.await.ok().and_then(Result::ok).unwrap_or_default()
}
