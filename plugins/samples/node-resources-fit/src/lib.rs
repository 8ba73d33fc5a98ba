//! What the native `NodeResourcesFit` does: what a pod requests must be free on the node, and the emptier node is better.

use mizzen_scheduler_sdk::{Column, Columns, Cycle, Node, Plugin, Points, Rejection, Wakes, plugin};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

/// A resource that every node has.
struct Usual {
    name: &'static str,
    allocatable: Column<i64>,
    requested: Column<i64>,
}

struct NodeResourcesFit {
    pods: Column<i64>,
    allowed_pods: Column<i64>,
    usual: [Usual; 3],
    /// Of cpu and memory, with what containers that state nothing count for.
    scoring: [Column<i64>; 2],
}

impl Plugin for NodeResourcesFit {
    type Settings = Settings;
    const POINTS: Points = Points::FILTER.union(Points::SCORE);
    const WAKES: Wakes = Wakes::NODE_ADDED.union(Wakes::NODE_CHANGED).union(Wakes::POD_LEFT);

    fn new(_: Settings, columns: &mut Columns) -> Result<Self, String> {
        // For the others, which nobody knows before.
        columns.integer("allocatable/*");
        columns.integer("requested/*");
        let usual = ["cpu", "memory", "ephemeral-storage"].map(|name| Usual {
            name,
            allocatable: columns.integer(format!("allocatable/{name}")),
            requested: columns.integer(format!("requested/{name}")),
        });
        let scoring = ["cpu", "memory"].map(|name| columns.integer(format!("scoring/{name}")));
        Ok(Self { pods: columns.integer("pods"), allowed_pods: columns.integer("allocatable/pods"), usual, scoring })
    }

    fn filter(&mut self, cycle: &Cycle, node: Node) -> Result<(), Rejection> {
        let of = |column| node.get(column).unwrap_or(0);
        let mut reasons = Vec::new();
        let mut unresolvable = false;
        if of(self.pods) + 1 > of(self.allowed_pods) {
            reasons.push("Too many pods".to_owned());
        }
        for (name, wanted) in &cycle.pod.requests {
            let (all, taken) = match self.usual.iter().find(|usual| usual.name == name) {
                Some(usual) => (of(usual.allocatable), of(usual.requested)),
                None => (other(node, "allocatable/", name), other(node, "requested/", name)),
            };
            if *wanted > 0 && *wanted > all.saturating_sub(taken) {
                reasons.push(format!("Insufficient {name}"));
                unresolvable |= *wanted > all;
            }
        }
        if reasons.is_empty() { Ok(()) } else { Err(Rejection { reasons, unresolvable }) }
    }

    fn score(&mut self, cycle: &Cycle, node: Node) -> i64 {
        let free = |at: usize| {
            let capacity = node.get(self.usual[at].allocatable).filter(|capacity| *capacity > 0)?;
            let asked = cycle.pod.scoring.iter().find(|(name, _)| name == self.usual[at].name).map_or(0, |(_, amount)| *amount);
            let taken = node.get(self.scoring[at]).unwrap_or(0).saturating_add(asked);
            Some(capacity.saturating_sub(taken).max(0).saturating_mul(100) / capacity)
        };
        match (free(0), free(1)) {
            (Some(cpu), Some(memory)) => i64::midpoint(cpu, memory),
            (one, other) => one.or(other).unwrap_or(0),
        }
    }
}

fn other(node: Node, prefix: &str, name: &str) -> i64 {
    node.below(prefix).find(|(resource, _)| *resource == name).map_or(0, |(_, amount)| amount)
}

plugin!(NodeResourcesFit);
