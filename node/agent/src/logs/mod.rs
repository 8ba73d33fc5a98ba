//! Containers' logs: the CRI format, chosen and followed as `kubectl logs` asks.

pub(crate) mod line;
pub(crate) mod options;
pub(crate) mod stream;
pub(crate) mod tail;

use std::path::Path;

/// The end of a log as plain text: at most so many lines and bytes.
pub(crate) async fn tail_text(path: &Path, lines: usize, bytes: usize) -> String {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut file = std::fs::File::open(&path)?;
        tail::seek_to_last_lines(&mut file, lines)?;
        let mut raw = String::new();
        std::io::Read::read_to_string(&mut file, &mut raw)?;
        let text: String = raw.split_inclusive('\n').filter_map(line::parse).map(|line| line.text_with_end()).collect();
        let cut = text.len().saturating_sub(bytes);
        let at = (cut..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        Ok(text[at..].to_owned())
    });
    read.await.ok().and_then(Result::ok).unwrap_or_default()
}
