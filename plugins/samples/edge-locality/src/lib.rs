//! Near where the pod's users are, by what the zones' distances are in milliseconds.

use std::collections::BTreeMap;

use mizzen_scheduler_sdk::{Column, Columns, Cycle, Node, Plugin, Points, Rejection, plugin};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    /// Milliseconds from a zone to others; the way back takes as long.
    latency: BTreeMap<String, BTreeMap<String, i64>>,
    #[serde(default = "zone")]
    label: String,
}

fn zone() -> String {
    "topology.kubernetes.io/zone".to_owned()
}

const NEAR: &str = "mizzen.dev/near";
const AT_MOST: &str = "mizzen.dev/max-latency-ms";

struct EdgeLocality {
    latency: BTreeMap<String, BTreeMap<String, i64>>,
    longest: i64,
    zone: Column<str>,
}

impl EdgeLocality {
    fn latency(&self, cycle: &Cycle, node: Node) -> Option<i64> {
        let (near, zone) = (cycle.pod.annotation(NEAR)?, node.get(self.zone)?);
        if near == zone {
            return Some(0);
        }
        let way = |from: &str, to: &str| self.latency.get(from)?.get(to).copied();
        way(near, zone).or_else(|| way(zone, near))
    }
}

impl Plugin for EdgeLocality {
    type Settings = Settings;
    const POINTS: Points = Points::FILTER.union(Points::SCORE);

    fn new(settings: Settings, columns: &mut Columns) -> Result<Self, String> {
        let longest = settings.latency.values().flat_map(BTreeMap::values).copied().max().unwrap_or(0).max(1);
        Ok(Self { latency: settings.latency, longest, zone: columns.text(format!("label/{}", settings.label)) })
    }

    fn filter(&mut self, cycle: &Cycle, node: Node) -> Result<(), Rejection> {
        let Some(most) = cycle.pod.annotation(AT_MOST).and_then(|it| it.parse().ok()) else { return Ok(()) };
        match self.latency(cycle, node) {
            Some(latency) if latency <= most => Ok(()),
            _ => Err(Rejection::never("node(s) were too far from the pod's users")),
        }
    }

    fn scores(&mut self, cycle: &Cycle) -> bool {
        cycle.pod.annotation(NEAR).is_some()
    }

    fn score(&mut self, cycle: &Cycle, node: Node) -> i64 {
        self.latency(cycle, node).map_or(0, |latency| 100 - 100 * latency.clamp(0, self.longest) / self.longest)
    }
}

plugin!(EdgeLocality);
