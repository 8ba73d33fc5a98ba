//! A log as a stream of bytes, which ends at its end or, followed, when the container has ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncSeekExt, BufReader, SeekFrom};
use tokio::sync::mpsc;

use super::line;
use super::options::LogOptions;
use super::tail;

/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Sent at once.
const CHUNK: usize = 32 * 1024;

/// The log of the latest attempt, or of the one before it; `None` when there is none.
pub(crate) async fn find(dir: &Path, previous: bool) -> Option<PathBuf> {
    let mut attempts = Vec::new();
    let mut entries = tokio::fs::read_dir(dir).await.ok()?;
    while let Ok(Some(entry)) = entries.next_entry().await {
        let name = entry.file_name().to_string_lossy().into_owned();
        attempts.extend(name.strip_suffix(".log").and_then(|number| number.parse::<u32>().ok()));
    }
    attempts.sort_unstable();
    let latest = attempts.pop()?;
    let chosen = if previous { attempts.pop()? } else { latest };
    Some(dir.join(format!("{chosen}.log")))
}

/// Sends the log; `runs` tells whether more may come. Ends when the receiver does.
pub(crate) async fn send(
    path: PathBuf,
    options: LogOptions,
    runs: impl Fn() -> bool,
    sender: mpsc::Sender<std::io::Result<Bytes>>,
) {
    if let Err(error) = copy(&path, &options, runs, &sender).await {
        // A receiver that left does not want to know.
        let _ = sender.send(Err(error)).await;
    }
}

async fn copy(
    path: &Path,
    options: &LogOptions,
    runs: impl Fn() -> bool,
    sender: &mpsc::Sender<std::io::Result<Bytes>>,
) -> std::io::Result<()> {
    let mut file = File::open(path).await?;
    if let Some(lines) = options.tail_lines {
        let mut blocking = file.try_clone().await?.into_std().await;
        let at = tokio::task::spawn_blocking(move || tail::seek_to_last_lines(&mut blocking, lines))
            .await
            .map_err(std::io::Error::other)??;
        file.seek(SeekFrom::Start(at)).await?;
    }
    let mut reader = BufReader::new(file);
    let mut left = options.limit_bytes.unwrap_or(u64::MAX);
    let (mut raw, mut chunk) = (Vec::new(), Vec::new());
    let mut mid_line = false;
    loop {
        // Asked before reading: what was written before the end is read after it was seen.
        let more_may_come = options.follow && runs();
        let read = reader.read_until(b'\n', &mut raw).await?;
        if raw.last() == Some(&b'\n') {
            render(&String::from_utf8_lossy(&raw), options, &mut mid_line, &mut chunk);
            raw.clear();
        }
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        if chunk.len() >= CHUNK || read == 0 || take < chunk.len() {
            chunk.truncate(take);
            left -= take as u64;
            if !chunk.is_empty() && sender.send(Ok(Bytes::from(std::mem::take(&mut chunk)))).await.is_err() {
                return Ok(());
            }
            if left == 0 {
                return Ok(());
            }
        }
        if read == 0 {
            if !more_may_come {
                return Ok(());
            }
            tokio::select! {
                () = sender.closed() => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

/// Appends what of one raw line is to be seen.
fn render(raw: &str, options: &LogOptions, mid_line: &mut bool, out: &mut Vec<u8>) {
    let Some(line) = line::parse(raw) else { return };
    if let Some(since) = options.since
        && line.time.parse::<Timestamp>().is_ok_and(|time| time < since)
    {
        return;
    }
    if options.timestamps && !*mid_line {
        out.extend_from_slice(line.time.as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(line.text.as_bytes());
    if !line.partial {
        out.push(b'\n');
    }
    *mid_line = line.partial;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::AsyncWriteExt;

    use super::*;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr P tw\n2026-01-01T00:00:02Z stderr F o\n2026-01-01T00:00:03Z stdout F three\n";

    async fn read(options: LogOptions) -> String {
        let dir = tempfile::tempdir().expect("makes a directory");
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).expect("writes");
        let (sender, mut receiver) = mpsc::channel(8);
        send(path, options, || false, sender).await;
        let mut text = String::new();
        while let Some(chunk) = receiver.recv().await {
            text.push_str(std::str::from_utf8(&chunk.expect("reads")).expect("is text"));
        }
        text
    }

    #[tokio::test]
    async fn a_log_is_cut_as_asked() {
        let options = LogOptions::default;
        assert_eq!(read(options()).await, "one\ntwo\nthree\n");
        assert_eq!(read(LogOptions { tail_lines: Some(1), ..options() }).await, "three\n");
        assert_eq!(read(LogOptions { limit_bytes: Some(5), ..options() }).await, "one\nt");
        assert_eq!(read(LogOptions { since: "2026-01-01T00:00:02Z".parse().ok(), ..options() }).await, "two\nthree\n");
        let with_times = read(LogOptions { timestamps: true, ..options() }).await;
        assert_eq!(with_times, "2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two\n2026-01-01T00:00:03Z three\n");
    }

    #[tokio::test]
    async fn a_followed_log_ends_with_its_container_and_loses_nothing() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).expect("writes");
        let running = Arc::new(AtomicBool::new(true));
        let (sender, mut receiver) = mpsc::channel(8);
        let runs = running.clone();
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let sending = tokio::spawn(send(path.clone(), options, move || runs.load(Ordering::SeqCst), sender));
        assert_eq!(receiver.recv().await.expect("is sent").expect("reads"), "one\ntwo\nthree\n");
        let mut file = tokio::fs::OpenOptions::new().append(true).open(&path).await.expect("opens");
        file.write_all(b"2026-01-01T00:00:04Z stdout F four\n").await.expect("writes");
        file.flush().await.expect("writes");
        assert_eq!(receiver.recv().await.expect("is sent").expect("reads"), "four\n");
        file.write_all(b"2026-01-01T00:00:05Z stdout F last\n").await.expect("writes");
        file.flush().await.expect("writes");
        running.store(false, Ordering::SeqCst);
        assert_eq!(receiver.recv().await.expect("is sent").expect("reads"), "last\n");
        assert!(receiver.recv().await.is_none());
        sending.await.expect("ends");
    }

    #[tokio::test]
    async fn the_previous_log_is_that_of_the_attempt_before() {
        let dir = tempfile::tempdir().expect("makes a directory");
        assert_eq!(find(dir.path(), false).await, None);
        for name in ["2.log", "10.log", "9.log", "notes.txt"] {
            std::fs::write(dir.path().join(name), "").expect("writes");
        }
        assert_eq!(find(dir.path(), false).await, Some(dir.path().join("10.log")));
        assert_eq!(find(dir.path(), true).await, Some(dir.path().join("9.log")));
    }
}
