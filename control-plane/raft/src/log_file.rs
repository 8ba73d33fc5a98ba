//! The file under `log.redb`: what it grows by is written before it is used.

use std::fs::File;
use std::io;
use std::ops::Bound;

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// A write into blocks that the file has already costs one flush of the disk. Into a hole, the flush waits for the file
/// system's journal as well, which took twice as long (docs/decisions/0011).
#[derive(Debug)]
pub(crate) struct LogFile(FileBackend);

const ZEROS: &[u8] = &[0; 64 << 10];

impl LogFile {
    /// # Errors
    /// [`redb::DatabaseError`] when the file cannot be taken.
    pub(crate) fn new(file: File) -> Result<Self, redb::DatabaseError> {
        FileBackend::new(file).map(Self)
    }
}

impl StorageBackend for LogFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut end = self.0.len()?;
        self.0.set_len(length)?;
        while end < length {
            let zeros = &ZEROS[..usize::try_from(length - end).unwrap_or(usize::MAX).min(ZEROS.len())];
            self.0.write(end, zeros)?;
            end += zeros.len() as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_the_file_grows_by_is_no_hole() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        let file = File::options().read(true).write(true).create_new(true).open(&path).expect("creates");
        let log = LogFile::new(file).expect("is a file");
        log.set_len(10).and_then(|()| log.write(0, b"0123456789")).expect("writes");
        let length = 10 + 3 * ZEROS.len() as u64;
        log.set_len(length).and_then(|()| log.sync_data()).expect("grows");
        let metadata = std::fs::metadata(&path).expect("is there");
        assert_eq!(metadata.len(), length);
        assert!(metadata.blocks() * 512 >= length, "{} blocks", metadata.blocks());
        let mut start = [0; 11];
        log.read(0, &mut start).expect("reads");
        assert_eq!(&start, b"0123456789\0");
    }
}
