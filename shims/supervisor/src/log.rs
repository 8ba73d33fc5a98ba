//! Logs in the format of the Container Runtime Interface: `<RFC 3339 with nanoseconds> stdout|stderr F|P <line>`.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mizzen_shim_protocol::{LogLimits, logs};

use crate::clock;

/// The longest piece of a line in one entry, as container engines have it; longer lines become several `P` entries and
/// a last `F` one.
pub const MAX_LINE: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// Cuts the bytes of one stream into entries.
#[derive(Debug)]
pub struct Lines {
    stream: Stream,
    pending: Vec<u8>,
}

impl Lines {
    pub fn new(stream: Stream) -> Self {
        Self { stream, pending: Vec::new() }
    }

    /// Appends the entries that `bytes` complete to `out`.
    pub fn push(&mut self, mut bytes: &[u8], time: &str, out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let room = MAX_LINE - self.pending.len();
            let (piece, end) = match bytes.iter().take(room + 1).position(|byte| *byte == b'\n') {
                Some(newline) => (newline, true),
                None => (bytes.len().min(room), false),
            };
            self.pending.extend_from_slice(&bytes[..piece]);
            bytes = &bytes[piece + usize::from(end)..];
            if end {
                self.entry(time, b'F', out);
            } else if self.pending.len() == MAX_LINE && !bytes.is_empty() {
                self.entry(time, b'P', out);
            }
        }
    }

    /// The end of the stream: what has no newline yet is a partial line.
    pub fn finish(&mut self, time: &str, out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            self.entry(time, b'P', out);
        }
    }

    fn entry(&mut self, time: &str, tag: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(time.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.stream.name().as_bytes());
        out.extend_from_slice(&[b' ', tag, b' ']);
        out.append(&mut self.pending);
        out.push(b'\n');
        // Most lines are short: one long line must not cost memory for ever.
        if self.pending.capacity() > 1024 {
            self.pending = Vec::new();
        }
    }
}

/// Appends both streams of a container to its log file, and goes on in a new one when that has its size: whoever writes the
/// log lives as long as the container, which an agent that would do it does not.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    limits: Option<LogLimits>,
    /// Bytes of the file.
    size: u64,
    /// A size that is not to be gone beyond.
    most: u64,
    stdout: Lines,
    stderr: Lines,
    entries: Vec<u8>,
}

impl Log {
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path, limits: Option<LogLimits>) -> io::Result<Self> {
        let mut log = Self { path: path.to_path_buf(), limits, ..Self::from_file(logs::open(path)?) };
        log.size = log.file.metadata()?.len();
        log.most = limits.map_or(u64::MAX, |limits| limits.max_bytes);
        Ok(log)
    }

    /// For a process that may not open the file itself: [`Log::replace`] takes the place of rotation.
    pub fn from_file(file: File) -> Self {
        let (stdout, stderr) = (Lines::new(Stream::Stdout), Lines::new(Stream::Stderr));
        Self { path: PathBuf::new(), file, limits: None, size: 0, most: u64::MAX, stdout, stderr, entries: Vec::new() }
    }

    /// Goes on in another file.
    pub fn replace(&mut self, file: File) {
        self.file = file;
    }

    /// # Errors
    /// When an old file stays, or the log goes on in the file that it had.
    fn rotate(&mut self, limits: LogLimits) -> io::Result<()> {
        match rotate(&self.path) {
            Ok(file) => {
                self.file = file;
                (self.size, self.most) = (0, limits.max_bytes);
                logs::remove_oldest(&self.path, limits.max_files)
            }
            Err(err) => {
                // Trying again with every line would help nobody.
                self.most = self.size.saturating_add(limits.max_bytes);
                Err(err)
            }
        }
    }

    /// # Errors
    /// When the disk is full or the like; the entries are lost, the stream goes on.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let lines = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        lines.push(bytes, &clock::now(), &mut self.entries);
        self.flush()
    }

    /// # Errors
    /// As for [`Log::write`].
    pub fn finish(&mut self) -> io::Result<()> {
        let now = clock::now();
        self.stdout.finish(&now, &mut self.entries);
        self.stderr.finish(&now, &mut self.entries);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut written = Ok(());
        if !self.entries.is_empty() {
            let added = self.entries.len() as u64;
            if let Some(limits) = self.limits.filter(|_| self.size > 0 && self.size + added > self.most) {
                written = self.rotate(limits);
            }
            self.size += added;
            written = self.file.write_all(&self.entries).and(written);
        }
        if self.entries.capacity() > 4096 {
            self.entries = Vec::new();
        } else {
            self.entries.clear();
        }
        written
    }
}

/// Puts a new file in the log's place, so that there is one at every moment.
fn rotate(path: &Path) -> io::Result<File> {
    let file = logs::open_next(path)?;
    logs::advance(path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mizzen_shim_protocol::logs::rotated;

    use super::*;

    fn entries(pieces: &[&[u8]]) -> String {
        let mut lines = Lines::new(Stream::Stdout);
        let mut out = Vec::new();
        for piece in pieces {
            lines.push(piece, "T", &mut out);
        }
        lines.finish("T", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn whole_lines_are_full_entries_however_they_arrive() {
        assert_eq!(entries(&[b"one\ntw", b"o\n", b"\n"]), "T stdout F one\nT stdout F two\nT stdout F \n");
    }

    #[test]
    fn a_last_line_without_newline_is_partial() {
        assert_eq!(entries(&[b"one\nprompt> "]), "T stdout F one\nT stdout P prompt> \n");
    }

    #[test]
    fn a_long_line_is_cut_into_partial_entries_and_a_full_one() {
        let line = [vec![b'a'; MAX_LINE * 2 + 5], b"\n".to_vec()].concat();
        let log = entries(&[&line]);
        let lengths: Vec<_> = log.lines().map(|line| (&line[..10], line.len() - 11)).collect();
        assert_eq!(lengths, [("T stdout P", MAX_LINE), ("T stdout P", MAX_LINE), ("T stdout F", 5)]);
    }

    #[test]
    fn a_line_of_exactly_the_longest_length_is_one_full_entry() {
        let line = vec![b'a'; MAX_LINE];
        let log = entries(&[&line, b"\n"]);
        assert_eq!(log.lines().count(), 1);
        assert!(log.starts_with("T stdout F a"));
    }

    /// The texts of every entry, the oldest file first.
    fn texts(path: &Path) -> Vec<Vec<String>> {
        let files = rotated(path).unwrap().into_iter().map(|(_, file)| file).chain([path.to_path_buf()]);
        files.map(|file| fs::read_to_string(file).unwrap().lines().map(|line| line[37..].to_owned()).collect()).collect()
    }

    #[test]
    fn a_log_that_has_its_size_goes_on_in_a_new_file_and_only_the_newest_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        // Two of these entries fit one file.
        let limits = LogLimits { max_bytes: 100, max_files: 3 };
        let mut log = Log::open(&path, Some(limits)).unwrap();
        for number in 0..5 {
            log.write(Stream::Stdout, format!("{number}\n").as_bytes()).unwrap();
        }
        assert_eq!(texts(&path), [vec![" F 0", " F 1"], vec![" F 2", " F 3"], vec![" F 4"]]);
        drop(log);
        // The size counts on when the log is opened again.
        let mut log = Log::open(&path, Some(limits)).unwrap();
        for number in 5..8 {
            log.write(Stream::Stdout, format!("{number}\n").as_bytes()).unwrap();
        }
        assert_eq!(texts(&path), [vec![" F 2", " F 3"], vec![" F 4", " F 5"], vec![" F 6", " F 7"]]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn an_entry_longer_than_a_file_may_be_is_written_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(&path, Some(LogLimits { max_bytes: 10, max_files: 2 })).unwrap();
        log.write(Stream::Stdout, b"one\n").unwrap();
        log.write(Stream::Stdout, b"two\n").unwrap();
        assert_eq!(texts(&path), [[" F one"], [" F two"]]);
    }

    #[test]
    fn a_log_that_cannot_be_rotated_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(&path, Some(LogLimits { max_bytes: 10, max_files: 2 })).unwrap();
        fs::create_dir_all(dir.path().join("0.log.new/occupied")).unwrap();
        log.write(Stream::Stdout, b"one\n").unwrap();
        log.write(Stream::Stdout, b"two\n").unwrap_err();
        assert!(fs::read_to_string(&path).unwrap().ends_with(" stdout F two\n"));
    }

    #[test]
    fn a_log_goes_on_in_the_new_file_though_an_old_one_cannot_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(&path, Some(LogLimits { max_bytes: 10, max_files: 2 })).unwrap();
        fs::create_dir_all(dir.path().join("0.log.1/occupied")).unwrap();
        log.write(Stream::Stdout, b"one\n").unwrap();
        log.write(Stream::Stdout, b"two\n").unwrap_err();
        assert!(fs::read_to_string(&path).unwrap().ends_with(" stdout F two\n"));
        assert!(fs::read_to_string(dir.path().join("0.log.2")).unwrap().ends_with(" stdout F one\n"));
    }
}
