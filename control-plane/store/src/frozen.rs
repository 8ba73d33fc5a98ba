//! The state's file as one stream of bytes, and back: what a server sends to another that is too far behind.

use std::path::PathBuf;

use redb::{ReadTransaction, ReadableDatabase, ReadableTable};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::redb_state::{CHANGES, NUMBERS, OWNER, RedbState, VERSIONS, io};

/// A view of the state as of one commit, unmoved by later ones.
pub struct Frozen {
    txn: ReadTransaction,
    note: Vec<u8>,
    path: PathBuf,
}

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
enum Record<'a> {
    Format(u32),
    Number(&'a str, u64),
    Note(&'a [u8]),
    Version(&'a str, u64, &'a [u8]),
    Change(u64, u32, &'a str, u64),
    /// Nothing was cut off.
    End,
}

impl Frozen {
    /// The owner's note of the same commit.
    pub fn note(&self) -> &[u8] {
        &self.note
    }

    /// Everything, for [`RedbState::restore`]. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn dump(&self) -> Result<Vec<u8>, StoreError> {
        self.try_dump().map_err(io("dump", &self.path))
    }

    fn try_dump(&self) -> Result<Vec<u8>, redb::Error> {
        let mut out = write(Vec::new(), &Record::Format(FORMAT))?;
        for entry in self.txn.open_table(NUMBERS)?.iter()? {
            let (name, value) = entry?;
            out = write(out, &Record::Number(name.value(), value.value()))?;
        }
        out = write(out, &Record::Note(&self.note))?;
        for entry in self.txn.open_table(VERSIONS)?.iter()? {
            let (key, document) = entry?;
            let (key, revision) = key.value();
            out = write(out, &Record::Version(key, revision, document.value()))?;
        }
        for entry in self.txn.open_table(CHANGES)?.iter()? {
            let (place, change) = entry?;
            let ((revision, place), (key, previous)) = (place.value(), change.value());
            out = write(out, &Record::Change(revision, place, key, previous))?;
        }
        write(out, &Record::End)
    }
}

fn write(out: Vec<u8>, record: &Record<'_>) -> Result<Vec<u8>, redb::Error> {
    postcard::to_extend(record, out).map_err(|error| redb::Error::Corrupted(error.to_string()))
}

impl RedbState {
    /// A view of what is committed now.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn freeze(&self) -> Result<Frozen, StoreError> {
        let freeze = || -> Result<_, redb::Error> {
            let txn = self.db()?.begin_read()?;
            let note = txn.open_table(OWNER)?.get("note")?.map(|note| note.value().to_vec()).unwrap_or_default();
            Ok((txn, note))
        };
        let (txn, note) = freeze().map_err(io("freeze", &self.path))?;
        Ok(Frozen { txn, note, path: self.path.clone() })
    }

    /// Replaces everything by what [`Frozen::dump`] gave, in one durable commit.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the bytes are no dump or writing fails; the state is then as before.
    pub fn restore(&self, dump: &[u8]) -> Result<(), StoreError> {
        self.try_restore(dump).map_err(io("restore", &self.path))
    }

    fn try_restore(&self, mut dump: &[u8]) -> Result<(), redb::Error> {
        let db = self.db()?;
        let txn = db.begin_write()?;
        txn.delete_table(VERSIONS)?;
        txn.delete_table(CHANGES)?;
        txn.delete_table(NUMBERS)?;
        txn.delete_table(OWNER)?;
        let mut ended = false;
        {
            let mut versions = txn.open_table(VERSIONS)?;
            let mut changes = txn.open_table(CHANGES)?;
            let mut numbers = txn.open_table(NUMBERS)?;
            let mut owner = txn.open_table(OWNER)?;
            while !ended {
                let (record, rest) = postcard::take_from_bytes::<Record<'_>>(dump)
                    .map_err(|error| redb::Error::Corrupted(format!("the snapshot is damaged: {error}")))?;
                dump = rest;
                match record {
                    Record::Format(FORMAT) => {}
                    Record::Format(other) => {
                        return Err(redb::Error::Corrupted(format!("the snapshot has format {other}, not {FORMAT}")));
                    }
                    Record::Number(name, value) => drop(numbers.insert(name, value)?),
                    Record::Note(note) => drop(owner.insert("note", note)?),
                    Record::Version(key, revision, document) => drop(versions.insert((key, revision), document)?),
                    Record::Change(revision, place, key, previous) => {
                        drop(changes.insert((revision, place), (key, previous))?);
                    }
                    Record::End => ended = true,
                }
            }
        }
        txn.commit()?;
        Ok(())
    }
}
