//! The one thread that writes `log.redb`: everything queued while it waits for the disk shares the next fsync.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use openraft::storage::LogFlushed;
use parking_lot::Mutex;
use redb::{Database, TableDefinition};
use tokio::sync::oneshot;

use crate::types::TypeConfig;

/// Entries by index. The reserved keys at the end share the newest entries' page, so that keeping them up to date with
/// each append costs no page more.
pub(crate) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
pub(crate) const FIRST_RESERVED: u64 = u64::MAX - 15;
pub(crate) const COMMITTED: u64 = u64::MAX - 2;
pub(crate) const PURGED: u64 = u64::MAX - 1;
pub(crate) const VOTE: u64 = u64::MAX;

type Done = oneshot::Sender<io::Result<()>>;

pub(crate) enum Op {
    Append { entries: Vec<(u64, Vec<u8>)>, committed: Option<Vec<u8>>, flushed: LogFlushed<TypeConfig> },
    Put { key: u64, value: Vec<u8>, done: Option<Done> },
    Delete { from: u64, to: u64, purged: Option<Vec<u8>>, done: Done },
}

pub(crate) struct LogWriter {
    queue: Mutex<Option<Sender<Op>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    written: Arc<AtomicU64>,
}

impl LogWriter {
    pub(crate) fn start(db: Arc<Database>, last: u64) -> io::Result<Self> {
        let (queue, ops) = channel();
        let written = Arc::new(AtomicU64::new(last));
        let progress = written.clone();
        let thread = std::thread::Builder::new().name("log-writer".into()).spawn(move || run(&db, &ops, &progress))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)), written })
    }

    /// Queues an operation. After [`LogWriter::stop`] it is dropped, which its callback tells.
    pub(crate) fn send(&self, op: Op) {
        if let Some(queue) = &*self.queue.lock() {
            let _ = queue.send(op);
        }
    }

    /// Entries up to this index are on disk.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(crate) fn truncated(&self, last: u64) {
        self.written.fetch_min(last, Ordering::AcqRel);
    }

    pub(crate) fn stop(&self) {
        drop(self.queue.lock().take());
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the log writer panicked");
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(db: &Database, ops: &Receiver<Op>, written: &AtomicU64) {
    while let Ok(first) = ops.recv() {
        let group: Vec<Op> = std::iter::once(first).chain(ops.try_iter()).collect();
        let result = write(db, &group);
        if let Err(error) = &result {
            tracing::error!(%error, "writing the raft log failed");
        }
        for op in group {
            let result = result.as_ref().map(|_| ()).map_err(|error| io::Error::other(error.to_string()));
            match op {
                Op::Append { entries, flushed, .. } => {
                    if let (Ok(()), Some((last, _))) = (&result, entries.last()) {
                        written.store(*last, Ordering::Release);
                    }
                    flushed.log_io_completed(result);
                }
                // Nobody waits any more when the receiver is gone.
                Op::Put { done: Some(done), .. } | Op::Delete { done, .. } => drop(done.send(result)),
                Op::Put { done: None, .. } => {}
            }
        }
    }
}

fn write(db: &Database, group: &[Op]) -> Result<(), redb::Error> {
    let txn = db.begin_write()?;
    {
        let mut log = txn.open_table(LOG)?;
        for op in group {
            match op {
                Op::Append { entries, committed, .. } => {
                    for (index, bytes) in entries {
                        log.insert(index, &bytes[..])?;
                    }
                    if let Some(committed) = committed {
                        log.insert(COMMITTED, &committed[..])?;
                    }
                }
                Op::Put { key, value, .. } => drop(log.insert(key, &value[..])?),
                Op::Delete { from, to, purged, .. } => {
                    log.retain_in::<u64, _>(*from..*to, |_, _| false)?;
                    if let Some(purged) = purged {
                        log.insert(PURGED, &purged[..])?;
                    }
                }
            }
        }
    }
    txn.commit()?;
    Ok(())
}
