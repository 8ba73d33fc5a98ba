//! The state on disk: every version of every document since the compaction, and the order of the changes.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use mizzen_api::Object;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard};
use redb::backends::FileBackend;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use crate::archive::Archive;
use crate::seal::{Seal, SealError, Unsealed};
use crate::state::{Changes, Saved, page, weight};
use crate::{Event, Range, RangeOptions, StoreError};

/// Key and revision to document; an empty value is a deletion.
pub(crate) const VERSIONS: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("versions");
/// Revision and place in it to key and the revision of the version before (0: none).
pub(crate) const CHANGES: TableDefinition<(u64, u32), (&str, u64)> = TableDefinition::new("changes");
pub(crate) const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
/// What the state's owner keeps beside it: how far its log is applied.
pub(crate) const OWNER: TableDefinition<&str, &[u8]> = TableDefinition::new("owner");

/// One step of what was applied, in order.
#[derive(Clone, Debug)]
pub enum Step {
    Changes(Changes),
    Compact(u64),
}

/// `state.redb`.
pub struct RedbState {
    db: RwLock<Option<Open>>,
    pub(crate) path: PathBuf,
    seal: Arc<dyn Seal>,
}

struct Open {
    db: Database,
    /// What `db` reads and writes, if it is a file.
    file: Option<File>,
}

impl Open {
    /// From now on pages are read and written here and there, and reading ahead is in the way: the kernel does it in large
    /// pieces, also of what was never written, and to write one page of a large piece takes it several times as long.
    fn expect_no_order(&self) -> Result<(), nix::Error> {
        self.file.as_ref().map_or(Ok(()), |file| posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM))
    }
}

/// A state as it is on disk, with its owner's note.
pub struct Loaded {
    pub saved: Saved,
    pub note: Vec<u8>,
    /// Present documents, with their revisions, that would be written differently now: under another key, say.
    pub stale: HashMap<Arc<str>, u64>,
}

impl RedbState {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the file cannot be opened or is no state.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let open = || -> Result<Open, redb::Error> {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            let same = file.try_clone()?;
            let db = Database::builder().set_cache_size(cache_bytes).create_with_backend(FileBackend::new(file)?)?;
            Ok(Open { db, file: Some(same) })
        };
        Self::prepare(open().map_err(io("open", path))?, path)
    }

    /// As [`RedbState::open`], over any storage: `name` only names it in errors.
    ///
    /// # Errors
    /// As [`RedbState::open`].
    pub fn with_backend(backend: impl StorageBackend, name: &Path) -> Result<Self, StoreError> {
        let db = Database::builder().create_with_backend(backend).map_err(io("open", name))?;
        Self::prepare(Open { db, file: None }, name)
    }

    fn prepare(open: Open, path: &Path) -> Result<Self, StoreError> {
        let txn = open.db.begin_write().map_err(io("create tables", path))?;
        txn.open_table(VERSIONS).map_err(io("create tables", path))?;
        txn.open_table(CHANGES).map_err(io("create tables", path))?;
        txn.open_table(NUMBERS).map_err(io("create tables", path))?;
        txn.open_table(OWNER).map_err(io("create tables", path))?;
        txn.commit().map_err(io("create tables", path))?;
        Ok(Self { db: RwLock::new(Some(open)), path: path.to_owned(), seal: Unsealed::shared() })
    }

    /// Documents are written by `seal` from now on.
    #[must_use]
    pub fn sealed(self, seal: Arc<dyn Seal>) -> Self {
        Self { seal, ..self }
    }

    /// Closes the file, whoever still holds this. Waits for reads under way.
    pub fn close(&self) {
        drop(self.db.write().take());
    }

    pub(crate) fn db(&self) -> Result<MappedRwLockReadGuard<'_, Database>, redb::Error> {
        let open = RwLockReadGuard::try_map(self.db.read(), |open| open.as_ref().map(|open| &open.db));
        open.map_err(|_| redb::Error::DatabaseClosed)
    }

    /// Writes steps and the owner's note in one commit; one that is not `durable` may be lost in a crash, with all that
    /// are not durable after it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn commit(&self, steps: &[Step], note: Option<&[u8]>, durable: bool) -> Result<(), StoreError> {
        let fail = |error: redb::Error| io("commit", &self.path)(error);
        let db = self.db().map_err(fail)?;
        let mut txn = db.begin_write().map_err(|e| fail(e.into()))?;
        let durability = if durable { Durability::Immediate } else { Durability::None };
        txn.set_durability(durability).map_err(|e| fail(e.into()))?;
        // Recovery after a crash then needs no walk over the whole file.
        txn.set_quick_repair(durable);
        let written = (|| -> Result<(), redb::Error> {
            let mut versions = txn.open_table(VERSIONS)?;
            let mut changes = txn.open_table(CHANGES)?;
            let mut numbers = txn.open_table(NUMBERS)?;
            let mut revision = None;
            for step in steps {
                match step {
                    Step::Changes(batch) => {
                        for (place, event) in (0u32..).zip(batch.iter()) {
                            let previous = event.previous.as_ref().map_or(0, |object| object.revision());
                            let document = event.object.as_ref().map_or(&[][..], |object| object.bytes());
                            let sealed = match document.is_empty() {
                                true => None,
                                false => self.seal.seal(&event.key, document).map_err(sealing)?,
                            };
                            let document = sealed.as_deref().unwrap_or(document);
                            versions.insert((&*event.key, event.revision), document)?;
                            changes.insert((event.revision, place), (&*event.key, previous))?;
                            revision = Some(event.revision);
                        }
                    }
                    Step::Compact(upto) => compact(&mut versions, &mut changes, &mut numbers, *upto)?,
                }
            }
            if let Some(revision) = revision {
                numbers.insert("revision", revision)?;
            }
            if let Some(note) = note {
                txn.open_table(OWNER)?.insert("note", note)?;
            }
            Ok(())
        })();
        written.map_err(fail)?;
        txn.commit().map_err(|e| fail(e.into()))
    }

    /// Reads everything: the present, and the newest `history_bytes` of history.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn load(&self, history_bytes: usize) -> Result<Loaded, StoreError> {
        let loaded = self.try_load(history_bytes).map_err(io("load", &self.path))?;
        if let Some(Err(error)) = self.db.read().as_ref().map(Open::expect_no_order) {
            tracing::debug!(%error, file = %self.path.display(), "tell the kernel how a file is read");
        }
        Ok(loaded)
    }

    fn try_load(&self, history_bytes: usize) -> Result<Loaded, redb::Error> {
        let txn = self.db()?.begin_read()?;
        let (versions, changes, numbers) = (txn.open_table(VERSIONS)?, txn.open_table(CHANGES)?, txn.open_table(NUMBERS)?);
        let number = |name| numbers.get(name).map(|value| value.map_or(0, |value| value.value()));
        let (revision, compacted) = (number("revision")?, number("compacted")?);
        let mut present: Vec<(Arc<str>, Arc<Object>)> = Vec::new();
        let mut stale: HashMap<Arc<str>, u64> = HashMap::new();
        for entry in versions.iter()? {
            let (key, document) = entry?;
            let ((key, revision), document) = (key.value(), document.value());
            let replaced = present.last().is_some_and(|(last, _)| &**last == key);
            let last = if replaced { present.pop().map(|(key, _)| key) } else { None };
            // A deletion must not hide that the key's older versions are replaced: they are older, so none follows it
            // but a new creation.
            if !document.is_empty() {
                let object = object(&*self.seal, key, document, revision)?;
                let is_current = self.seal.is_current(key, document);
                let key = last.unwrap_or_else(|| key.into());
                if !is_current {
                    stale.insert(key.clone(), revision);
                }
                present.push((key, object));
            }
        }
        let mut loader = Versions { read: HashMap::new(), present: &present, seal: &*self.seal };
        let mut history: Vec<Changes> = Vec::new();
        let (mut bytes, mut floor) = (0, compacted);
        let mut newest = changes.range((compacted + 1, 0)..)?.rev().peekable();
        while let Some(entry) = newest.next() {
            let (place, change) = entry?;
            let mut batch = vec![loader.event(&versions, place.value().0, change.value())?];
            while let Some(Ok((more, _))) = newest.peek()
                && more.value().0 == place.value().0
            {
                let Some(entry) = newest.next() else { break };
                let (place, change) = entry?;
                batch.push(loader.event(&versions, place.value().0, change.value())?);
            }
            batch.reverse();
            bytes += weight(&batch);
            if bytes > history_bytes {
                floor = place.value().0;
                break;
            }
            history.push(batch.into());
        }
        history.reverse();
        drop(loader);
        let note = txn.open_table(OWNER)?.get("note")?.map(|note| note.value().to_vec()).unwrap_or_default();
        Ok(Loaded { saved: Saved { present, revision, compacted, history, floor }, note, stale })
    }
}

/// Deletes what was replaced or deleted at or before a revision, driven by the changes themselves: doing it twice, or
/// stopping half-way in a crash, is harmless.
fn compact(
    versions: &mut redb::Table<'_, (&str, u64), &[u8]>,
    changes: &mut redb::Table<'_, (u64, u32), (&str, u64)>,
    numbers: &mut redb::Table<'_, &str, u64>,
    upto: u64,
) -> Result<(), redb::Error> {
    let compacted = numbers.get("compacted")?.map_or(0, |value| value.value());
    if upto <= compacted {
        return Ok(());
    }
    numbers.insert("compacted", upto)?;
    for entry in changes.extract_from_if(..(upto + 1, 0), |_, _| true)? {
        let (place, change) = entry?;
        let (revision, (key, previous)) = (place.value().0, change.value());
        if previous != 0 {
            versions.remove((key, previous))?;
        }
        if versions.get((key, revision))?.is_some_and(|document| document.value().is_empty()) {
            versions.remove((key, revision))?;
        }
    }
    Ok(())
}

type ReadVersions<'a> = redb::ReadOnlyTable<(&'static str, u64), &'static [u8]>;

/// Versions read from disk, each made into an object once.
struct Versions<'a> {
    read: HashMap<(Arc<str>, u64), Arc<Object>>,
    present: &'a [(Arc<str>, Arc<Object>)],
    seal: &'a dyn Seal,
}

impl Versions<'_> {
    fn event(&mut self, versions: &ReadVersions, revision: u64, (key, previous): (&str, u64)) -> Result<Event, redb::Error> {
        let present = self.present.binary_search_by(|(known, _)| (**known).cmp(key)).ok().map(|at| &self.present[at]);
        let key: Arc<str> = present.map_or_else(|| key.into(), |(key, _)| key.clone());
        let mut version = |revision| -> Result<Option<Arc<Object>>, redb::Error> {
            if revision == 0 {
                return Ok(None);
            }
            if let Some((_, object)) = present.filter(|(_, object)| object.revision() == revision) {
                return Ok(Some(object.clone()));
            }
            if let Some(object) = self.read.get(&(key.clone(), revision)) {
                return Ok(Some(object.clone()));
            }
            let read = versions.get((&*key, revision))?;
            let Some(read) = read.filter(|document| !document.value().is_empty()) else { return Ok(None) };
            let object = object(self.seal, &key, read.value(), revision)?;
            self.read.insert((key.clone(), revision), object.clone());
            Ok(Some(object))
        };
        let (object, previous) = (version(revision)?, version(previous)?);
        Ok(Event { key, revision, object, previous })
    }
}

impl Archive for RedbState {
    fn range(&self, prefix: &str, options: &RangeOptions, revision: u64) -> Result<Range, StoreError> {
        let fail = io("read a revision", &self.path);
        let (oldest, items) = self.try_range(prefix, options, revision).map_err(fail)?;
        if revision < oldest {
            return Err(StoreError::Compacted { asked: revision, oldest });
        }
        Ok(page(items.into_iter(), std::convert::identity, options.limit, revision))
    }

    fn changes(&self, prefix: &str, after: u64, until: u64) -> Result<(Vec<Changes>, u64), StoreError> {
        let (oldest, changes, until) = self.try_changes(prefix, after, until).map_err(io("read the history", &self.path))?;
        if after < oldest {
            return Err(StoreError::Compacted { asked: after, oldest });
        }
        Ok((changes, until))
    }
}

type Items = Vec<(Arc<str>, Arc<Object>)>;

impl RedbState {
    fn try_range(&self, prefix: &str, options: &RangeOptions, revision: u64) -> Result<(u64, Items), redb::Error> {
        let txn = self.db()?.begin_read()?;
        let oldest = txn.open_table(NUMBERS)?.get("compacted")?.map_or(0, |value| value.value());
        let versions = txn.open_table(VERSIONS)?;
        let start = match options.start_after.as_deref() {
            Some(key) if key >= prefix => (key, u64::MAX),
            _ => (prefix, 0),
        };
        let mut items: Items = Vec::new();
        for entry in versions.range(start..)? {
            let (key, document) = entry?;
            let ((key, version), document) = (key.value(), document.value());
            if !key.starts_with(prefix) {
                break;
            }
            if version > revision {
                continue;
            }
            let last = if items.last().is_some_and(|(last, _)| &**last == key) { items.pop() } else { None };
            if !document.is_empty() {
                let object = object(&*self.seal, key, document, version)?;
                items.push((last.map_or_else(|| key.into(), |(key, _)| key), object));
            }
        }
        Ok((oldest, items))
    }

    fn try_changes(&self, prefix: &str, after: u64, until: u64) -> Result<(u64, Vec<Changes>, u64), redb::Error> {
        const AT_ONCE: usize = 1024;
        let txn = self.db()?.begin_read()?;
        let oldest = txn.open_table(NUMBERS)?.get("compacted")?.map_or(0, |value| value.value());
        let (versions, changes) = (txn.open_table(VERSIONS)?, txn.open_table(CHANGES)?);
        let mut loader = Versions { read: HashMap::new(), present: &[], seal: &*self.seal };
        let (mut batches, mut batch, mut count): (Vec<Changes>, Vec<Event>, usize) = Default::default();
        for entry in changes.range((after + 1, 0)..=(until, u32::MAX))? {
            let (place, change) = entry?;
            let revision = place.value().0;
            if batch.first().is_some_and(|event| event.revision != revision) {
                batches.push(std::mem::take(&mut batch).into());
                if count >= AT_ONCE {
                    return Ok((oldest, batches, revision - 1));
                }
            }
            if change.value().0.starts_with(prefix) {
                batch.push(loader.event(&versions, revision, change.value())?);
                count += 1;
            }
        }
        if !batch.is_empty() {
            batches.push(batch.into());
        }
        Ok((oldest, batches, until))
    }
}

fn object(seal: &dyn Seal, key: &str, document: &[u8], revision: u64) -> Result<Arc<Object>, redb::Error> {
    let bytes = seal.open(key, document).map_err(sealing)?.map_or_else(|| Bytes::copy_from_slice(document), Bytes::from);
    Ok(Arc::new(Object::new(bytes, revision)))
}

fn sealing(error: SealError) -> redb::Error {
    redb::Error::Io(std::io::Error::other(error))
}

/// Names the operation and the file in an error of redb's.
pub(crate) fn io<E: Into<redb::Error>>(operation: &'static str, path: &Path) -> impl Fn(E) -> StoreError {
    let file = path.display().to_string();
    move |error| StoreError::Io { operation, file: file.clone(), source: Box::new(error.into()) }
}
