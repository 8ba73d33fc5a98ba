//! Amounts of resources as integers: what pods ask for and nodes have.

use std::collections::BTreeMap;

use mizzen_api::quantity::Quantity;
use serde_json::Value;

/// CPU in thousandths, everything else in whole units (bytes, devices).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub milli_cpu: i64,
    pub memory: i64,
    pub ephemeral_storage: i64,
    /// Extended resources and huge pages.
    pub others: BTreeMap<String, i64>,
}

impl Amounts {
    pub fn of(resources: &BTreeMap<String, Quantity>) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in resources {
            amounts.set(name, *quantity);
        }
        amounts
    }

    /// Sets one resource; unknown names count as extended resources, `pods` is not an amount here.
    pub fn set(&mut self, name: &str, quantity: Quantity) {
        match name {
            "cpu" => self.milli_cpu = quantity.milli_value(),
            "memory" => self.memory = quantity.value(),
            "ephemeral-storage" => self.ephemeral_storage = quantity.value(),
            "pods" => {}
            _ => {
                self.others.insert(name.to_owned(), quantity.value());
            }
        }
    }

    pub fn add(&mut self, more: &Self) {
        self.combine(more, i64::saturating_add);
    }

    pub fn subtract(&mut self, less: &Self) {
        self.combine(less, i64::saturating_sub);
    }

    fn combine(&mut self, other: &Self, with: fn(i64, i64) -> i64) {
        self.milli_cpu = with(self.milli_cpu, other.milli_cpu);
        self.memory = with(self.memory, other.memory);
        self.ephemeral_storage = with(self.ephemeral_storage, other.ephemeral_storage);
        for (name, amount) in &other.others {
            let present = self.others.entry(name.clone()).or_insert(0);
            *present = with(*present, *amount);
        }
    }
}

/// A document's resource list (`status.allocatable`) by name; entries that do not parse are left out.
pub fn list(document: Option<&Value>) -> BTreeMap<String, Quantity> {
    let entries = document.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?))).collect()
}
