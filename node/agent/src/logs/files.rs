//! The files of one attempt's log, in their order across rotations (see [`mizzen_runtime::logs`]). All of this blocks.
//!
//! The log's own name always leads to the newest file, and the writer is done with a file before the name leads to another.

use std::fs::File;
use std::io::{ErrorKind, Result, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mizzen_runtime::logs::rotated;

use super::tail;

/// Which file it is, whatever its name is by now. Nobody else gets the number while the file is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(u64, u64);

pub(crate) struct Part {
    pub(crate) file: File,
    pub(crate) id: Id,
}

/// `None` when there is no such file, or no more.
fn open(path: &Path) -> Result<Option<Part>> {
    match File::open(path) {
        Ok(file) => {
            let metadata = file.metadata()?;
            Ok(Some(Part { id: Id(metadata.dev(), metadata.ino()), file }))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// All that there is of a log, the oldest first; the last one is that which is being written.
pub(crate) fn all(path: &Path) -> Result<Vec<Part>> {
    let Some(newest) = open(path)? else { return Err(ErrorKind::NotFound.into()) };
    let mut parts = Vec::new();
    for (_, older) in rotated(path)? {
        match open(&older)? {
            // Rotated since it was opened: what has a higher number comes after it.
            Some(part) if part.id == newest.id => break,
            part => parts.extend(part),
        }
    }
    parts.push(newest);
    Ok(parts)
}

/// What comes after a file; `None` while it is the newest, or when the log is gone.
pub(crate) fn after(path: &Path, id: Id) -> Result<Option<Part>> {
    // Opened before the others are listed: if it is rotated in between, it is among them.
    let Some(newest) = open(path)?.filter(|newest| newest.id != id) else { return Ok(None) };
    let mut oldest = None;
    let mut passed = false;
    for (_, older) in rotated(path)? {
        match open(&older)? {
            Some(part) if part.id == id => passed = true,
            part @ Some(_) if passed => return Ok(part),
            part => oldest = oldest.or(part),
        }
    }
    // A reader so slow that its file is gone goes on with the oldest there is.
    Ok(Some(if passed { newest } else { oldest.unwrap_or(newest) }))
}

/// Whether the log goes on in another file.
pub(crate) fn is_rotated(path: &Path, id: Id) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| Id(metadata.dev(), metadata.ino()) != id)
}

/// Only the last lines: moves to the first of them, and leaves out the files before.
pub(crate) fn keep_last_lines(parts: &mut Vec<Part>, lines: usize) -> Result<()> {
    let mut missing = lines;
    for index in (0..parts.len()).rev() {
        let found = tail::seek_to_last_lines(&mut parts[index].file, missing)?;
        missing -= found;
        if missing == 0 {
            parts.drain(..index);
            break;
        }
    }
    Ok(())
}

/// Bytes of the end of a log, from the files that have them.
pub(crate) fn keep_last_bytes(parts: &mut Vec<Part>, bytes: u64) -> Result<()> {
    let mut missing = bytes;
    for index in (0..parts.len()).rev() {
        let at = parts[index].file.stream_position()?;
        let end = parts[index].file.seek(SeekFrom::End(0))?;
        let start = at.max(end.saturating_sub(missing));
        parts[index].file.seek(SeekFrom::Start(start))?;
        missing = missing.saturating_sub(end - start);
        if missing == 0 {
            parts.drain(..index);
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use mizzen_runtime::logs::numbered;

    use super::*;

    struct Log(tempfile::TempDir);

    impl Log {
        fn path(&self) -> std::path::PathBuf {
            self.0.path().join("0.log")
        }

        fn with(texts: &[&str]) -> Self {
            let log = Self(tempfile::tempdir().expect("makes a directory"));
            std::fs::write(log.path(), texts[0]).expect("writes");
            texts[1..].iter().for_each(|text| log.rotate(text));
            log
        }

        fn rotate(&self, text: &str) {
            let number = rotated(&self.path()).expect("lists").last().map_or(1, |(number, _)| number + 1);
            std::fs::hard_link(self.path(), numbered(&self.path(), number)).expect("links");
            std::fs::write(self.0.path().join("new"), text).expect("writes");
            std::fs::rename(self.0.path().join("new"), self.path()).expect("renames");
        }
    }

    fn texts(parts: Vec<Part>) -> Vec<String> {
        parts.into_iter().map(text).collect()
    }

    fn text(mut part: Part) -> String {
        let mut text = String::new();
        part.file.read_to_string(&mut text).expect("reads");
        text
    }

    #[test]
    fn files_are_read_in_their_order_and_one_in_two_places_once() {
        let log = Log::with(&["a\n", "b\n", "c\n"]);
        // The moment between the two steps of a rotation.
        std::fs::hard_link(log.path(), numbered(&log.path(), 3)).expect("links");
        assert_eq!(texts(all(&log.path()).expect("opens")), ["a\n", "b\n", "c\n"]);
    }

    #[test]
    fn the_next_file_is_found_also_after_several_rotations_and_when_the_own_one_is_gone() {
        let log = Log::with(&["a\n"]);
        let first = all(&log.path()).expect("opens").remove(0).id;
        assert!(after(&log.path(), first).expect("looks").is_none() && !is_rotated(&log.path(), first));
        log.rotate("b\n");
        assert!(is_rotated(&log.path(), first));
        assert_eq!(text(after(&log.path(), first).expect("looks").expect("is there")), "b\n");
        log.rotate("c\n");
        let second = after(&log.path(), first).expect("looks").expect("is there");
        let third = after(&log.path(), second.id).expect("looks").expect("is there");
        assert_eq!((text(second), text(third)), ("b\n".to_owned(), "c\n".to_owned()));
        let held = File::open(numbered(&log.path(), 1)).expect("opens");
        std::fs::remove_file(numbered(&log.path(), 1)).expect("removes");
        assert_eq!(text(after(&log.path(), first).expect("looks").expect("is there")), "b\n");
        drop(held);
    }

    #[test]
    fn the_last_lines_and_bytes_reach_back_over_files() {
        let log = Log::with(&["1\n2\n", "3\n4\n", "5\n"]);
        let last = |lines| {
            let mut parts = all(&log.path()).expect("opens");
            keep_last_lines(&mut parts, lines).expect("seeks");
            texts(parts).concat()
        };
        assert_eq!((last(0), last(1), last(2)), (String::new(), "5\n".to_owned(), "4\n5\n".to_owned()));
        assert_eq!((last(4), last(9)), ("2\n3\n4\n5\n".to_owned(), "1\n2\n3\n4\n5\n".to_owned()));
        let mut parts = all(&log.path()).expect("opens");
        keep_last_bytes(&mut parts, 5).expect("seeks");
        assert_eq!(texts(parts).concat(), "\n4\n5\n");
    }
}
