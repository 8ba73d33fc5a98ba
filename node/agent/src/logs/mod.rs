//! Containers' logs: the CRI format, chosen and followed as `kubectl logs` asks.

pub(crate) mod files;
pub(crate) mod line;
pub(crate) mod options;
pub(crate) mod stream;
pub(crate) mod tail;
pub(crate) mod watch;

use std::io::Read;
use std::path::Path;

/// How much of a log is read for its end: lines may be of any length.
const TAIL: u64 = 64 * 1024;

/// Of which attempts of a container there are logs, in order.
pub(crate) async fn attempts(dir: &Path) -> Vec<u32> {
    let mut attempts = Vec::new();
    let Ok(mut entries) = tokio::fs::read_dir(dir).await else { return attempts };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let name = entry.file_name().to_string_lossy().into_owned();
        attempts.extend(name.strip_suffix(".log").and_then(|number| number.parse::<u32>().ok()));
    }
    attempts.sort_unstable();
    attempts
}

/// The end of a log as plain text: at most so many lines and bytes.
pub(crate) async fn tail_text(path: &Path, lines: usize, bytes: usize) -> String {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut parts = files::all(&path)?;
        files::keep_last_lines(&mut parts, lines)?;
        files::keep_last_bytes(&mut parts, TAIL)?;
        let mut raw = Vec::new();
        for part in parts {
            part.file.take(TAIL).read_to_end(&mut raw)?;
        }
        // A line that begins before what was read does not parse and is left out.
        let raw = String::from_utf8_lossy(&raw);
        let text: String = raw.split_inclusive('\n').filter_map(line::parse).map(|line| line.text_with_end()).collect();
        let cut = text.len().saturating_sub(bytes);
        let at = (cut..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        Ok(text[at..].to_owned())
    });
    read.await.ok().and_then(Result::ok).unwrap_or_default()
}
