//! What the native `NodeResourcesBalancedAllocation` does: nodes are better where CPU and memory end up equally full.

use mizzen_scheduler_sdk::{Column, Columns, Cycle, Node, Plugin, Points, plugin};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

struct BalancedAllocation {
    /// Of cpu and memory: what there is, and what is taken.
    resources: [(&'static str, Column<i64>, Column<i64>); 2],
}

impl Plugin for BalancedAllocation {
    type Settings = Settings;
    const POINTS: Points = Points::SCORE;

    fn new(_: Settings, columns: &mut Columns) -> Result<Self, String> {
        let resources = ["cpu", "memory"].map(|name| {
            (name, columns.integer(format!("allocatable/{name}")), columns.integer(format!("requested/{name}")))
        });
        Ok(Self { resources })
    }

    /// A pod that asks for nothing balances nothing.
    fn scores(&mut self, cycle: &Cycle) -> bool {
        self.resources.iter().any(|(name, ..)| cycle.pod.request(name) > 0)
    }

    fn score(&mut self, cycle: &Cycle, node: Node) -> i64 {
        let [cpu, memory] = self.resources.map(|(name, allocatable, requested)| {
            let of = |column| node.get(column).unwrap_or(0);
            share(of(allocatable), of(requested).saturating_add(cycle.pod.request(name)))
        });
        // With two resources the standard deviation is half their distance; one alone has none.
        let deviation = cpu.zip(memory).map_or(0, |(cpu, memory)| (cpu - memory).abs() / 2);
        (1000 - deviation) * 100 / 1000
    }
}

/// The used share in thousandths, where there is something to use.
fn share(capacity: i64, taken: i64) -> Option<i64> {
    (capacity > 0).then(|| (taken.saturating_mul(1000) / capacity).clamp(0, 1000))
}

plugin!(BalancedAllocation);
