//! A table in memory that is as strict as nftables.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use mizzen_network::NetworkError;
use parking_lot::Mutex;

use crate::apply::{Apply, ApplyError};
use crate::model::{Changes, Elements, Part};

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
}

fn refused(message: String) -> ApplyError {
    ApplyError::Network(NetworkError::Nftables { table: "fake".into(), message })
}

/// Every chain that is led to has to be there.
fn check(elements: &Elements) -> Result<(), ApplyError> {
    let chains = || elements.iter().filter(|((part, _), _)| *part == Part::Chain);
    let led = elements.values().flat_map(|value| value.lines()).filter_map(|line| line.rsplit_once("goto ").map(|(_, to)| to));
    for to in led.filter(|to| !matches!(*to, "refuse" | "discard")) {
        if !chains().any(|((_, name), _)| name == to) {
            return Err(refused(format!("there is no chain {to}")));
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
        let mut table = self.table.lock();
        let mut elements = table.clone().ok_or_else(|| refused("there is no table".into()))?;
        for (key, (before, after)) in changes {
            // nft looks at no value when it deletes.
            if elements.remove(key).is_some() != before.is_some() {
                return Err(refused(format!("{key:?} is not as it was")));
            }
            if let Some(after) = after {
                elements.insert(key.clone(), after.clone());
            }
        }
        check(&elements)?;
        *table = Some(elements);
        self.transactions.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn rebuild(&self, wanted: &Elements) -> Result<(), ApplyError> {
        check(wanted)?;
        *self.table.lock() = Some(wanted.clone());
        self.transactions.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}
