//! Fills nodes one after the other, so that others stay empty and can go.

use std::collections::BTreeMap;

use mizzen_scheduler_sdk::{Column, Columns, Cycle, Node, Plugin, Points, plugin};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// How much each resource counts.
    weights: BTreeMap<String, u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { weights: BTreeMap::from([("cpu".to_owned(), 1), ("memory".to_owned(), 1)]) }
    }
}

struct BinPacking {
    resources: Vec<Resource>,
    weights: i64,
}

struct Resource {
    name: String,
    weight: i64,
    allocatable: Column<i64>,
    requested: Column<i64>,
}

impl Plugin for BinPacking {
    type Settings = Settings;
    const POINTS: Points = Points::SCORE;

    fn new(settings: Settings, columns: &mut Columns) -> Result<Self, String> {
        let resource = |(name, weight): (String, u32)| Resource {
            allocatable: columns.integer(format!("allocatable/{name}")),
            requested: columns.integer(format!("requested/{name}")),
            weight: i64::from(weight),
            name,
        };
        let resources: Vec<Resource> = settings.weights.into_iter().map(resource).collect();
        let weights = resources.iter().map(|resource| resource.weight).sum();
        if weights == 0 {
            return Err("weights: some resource has to count".to_owned());
        }
        Ok(Self { resources, weights })
    }

    fn score(&mut self, cycle: &Cycle, node: Node) -> i64 {
        let full = self.resources.iter().map(|resource| {
            let allocatable = node.get(resource.allocatable).unwrap_or(0);
            let requested = node.get(resource.requested).unwrap_or(0).saturating_add(cycle.pod.request(&resource.name));
            match allocatable {
                ..=0 => 0,
                // As wide as a product of memory and a hundred needs.
                _ => resource.weight * (i128::from(requested.min(allocatable)) * 100 / i128::from(allocatable)) as i64,
            }
        });
        full.sum::<i64>() / self.weights
    }
}

plugin!(BinPacking);
