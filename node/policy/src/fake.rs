//! A table in memory that is as strict as nftables.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use mizzen_network::NetworkError;
use parking_lot::Mutex;

use crate::apply::{Apply, ApplyError};
use crate::frame::MAPS;
use crate::key::{Changes, Elements, Key};

#[derive(Default)]
pub(crate) struct Fake {
    table: Mutex<Option<Elements>>,
    transactions: AtomicUsize,
}

impl Fake {
    /// As somebody else would.
    pub(crate) fn meddle(&self, with: impl FnOnce(&mut Option<Elements>)) {
        with(&mut self.table.lock());
    }

    pub(crate) fn table(&self) -> Option<Elements> {
        self.table.lock().clone()
    }

    pub(crate) fn transactions(&self) -> usize {
        self.transactions.load(Ordering::SeqCst)
    }

    fn keep(&self, elements: Elements) -> Result<(), ApplyError> {
        check(&elements)?;
        *self.table.lock() = Some(elements);
        self.transactions.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn refused(message: String) -> ApplyError {
    ApplyError::Network(NetworkError::Nftables { table: "fake".into(), message })
}

/// Every chain and set that is spoken of has to be there.
fn check(elements: &Elements) -> Result<(), ApplyError> {
    let has = |key: Key, what: &str| match elements.contains_key(&key) {
        true => Ok(()),
        false => Err(refused(format!("there is no {what} {key:?}"))),
    };
    for (key, value) in elements {
        if let Key::Element(set, _) = key
            && !MAPS.iter().any(|(_, own, _)| own == set)
        {
            has(Key::Set(set.clone()), "set")?;
        }
        let words: Vec<&str> = value.split_whitespace().collect();
        for pair in words.windows(2) {
            if matches!(pair[0], "goto" | "jump") {
                has(Key::Chain(pair[1].to_owned()), "chain")?;
            }
        }
        for set in words.iter().filter_map(|word| word.strip_prefix('@')) {
            has(Key::Set(set.to_owned()), "set")?;
        }
    }
    Ok(())
}

#[async_trait]
impl Apply for Fake {
    async fn read(&self, _wanted: &Elements) -> Result<Option<Elements>, ApplyError> {
        Ok(self.table())
    }

    async fn is_whole(&self) -> bool {
        self.table.lock().is_some()
    }

    async fn change(&self, changes: &Changes) -> Result<(), ApplyError> {
        let mut elements = self.table().ok_or_else(|| refused("there is no table".into()))?;
        for (key, (before, after)) in changes {
            // nft looks at no value when it deletes.
            if elements.remove(key).is_some() != before.is_some() {
                return Err(refused(format!("{key:?} is not as it was")));
            }
            if let Some(after) = after {
                elements.insert(key.clone(), after.clone());
            }
        }
        self.keep(elements)
    }

    async fn rebuild(&self, wanted: &Elements) -> Result<(), ApplyError> {
        self.keep(wanted.clone())
    }

    async fn remove(&self) -> Result<(), ApplyError> {
        *self.table.lock() = None;
        Ok(())
    }
}
