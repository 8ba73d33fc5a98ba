//! The file of what is remembered. Whoever remembers does not wait for it; what came in its last half second may be lost with
//! the machine's power, and comes again from the server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mizzen_api::{GroupVersionResource, Object};
use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};

use crate::keys;
use crate::references::Used;

/// The revision of each list.
const REVISIONS: TableDefinition<'_, &str, u64> = TableDefinition::new("revisions");
/// The objects of each list.
const MEMBERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("members");
/// Objects that were asked for by name.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const TOKENS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tokens");

/// So long a change waits for others to share its commit: disks of edge machines wear out.
const GATHER: Duration = Duration::from_millis(500);
/// Bytes; it is written often and hardly ever read.
const CACHE: usize = 4 << 20;
const TOGETHER: usize = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("open the node's state {}: {source}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: Box<redb::Error>,
    },
    #[error("set the node's state {} aside: {source}", path.display())]
    SetAside {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("start the writer of the node's state: {source}")]
    Writer {
        #[source]
        source: std::io::Error,
    },
}

/// Something that the API has said.
pub(crate) enum Change {
    /// All objects of a scope, by key.
    Listed {
        scope: String,
        revision: u64,
        members: Vec<(String, Bytes)>,
    },
    /// One of them has changed, or gone.
    Member {
        scope: String,
        revision: u64,
        key: String,
        bytes: Option<Bytes>,
    },
    /// Nothing has changed up to here.
    Revision {
        scope: String,
        revision: u64,
    },
    /// One object that was asked for, or is not there.
    Object {
        key: String,
        bytes: Option<Bytes>,
    },
    Token {
        key: String,
        bytes: Bytes,
    },
    /// Answers when all before is on disk.
    Flush(Sender<()>),
}

pub struct Memory {
    database: Arc<Database>,
    queue: Mutex<Option<Sender<Change>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// A list as it was made at a revision.
type Listed = (u64, Vec<Arc<Object>>);

impl Memory {
    /// Opens the file, or makes it, for root alone. One that cannot be read is set aside: the server says everything again.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: &Path) -> Result<Arc<Self>, StateError> {
        let database = match create(path) {
            Ok(database) => database,
            Err(error) if path.exists() => {
                let aside = path.with_extension("unreadable");
                tracing::warn!(path = %path.display(), %error, aside = %aside.display(), "the node's state is begun anew");
                let failed = |source| StateError::SetAside { path: path.to_owned(), source };
                std::fs::rename(path, &aside).map_err(failed)?;
                create(path)?
            }
            Err(error) => return Err(error),
        };
        let database = Arc::new(database);
        let (sender, receiver) = channel();
        let written = database.clone();
        let writer = std::thread::Builder::new().name("node-state".into()).spawn(move || write(&written, &receiver));
        let writer = writer.map_err(|source| StateError::Writer { source })?;
        Ok(Arc::new(Self { database, queue: Mutex::new(Some(sender)), writer: Mutex::new(Some(writer)) }))
    }

    /// Whether it holds the pods of this node.
    pub fn knows_pods(&self) -> bool {
        let pods = keys::resource(&GroupVersionResource::new("", "v1", "pods"));
        let found = || -> Result<bool, redb::Error> {
            let table = self.database.begin_read()?.open_table(REVISIONS)?;
            Ok(table.range(pods.as_str()..keys::after(&pods).as_str())?.next().is_some())
        };
        readable(found()).unwrap_or(false)
    }

    /// An object that was once asked for by its name.
    pub fn get(&self, resource: &GroupVersionResource, namespace: &str, name: &str) -> Option<Object> {
        self.object(&keys::object(&keys::resource(resource), namespace, name))
    }

    pub(crate) fn object(&self, key: &str) -> Option<Object> {
        self.one(OBJECTS, key)
    }

    pub(crate) fn token(&self, key: &str) -> Option<Object> {
        self.one(TOKENS, key)
    }

    fn one(&self, table: TableDefinition<'_, &str, &[u8]>, key: &str) -> Option<Object> {
        let found = || -> Result<Option<Object>, redb::Error> {
            let table = self.database.begin_read()?.open_table(table)?;
            Ok(table.get(key)?.map(|bytes| object(bytes.value())))
        };
        readable(found()).flatten()
    }

    /// The revision and the objects of a list; `None` when it was never made.
    pub(crate) fn list(&self, scope: &str) -> Option<Listed> {
        let found = || -> Result<Option<Listed>, redb::Error> {
            let reading = self.database.begin_read()?;
            let Some(revision) = reading.open_table(REVISIONS)?.get(scope)?.map(|revision| revision.value()) else {
                return Ok(None);
            };
            let table = reading.open_table(MEMBERS)?;
            let members = table.range(scope..keys::after(scope).as_str())?;
            let members = members.map(|member| Ok(Arc::new(object(member?.1.value()))));
            Ok(Some((revision, members.collect::<Result<_, redb::Error>>()?)))
        };
        readable(found()).flatten()
    }

    pub(crate) fn note(&self, change: Change) {
        if let Some(queue) = &*self.queue.lock() {
            // The writer ends after its last sender.
            let _ = queue.send(change);
        }
    }

    /// Returns when all that was remembered before is on disk. Blocks.
    pub fn flush(&self) {
        let (done, wait) = channel();
        self.note(Change::Flush(done));
        let _ = wait.recv();
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.queue.lock().take();
        if let Some(writer) = self.writer.lock().take() {
            let _ = writer.join();
        }
    }
}

fn create(path: &Path) -> Result<Database, StateError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |source: redb::Error| StateError::Open { path: path.to_owned(), source: Box::new(source) };
    let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(|source| failed(redb::Error::Io(source)))?;
    let backend = FileBackend::new(file).map_err(|error| failed(error.into()))?;
    let database = Database::builder().set_cache_size(CACHE).create_with_backend(backend);
    let database = database.map_err(|error| failed(error.into()))?;
    let tables = || -> Result<(), redb::Error> {
        let writing = database.begin_write()?;
        writing.open_table(REVISIONS)?;
        for table in [MEMBERS, OBJECTS, TOKENS] {
            writing.open_table(table)?;
        }
        Ok(writing.commit()?)
    };
    tables().map_err(failed)?;
    Ok(database)
}

/// A document of the API says its revision itself.
fn object(bytes: &[u8]) -> Object {
    let bytes = Bytes::copy_from_slice(bytes);
    let revision = Object::new(bytes.clone(), 0).head().resource_version.parse().unwrap_or(0);
    Object::new(bytes, revision)
}

fn readable<T>(found: Result<T, redb::Error>) -> Option<T> {
    found.inspect_err(|error| tracing::warn!(%error, "the node's state cannot be read")).ok()
}

/// Until nobody remembers any more.
fn write(database: &Database, changes: &Receiver<Change>) {
    let mut failed = false;
    while let Ok(first) = changes.recv() {
        let (mut batch, mut flushed) = (Vec::new(), Vec::new());
        let until = Instant::now() + GATHER;
        let mut next = Some(first);
        while let Some(change) = next.take() {
            match change {
                Change::Flush(done) => flushed.push(done),
                change => batch.push(change),
            }
            if !flushed.is_empty() || batch.len() >= TOGETHER {
                break;
            }
            next = changes.recv_timeout(until.saturating_duration_since(Instant::now())).ok();
        }
        match commit(database, &batch) {
            Ok(()) => failed = false,
            // A full disk, say: told once.
            Err(error) if !std::mem::replace(&mut failed, true) => {
                tracing::warn!(%error, "what the server says is not remembered");
            }
            Err(_) => {}
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}

fn commit(database: &Database, batch: &[Change]) -> Result<(), redb::Error> {
    let pods = keys::resource(&GroupVersionResource::new("", "v1", "pods"));
    let writing = database.begin_write()?;
    let mut fewer_pods = false;
    for change in batch {
        fewer_pods |= apply(&writing, change, &pods)?;
    }
    if fewer_pods {
        forget_unused(&writing, &pods)?;
    }
    Ok(writing.commit()?)
}

/// Whether there may be fewer pods than before.
fn apply(writing: &WriteTransaction, change: &Change, pods: &str) -> Result<bool, redb::Error> {
    match change {
        Change::Listed { scope, revision, members } => {
            writing.open_table(REVISIONS)?.insert(scope.as_str(), revision)?;
            let mut table = writing.open_table(MEMBERS)?;
            table.retain_in::<&str, _>(scope.as_str()..keys::after(scope).as_str(), |_, _| false)?;
            for (key, bytes) in members {
                table.insert(key.as_str(), &**bytes)?;
            }
            return Ok(scope.starts_with(pods));
        }
        Change::Member { scope, revision, key, bytes } => {
            writing.open_table(REVISIONS)?.insert(scope.as_str(), revision)?;
            put(writing, MEMBERS, key, bytes.as_ref())?;
            return Ok(bytes.is_none() && scope.starts_with(pods));
        }
        Change::Revision { scope, revision } => {
            writing.open_table(REVISIONS)?.insert(scope.as_str(), revision)?;
        }
        Change::Object { key, bytes } => put(writing, OBJECTS, key, bytes.as_ref())?,
        Change::Token { key, bytes } => put(writing, TOKENS, key, Some(bytes))?,
        Change::Flush(_) => {}
    }
    Ok(false)
}

fn put(
    writing: &WriteTransaction,
    table: TableDefinition<'_, &str, &[u8]>,
    key: &str,
    bytes: Option<&Bytes>,
) -> Result<(), redb::Error> {
    let mut table = writing.open_table(table)?;
    match bytes {
        Some(bytes) => drop(table.insert(key, &**bytes)?),
        None => drop(table.remove(key)?),
    }
    Ok(())
}

fn forget_unused(writing: &WriteTransaction, pods: &str) -> Result<(), redb::Error> {
    let mut used = Used::default();
    let mut members = writing.open_table(MEMBERS)?;
    for pod in members.range(pods..keys::after(pods).as_str())? {
        if let Ok(pod) = serde_json::from_slice(pod?.1.value()) {
            used.add(&pod);
        }
    }
    members.retain(|key, _| used.keeps_scope(key))?;
    writing.open_table(REVISIONS)?.retain(|key, _| used.keeps_scope(key))?;
    writing.open_table(OBJECTS)?.retain(|key, _| used.keeps_object(key))?;
    writing.open_table(TOKENS)?.retain(|key, _| used.keeps_token(key))?;
    Ok(())
}
