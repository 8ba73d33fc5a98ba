//! A log as a stream of bytes, which ends at its end or, followed, when the container has ended.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use mizzen_runtime::{ContainerState, ContainerStatus};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{mpsc, watch};

use super::files::{self, Part};
use super::line;
use super::options::LogOptions;
use super::watch::Watches;
use crate::pod::labels;

/// Sent at once.
const CHUNK: usize = 32 * 1024;

/// The log of the latest attempt, or of the one before it; `None` when there is none.
pub(crate) async fn find(dir: &Path, previous: bool) -> Option<PathBuf> {
    let mut attempts = super::attempts(dir).await;
    let latest = attempts.pop()?;
    let chosen = if previous { attempts.pop()? } else { latest };
    Some(dir.join(format!("{chosen}.log")))
}

/// Whether the container that writes a log still runs.
pub(crate) struct Writer {
    pub(crate) latest: watch::Receiver<BTreeMap<String, ContainerStatus>>,
    pub(crate) container: String,
    pub(crate) attempt: Option<u32>,
}

impl Writer {
    fn runs(&mut self) -> bool {
        self.latest.borrow_and_update().get(&self.container).is_some_and(|status| {
            matches!(status.state, ContainerState::Running { .. }) && Some(labels::attempt(status)) == self.attempt
        })
    }

    /// Returns when that may be otherwise.
    async fn changed(&mut self) {
        if self.latest.changed().await.is_err() {
            // The pod is gone: nothing of it runs, which `runs` saw or will see.
            std::future::pending().await
        }
    }
}

/// Sends the log, and while the container runs what is added to it, if that is wanted. Ends when the receiver does.
pub(crate) async fn send(
    path: PathBuf,
    options: LogOptions,
    writer: Writer,
    watches: Watches,
    sender: mpsc::Sender<std::io::Result<Bytes>>,
) {
    if let Err(error) = copy(&path, &options, writer, &watches, &sender).await {
        // A receiver that left does not want to know.
        let _ = sender.send(Err(error)).await;
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

async fn copy(
    path: &Path,
    options: &LogOptions,
    mut writer: Writer,
    watches: &Watches,
    sender: &mpsc::Sender<std::io::Result<Bytes>>,
) -> std::io::Result<()> {
    // Before the first read, so that nothing is written unheard after it.
    let mut changes = path.parent().filter(|_| options.follow).map(|dir| watches.watch(dir));
    let (log, lines) = (path.to_owned(), options.tail_lines);
    let parts = blocking(move || {
        let mut parts = files::all(&log)?;
        if let Some(lines) = lines {
            files::keep_last_lines(&mut parts, lines)?;
        }
        Ok(parts)
    });
    let mut ahead: VecDeque<Part> = parts.await?.into();
    let left = options.limit_bytes.unwrap_or(u64::MAX);
    let lines = lines.filter(|_| !options.follow);
    let mut out = Out { options, sender, left, lines, mid_line: false, chunk: Vec::new() };
    while let Some(Part { file, id }) = ahead.pop_front() {
        let mut reader = BufReader::new(File::from_std(file));
        let mut raw = Vec::new();
        loop {
            // Both asked before reading: what was written before them is read after.
            let more_may_come = options.follow && writer.runs();
            let next = ahead.is_empty() && options.follow && files::is_rotated(path, id);
            if !out.copy(&mut reader, &mut raw).await? {
                return Ok(());
            }
            if !ahead.is_empty() {
                break;
            }
            if next {
                let log = path.to_owned();
                ahead.extend(blocking(move || files::after(&log, id)).await?);
                break;
            }
            let Some(changes) = changes.as_mut().filter(|_| more_may_come) else { return Ok(()) };
            tokio::select! {
                () = sender.closed() => return Ok(()),
                () = changes.changed() => {}
                () = writer.changed() => {}
            }
        }
    }
    Ok(())
}

/// What the receiver is to see.
struct Out<'a> {
    options: &'a LogOptions,
    sender: &'a mpsc::Sender<std::io::Result<Bytes>>,
    /// Bytes that may still be sent.
    left: u64,
    /// Lines that may still be sent: more than the last ones may have come since these were looked for.
    lines: Option<usize>,
    mid_line: bool,
    chunk: Vec<u8>,
}

impl Out<'_> {
    /// To the file's present end. `raw` keeps the beginning of a line that has no end yet. False when nobody wants more.
    async fn copy(&mut self, reader: &mut BufReader<File>, raw: &mut Vec<u8>) -> std::io::Result<bool> {
        loop {
            let ended = self.lines == Some(0) || reader.read_until(b'\n', raw).await? == 0;
            if !ended && raw.last() == Some(&b'\n') {
                self.lines = self.lines.map(|lines| lines - 1);
                render(&String::from_utf8_lossy(raw), self.options, &mut self.mid_line, &mut self.chunk);
                raw.clear();
            }
            let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.chunk.len());
            if self.chunk.len() >= CHUNK || ended || take < self.chunk.len() {
                self.chunk.truncate(take);
                self.left -= take as u64;
                let chunk = std::mem::take(&mut self.chunk);
                if !chunk.is_empty() && self.sender.send(Ok(Bytes::from(chunk))).await.is_err() || self.left == 0 {
                    return Ok(false);
                }
            }
            if ended {
                return Ok(true);
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
    use std::fs::OpenOptions;
    use std::io::Write;

    use mizzen_runtime::logs::numbered;

    use super::*;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr P tw\n2026-01-01T00:00:02Z stderr F o\n2026-01-01T00:00:03Z stdout F three\n";

    /// The states of a container `c`, which runs, and a log of its attempt 0.
    struct Bench {
        dir: tempfile::TempDir,
        latest: watch::Sender<BTreeMap<String, ContainerStatus>>,
    }

    impl Bench {
        fn new(text: &str) -> Self {
            let dir = tempfile::tempdir().expect("makes a directory");
            let bench = Self { dir, latest: watch::Sender::default() };
            bench.state(ContainerState::Running { started_at: String::new(), pid: None });
            bench.write(text);
            bench
        }

        fn state(&self, state: ContainerState) {
            let labels = [(labels::ATTEMPT.to_owned(), "0".to_owned())].into();
            let status = ContainerStatus { id: "c".into(), labels, state };
            self.latest.send_replace([("c".to_owned(), status)].into());
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("0.log")
        }

        fn write(&self, text: &str) {
            let mut file = OpenOptions::new().create(true).append(true).open(self.path()).expect("opens");
            file.write_all(text.as_bytes()).expect("writes");
        }

        fn rotate(&self, number: u64) {
            std::fs::hard_link(self.path(), numbered(&self.path(), number)).expect("links");
            std::fs::write(self.dir.path().join("0.log.new"), "").expect("writes");
            std::fs::rename(self.dir.path().join("0.log.new"), self.path()).expect("renames");
        }

        fn send(&self, options: LogOptions) -> mpsc::Receiver<std::io::Result<Bytes>> {
            let (sender, receiver) = mpsc::channel(8);
            let writer = Writer { latest: self.latest.subscribe(), container: "c".into(), attempt: Some(0) };
            tokio::spawn(send(self.path(), options, writer, Watches::start(), sender));
            receiver
        }

        async fn read(&self, options: LogOptions) -> String {
            rest(self.send(options)).await
        }
    }

    async fn rest(mut receiver: mpsc::Receiver<std::io::Result<Bytes>>) -> String {
        let mut text = String::new();
        while let Some(chunk) = receiver.recv().await {
            text.push_str(std::str::from_utf8(&chunk.expect("reads")).expect("is text"));
        }
        text
    }

    async fn read(options: LogOptions) -> String {
        Bench::new(LOG).read(options).await
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
    async fn what_is_written_after_the_last_lines_were_found_is_not_sent() {
        let bench = Bench::new(LOG);
        let (sender, receiver) = mpsc::channel(8);
        let mut reader = BufReader::new(File::open(bench.path()).await.expect("opens"));
        let options = LogOptions::default();
        let mut out =
            Out { options: &options, sender: &sender, left: u64::MAX, lines: Some(3), mid_line: false, chunk: Vec::new() };
        assert!(out.copy(&mut reader, &mut Vec::new()).await.expect("reads"));
        drop(sender);
        assert_eq!(rest(receiver).await, "one\ntwo\n");
    }

    #[tokio::test]
    async fn a_followed_log_ends_with_its_container_and_loses_nothing() {
        let bench = Bench::new(LOG);
        let mut receiver = bench.send(LogOptions { follow: true, ..LogOptions::default() });
        assert_eq!(receiver.recv().await.expect("is sent").expect("reads"), "one\ntwo\nthree\n");
        bench.write("2026-01-01T00:00:04Z stdout F four\n");
        assert_eq!(receiver.recv().await.expect("is sent").expect("reads"), "four\n");
        bench.write("2026-01-01T00:00:05Z stdout F last\n");
        bench.state(ContainerState::Exited(mizzen_runtime::Exit::default()));
        assert_eq!(rest(receiver).await, "last\n");
    }

    #[tokio::test]
    async fn a_rotated_log_is_read_whole_and_its_tail_reaches_back() {
        let bench = Bench::new(LOG);
        bench.rotate(1);
        bench.write("2026-01-01T00:00:04Z stdout F four\n");
        assert_eq!(bench.read(LogOptions::default()).await, "one\ntwo\nthree\nfour\n");
        assert_eq!(bench.read(LogOptions { tail_lines: Some(2), ..LogOptions::default() }).await, "three\nfour\n");
        bench.rotate(2);
        assert_eq!(bench.read(LogOptions { tail_lines: Some(1), ..LogOptions::default() }).await, "four\n");
    }

    #[tokio::test]
    async fn a_followed_log_goes_on_over_rotations_with_every_line_once() {
        let bench = Bench::new("");
        let receiver = bench.send(LogOptions { follow: true, ..LogOptions::default() });
        let writing = async {
            for number in 1..=300 {
                bench.write(&format!("2026-01-01T00:00:04Z stdout F {number}\n"));
                if number % 7 == 0 {
                    bench.rotate(number / 7);
                }
                tokio::task::yield_now().await;
            }
            bench.state(ContainerState::Exited(mizzen_runtime::Exit::default()));
        };
        let (text, ()) = tokio::join!(rest(receiver), writing);
        let expected: String = (1..=300).map(|number| format!("{number}\n")).collect();
        assert_eq!(text, expected);
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
