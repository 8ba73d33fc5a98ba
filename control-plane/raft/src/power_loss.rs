//! What a power cut leaves of both files: everything synced, and of the later writes any part, torn anywhere.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mizzen_store::redb_state::RedbState;
use mizzen_store::testing::put;
use mizzen_store::{Store, StoreError, TxnOutcome};
use parking_lot::Mutex;
use redb::StorageBackend;

use crate::log_store::LogStore;
use crate::{RaftConfig, RaftStore};

#[derive(Clone, Debug)]
enum Write {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone, Debug, Default)]
struct File {
    now: Vec<u8>,
    synced: Vec<u8>,
    since_sync: Vec<Write>,
    /// Syncing fails from now on.
    broken: bool,
}

fn perform(file: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Length(length) => file.resize(*length as usize, 0),
        Write::Bytes(offset, bytes) => {
            let (start, end) = (*offset as usize, *offset as usize + bytes.len());
            // The length change before it may have been lost.
            if file.len() < end {
                file.resize(end, 0);
            }
            file[start..end].copy_from_slice(bytes);
        }
    }
}

/// Both files, so that one moment can be frozen for both.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<[File; 2]>>);

#[derive(Debug)]
struct Backend(Disk, usize);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.0.lock()[self.1].now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (disk, start) = (self.0.0.lock(), offset as usize);
        let bytes = disk[self.1].now.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.write_one(Write::Length(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        let file = &mut self.0.0.lock()[self.1];
        if file.broken {
            return Err(io::Error::other("no space left"));
        }
        for write in file.since_sync.drain(..) {
            perform(&mut file.synced, &write);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_one(Write::Bytes(offset, data.to_vec()))
    }
}

impl Backend {
    fn write_one(&self, write: Write) -> io::Result<()> {
        let file = &mut self.0.0.lock()[self.1];
        perform(&mut file.now, &write);
        file.since_sync.push(write);
        Ok(())
    }
}

/// SplitMix64: the same rounds every time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % end.max(1) as u64) as usize
    }
}

#[derive(Clone, Copy, Debug)]
enum Loss {
    /// The writes reached the disk in order, up to an arbitrary byte.
    Cut,
    /// Any of them reached it, in any order.
    Any,
    /// All did, with the last one garbled.
    Garbled,
}

fn after_power_loss(file: &File, loss: Loss, random: &mut Random) -> File {
    let mut left = file.synced.clone();
    let count = file.since_sync.len();
    match loss {
        Loss::Cut => {
            let whole = random.below(count + 1);
            file.since_sync[..whole].iter().for_each(|write| perform(&mut left, write));
            if let Some(Write::Bytes(offset, bytes)) = file.since_sync.get(whole) {
                let torn = Write::Bytes(*offset, bytes[..random.below(bytes.len())].to_vec());
                perform(&mut left, &torn);
            }
        }
        Loss::Any => {
            let kept: Vec<&Write> = file.since_sync.iter().filter(|_| random.below(2) == 0).collect();
            kept.into_iter().for_each(|write| perform(&mut left, write));
        }
        Loss::Garbled => {
            file.since_sync.iter().for_each(|write| perform(&mut left, write));
            // Not the header's page: writing it is atomic by the sector, which is what redb counts on.
            if let Some(Write::Bytes(offset, bytes)) =
                file.since_sync.iter().rev().find(|w| matches!(w, Write::Bytes(o, _) if *o > 0))
            {
                let at = *offset as usize + random.below(bytes.len());
                left[at] ^= 0x5A;
            }
        }
    }
    File { now: left.clone(), synced: left, since_sync: Vec::new(), broken: false }
}

async fn open(disk: &Disk) -> Arc<RaftStore> {
    let config = RaftConfig { snapshot_entries: 30, history_bytes: 20_000, ..RaftConfig::new("nowhere", 1) };
    let log = LogStore::with_backend(Backend(disk.clone(), 0), Path::new("log")).expect("the log opens");
    let state = RedbState::with_backend(Backend(disk.clone(), 1), Path::new("state")).expect("the state opens");
    RaftStore::start(config, log, state).await.expect("starts")
}

/// Writes from several tasks until the power is cut; returns what was acknowledged before, and the files as they were.
async fn write_until_cut(store: &Arc<RaftStore>, disk: &Disk, enough: usize) -> (BTreeMap<u64, String>, [File; 2]) {
    let acknowledged = Arc::new(Mutex::new(BTreeMap::new()));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4_u64 {
        let (store, acknowledged) = (store.clone(), acknowledged.clone());
        writers.spawn(async move {
            for turn in 0_u64.. {
                let key = format!("/k/{writer}/{}", turn % 5);
                match store.txn(put(&key, turn)).await {
                    Ok(TxnOutcome::Applied { revision, .. }) => acknowledged.lock().insert(revision, key),
                    other => panic!("was not applied: {other:?}"),
                };
            }
        });
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while acknowledged.lock().len() < enough {
        assert!(tokio::time::Instant::now() < deadline, "writes do not get through");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // What was acknowledged by now must be on the disk as it is after now.
    let acknowledged = acknowledged.lock().clone();
    let files = loop {
        // A moment in the middle of writing the log is the more telling one. Only that one is copied: who copies the files at
        // each look keeps the writers from ever getting there.
        {
            let files = disk.0.lock();
            if !files[0].since_sync.is_empty() || tokio::time::Instant::now() > deadline {
                break files.clone();
            }
        }
        tokio::task::yield_now().await;
    };
    writers.shutdown().await;
    (acknowledged, files)
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_any_part_of_what_was_not_synced_loses_nothing_acknowledged() {
    let (disk, mut random) = (Disk::default(), Random(7));
    let (mut store, mut current) = (open(&disk).await, disk);
    for round in 0..24 {
        let loss = [Loss::Cut, Loss::Any, Loss::Garbled][round % 3];
        let enough = 1 + random.below(300);
        let (acknowledged, files) = write_until_cut(&store, &current, enough).await;
        store.shutdown().await;

        let left = [after_power_loss(&files[0], loss, &mut random), after_power_loss(&files[1], loss, &mut random)];
        current = Disk(Arc::new(Mutex::new(left)));
        store = open(&current).await;
        let last = acknowledged.keys().next_back().copied().unwrap_or_default();
        assert!(store.revision() >= last, "round {round} ({loss:?}): {} of {last}", store.revision());
        let first = acknowledged.keys().next().copied().unwrap_or_default() - 1;
        let mut watch = store.watch("/k/", first).expect("history is kept");
        let mut seen = Vec::new();
        while watch.progress() < store.revision() {
            seen.extend(watch.next().await.expect("history is kept").iter().cloned());
        }
        let revisions: Vec<u64> = seen.iter().map(|event| event.revision).collect();
        assert_eq!(revisions, (first + 1..=store.revision()).collect::<Vec<_>>(), "round {round} ({loss:?})");
        for event in &seen {
            if let Some(key) = acknowledged.get(&event.revision) {
                assert_eq!(&*event.key, key, "round {round} ({loss:?})");
            }
        }
    }
    store.shutdown().await;
    assert!(matches!(store.txn(put("/k/0/0", 0)).await, Err(StoreError::Unavailable { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_stops_the_store_and_acknowledges_nothing() {
    for broken in [0, 1] {
        let disk = Disk::default();
        let store = open(&disk).await;
        store.txn(put("/k/1", 1)).await.expect("is applied");
        disk.0.lock()[broken].broken = true;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let mut acknowledged = store.revision();
        loop {
            match store.txn(put("/k/1", 2)).await {
                Ok(TxnOutcome::Applied { revision, .. }) => acknowledged = revision,
                Err(StoreError::Unavailable { .. }) => break,
                other => panic!("{other:?}"),
            }
            assert!(tokio::time::Instant::now() < deadline, "writing goes on without a disk");
        }
        // Without the log nothing more was promised; without the state the log still has it all.
        assert!(broken == 1 || acknowledged == 1, "{acknowledged} was acknowledged without a log");
        store.shutdown().await;
        let left = disk.0.lock().clone().map(|file| File { now: file.synced.clone(), synced: file.synced, ..File::default() });
        let store = open(&Disk(Arc::new(Mutex::new(left)))).await;
        assert!(store.revision() >= acknowledged);
        store.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_entries_are_purged_by_their_bytes() {
    let disk = Disk::default();
    let log = LogStore::with_backend(Backend(disk.clone(), 0), Path::new("log")).expect("the log opens");
    let state = RedbState::with_backend(Backend(disk.clone(), 1), Path::new("state")).expect("the state opens");
    let config = RaftConfig { snapshot_bytes: 1 << 20, ..RaftConfig::new("nowhere", 1) };
    let store = RaftStore::start(config, log.clone(), state).await.expect("starts");
    let document = mizzen_api::object::Encoded::from_value(serde_json::json!({
        "metadata": {"name": "large"}, "data": "x".repeat(100_000),
    }));
    let document = document.expect("encodes");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while log.purged().is_none() {
        let txn = mizzen_store::Txn { puts: vec![("/large".into(), document.clone())], ..Default::default() };
        store.txn(txn).await.expect("is applied");
        assert!(tokio::time::Instant::now() < deadline, "the log is never purged");
    }
    store.shutdown().await;
}
