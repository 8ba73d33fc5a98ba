//! The raft log in `log.redb`, with its newest entries in memory.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::fs::File;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use mizzen_store::persist::Persister;
use mizzen_store::seal::{Seal, SealError};
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, EntryPayload, LogId, OptionalSend, RaftLogReader, StorageError, StorageIOError, Vote};
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::RaftError;
use crate::log_file::LogFile;
use crate::log_writer::{COMMITTED, FIRST_RESERVED, LOG, LogWriter, Op, PURGED, VOTE};
use crate::types::{Batch, Entry, TypeConfig};

/// Entries kept in memory after they are on disk, for applying and for followers that are nearly up to date.
const CACHE_BYTES: usize = 2 << 20;
/// Page cache of `log.redb`: appends touch only the newest pages.
const PAGE_BYTES: usize = 1 << 20;

/// A handle; clones share one log.
#[derive(Clone)]
pub(crate) struct LogStore {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` once stopped, so that the file is closed although openraft's tasks may still hold handles.
    db: Mutex<Option<Arc<Database>>>,
    path: PathBuf,
    writer: LogWriter,
    head: Mutex<Head>,
    /// Who makes the state durable before the log that led to it is purged.
    persister: OnceLock<Arc<Persister>>,
    growth: Mutex<Growth>,
    seal: Arc<dyn Seal>,
}

/// Tells when so many bytes were appended.
#[derive(Default)]
struct Growth {
    bytes: u64,
    each: u64,
    grown: Arc<Notify>,
}

/// The newest part of the log, as of the last call (written or not).
#[derive(Default)]
struct Head {
    /// Consecutive, up to the end of the log, with their encoded sizes.
    cache: VecDeque<(Entry, usize)>,
    cache_bytes: usize,
    last: Option<LogId<u64>>,
    purged: Option<LogId<u64>>,
    vote: Option<Vote<u64>>,
    committed: Option<LogId<u64>>,
}

impl Head {
    fn push(&mut self, entry: Entry, size: usize) {
        self.last = Some(entry.log_id);
        self.cache_bytes += size;
        self.cache.push_back((entry, size));
    }

    /// Evicts the oldest, but nothing that may not be on disk yet.
    fn evict(&mut self, written: u64) {
        while self.cache_bytes > CACHE_BYTES
            && self.cache.front().is_some_and(|(entry, _)| entry.log_id.index <= written)
            && let Some((_, size)) = self.cache.pop_front()
        {
            self.cache_bytes -= size;
        }
    }
}

impl LogStore {
    /// Opens or creates the file.
    pub(crate) fn open(path: &Path, seal: Arc<dyn Seal>) -> Result<Self, RaftError> {
        let failed = |source| RaftError::File { operation: "open", file: path.to_owned(), source };
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let file = LogFile::new(file).map_err(database("open", path))?;
        let db = Database::builder().set_cache_size(PAGE_BYTES).create_with_backend(file).map_err(database("open", path))?;
        Self::over(db, path, seal)
    }

    /// As [`LogStore::open`], over any storage.
    #[cfg(test)]
    pub(crate) fn with_backend(backend: impl redb::StorageBackend, path: &Path) -> Result<Self, RaftError> {
        let db = Database::builder().create_with_backend(backend).map_err(database("open", path))?;
        Self::over(db, path, mizzen_store::seal::Unsealed::shared())
    }

    fn over(db: Database, path: &Path, seal: Arc<dyn Seal>) -> Result<Self, RaftError> {
        let head = read_head(&db).map_err(|error| database("read", path)(error))?;
        let db = Arc::new(db);
        let writer = LogWriter::start(db.clone(), head.last.map_or(0, |last| last.index)).map_err(|source| RaftError::File {
            operation: "start the log writer",
            file: path.to_owned(),
            source,
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                db: Mutex::new(Some(db)),
                path: path.to_owned(),
                writer,
                head: Mutex::new(head),
                persister: OnceLock::new(),
                growth: Mutex::default(),
                seal,
            }),
        })
    }

    /// From now on the log is only purged of what `persister` has made durable.
    pub(crate) fn keep_for(&self, persister: Arc<Persister>) {
        // A log has one state for as long as it is open.
        let _ = self.inner.persister.set(persister);
    }

    /// Notified each time `bytes` more were appended.
    pub(crate) fn notify_each(&self, bytes: u64) -> Arc<Notify> {
        let mut growth = self.inner.growth.lock();
        growth.each = bytes;
        growth.grown.clone()
    }

    #[cfg(test)]
    pub(crate) fn purged(&self) -> Option<LogId<u64>> {
        self.inner.head.lock().purged
    }

    /// The oldest entry in memory.
    pub(crate) fn first_cached(&self) -> Option<u64> {
        self.inner.head.lock().cache.front().map(|(entry, _)| entry.log_id.index)
    }

    /// The end of the log, and what is known to be committed of it.
    pub(crate) fn ends(&self) -> (Option<LogId<u64>>, Option<LogId<u64>>) {
        let head = self.inner.head.lock();
        (head.last, head.committed)
    }

    /// Ends the writer after what was queued. Blocks.
    pub(crate) fn stop(&self) {
        let committed = self.inner.head.lock().committed;
        if let Some(committed) = committed.and_then(|committed| postcard::to_stdvec(&committed).ok()) {
            self.inner.writer.send(Op::Put { key: COMMITTED, value: committed, done: None });
        }
        self.inner.writer.stop();
        drop(self.inner.db.lock().take());
    }

    async fn write(
        &self,
        op: impl FnOnce(tokio::sync::oneshot::Sender<Result<(), std::io::Error>>) -> Op,
    ) -> Result<(), AnyError> {
        let (done, written) = tokio::sync::oneshot::channel();
        self.inner.writer.send(op(done));
        match written.await {
            Ok(result) => result.map_err(|error| AnyError::new(&error)),
            Err(_) => Err(AnyError::error("the log writer has stopped")),
        }
    }

    fn read_disk(&self, start: u64, end: u64) -> Result<Vec<Entry>, RaftError> {
        let fail = |error: redb::Error| database("read entries", &self.inner.path)(error);
        let db = self.inner.db.lock().clone().ok_or_else(|| fail(redb::Error::DatabaseClosed))?;
        let txn = db.begin_read().map_err(|e| fail(e.into()))?;
        let log = txn.open_table(LOG).map_err(|e| fail(e.into()))?;
        let mut entries = Vec::new();
        for entry in log.range(start..end.min(FIRST_RESERVED)).map_err(|e| fail(e.into()))? {
            let (index, bytes) = entry.map_err(|e| fail(e.into()))?;
            let failed = |why: String| RaftError::Raft {
                operation: "decoding a log entry",
                why: format!("entry {} in {}: {why}", index.value(), self.inner.path.display()),
            };
            let entry = decode(bytes.value()).map_err(|error| failed(error.to_string()))?;
            entries.push(opened(entry, &*self.inner.seal).map_err(|error| failed(error.to_string()))?);
        }
        Ok(entries)
    }
}

fn read_head(db: &Database) -> Result<Head, redb::Error> {
    let txn = db.begin_write()?;
    txn.open_table(LOG)?;
    txn.commit()?;
    let txn = db.begin_read()?;
    let log = txn.open_table(LOG)?;
    let last = log.range(..FIRST_RESERVED)?.next_back().transpose()?;
    let last: Option<Entry> = last.map(|(_, bytes)| decode(bytes.value())).transpose()?;
    let purged: Option<LogId<u64>> = reserved(&log, PURGED)?;
    let head = Head { vote: reserved(&log, VOTE)?, committed: reserved(&log, COMMITTED)?, purged, ..Head::default() };
    Ok(Head { last: last.map(|entry| entry.log_id).or(purged), ..head })
}

fn reserved<T: DeserializeOwned>(log: &redb::ReadOnlyTable<u64, &'static [u8]>, key: u64) -> Result<Option<T>, redb::Error> {
    log.get(key)?.map(|bytes| decode(bytes.value())).transpose()
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, redb::Error> {
    postcard::from_bytes(bytes).map_err(|error| redb::Error::Corrupted(error.to_string()))
}

/// An entry as it is written, where that differs from what it is.
fn sealed(entry: &Entry, seal: &dyn Seal) -> Result<Option<Entry>, SealError> {
    let EntryPayload::Normal(batch) = &entry.payload else { return Ok(None) };
    let mut written: Option<Batch> = None;
    for (at, txn) in batch.txns.iter().enumerate() {
        for (place, (key, document)) in txn.puts.iter().enumerate() {
            if let Some(bytes) = seal.seal(key, &document.bytes)? {
                written.get_or_insert_with(|| (**batch).clone()).txns[at].puts[place].1.bytes = bytes.into();
            }
        }
    }
    let entry_of = |batch: Batch| Entry { log_id: entry.log_id, payload: EntryPayload::Normal(Arc::new(batch)) };
    Ok(written.map(entry_of))
}

/// An entry as it is, of what was written.
fn opened(mut entry: Entry, seal: &dyn Seal) -> Result<Entry, SealError> {
    if let EntryPayload::Normal(batch) = &mut entry.payload {
        for (key, document) in Arc::make_mut(batch).txns.iter_mut().flat_map(|txn| &mut txn.puts) {
            if let Some(bytes) = seal.open(key, &document.bytes)? {
                document.bytes = bytes.into();
            }
        }
    }
    Ok(entry)
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, AnyError> {
    postcard::to_stdvec(value).map_err(|error| AnyError::new(&error))
}

pub(crate) fn database<E: Into<redb::Error>>(operation: &'static str, path: &Path) -> impl Fn(E) -> RaftError {
    let file = path.to_owned();
    move |error| RaftError::Database { operation, file: file.clone(), source: Box::new(error.into()) }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError<u64>> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => FIRST_RESERVED,
        };
        let (cached_from, cached) = {
            let head = self.inner.head.lock();
            let from = head.cache.front().map_or(u64::MAX, |(entry, _)| entry.log_id.index);
            let skip = start.saturating_sub(from) as usize;
            let cached = head.cache.iter().skip(if from == u64::MAX { 0 } else { skip });
            let cached: Vec<Entry> =
                cached.map(|(entry, _)| entry).take_while(|entry| entry.log_id.index < end).cloned().collect();
            (from, cached)
        };
        if start >= cached_from {
            return Ok(cached);
        }
        let (log, until) = (self.clone(), end.min(cached_from));
        let mut entries = tokio::task::spawn_blocking(move || log.read_disk(start, until))
            .await
            .map_err(|error| StorageIOError::read_logs(AnyError::new(&error)))?
            .map_err(|error| StorageIOError::read_logs(AnyError::new(&error)))?;
        entries.extend(cached);
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError<u64>> {
        let head = self.inner.head.lock();
        Ok(LogState { last_purged_log_id: head.purged, last_log_id: head.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        let value = encode(vote).map_err(StorageIOError::write_vote)?;
        self.write(|done| Op::Put { key: VOTE, value, done: Some(done) }).await.map_err(StorageIOError::write_vote)?;
        self.inner.head.lock().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        Ok(self.inner.head.lock().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Result<(), StorageError<u64>> {
        // Goes to disk with the next append: what it protects are reads after a restart, never the log.
        self.inner.head.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>, StorageError<u64>> {
        Ok(self.inner.head.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = Vec::new();
        let committed = {
            let mut head = self.inner.head.lock();
            for entry in entries {
                let failed = |error: AnyError| StorageIOError::write_log_entry(entry.log_id, error);
                let sealed = sealed(&entry, &*self.inner.seal).map_err(|error| failed(AnyError::new(&error)))?;
                let bytes = encode(sealed.as_ref().unwrap_or(&entry)).map_err(failed)?;
                encoded.push((entry.log_id.index, bytes));
                let size = encoded.last().map_or(0, |(_, bytes)| bytes.len());
                head.push(entry, size);
            }
            head.evict(self.inner.writer.written());
            head.committed
        };
        {
            let mut growth = self.inner.growth.lock();
            growth.bytes += encoded.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
            if growth.bytes > growth.each {
                growth.bytes = 0;
                growth.grown.notify_one();
            }
        }
        let committed = committed.map(|committed| encode(&committed)).transpose().map_err(StorageIOError::write_logs)?;
        self.inner.writer.send(Op::Append { entries: encoded, committed, flushed: callback });
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        self.write(|done| Op::Delete { from: log_id.index, to: FIRST_RESERVED, purged: None, done })
            .await
            .map_err(StorageIOError::write_logs)?;
        let before = match log_id.index.checked_sub(1) {
            Some(before) => self.try_get_log_entries(before..=before).await?.pop().map(|entry| entry.log_id),
            None => None,
        };
        let mut head = self.inner.head.lock();
        while head.cache.back().is_some_and(|(entry, _)| entry.log_id.index >= log_id.index)
            && let Some((_, size)) = head.cache.pop_back()
        {
            head.cache_bytes -= size;
        }
        head.last = before.or(head.purged);
        self.inner.writer.truncated(head.last.map_or(0, |last| last.index));
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        if let Some(persister) = self.inner.persister.get() {
            let durable = persister.durable(log_id.index).await;
            durable.map_err(|error| StorageIOError::write_logs(AnyError::new(&error)))?;
        }
        let purged = encode(&log_id).map_err(StorageIOError::write_logs)?;
        self.write(|done| Op::Delete { from: 0, to: log_id.index + 1, purged: Some(purged), done })
            .await
            .map_err(StorageIOError::write_logs)?;
        let mut head = self.inner.head.lock();
        while head.cache.front().is_some_and(|(entry, _)| entry.log_id.index <= log_id.index)
            && let Some((_, size)) = head.cache.pop_front()
        {
            head.cache_bytes -= size;
        }
        head.purged = Some(log_id);
        if head.last < Some(log_id) {
            head.last = Some(log_id);
        }
        Ok(())
    }
}
