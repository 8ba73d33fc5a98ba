//! Where the electricity is cleanest just now.

use mizzen_scheduler_sdk::{Column, Columns, Cycle, Node, Plugin, Points, plugin};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    annotation: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { annotation: "mizzen.dev/carbon-intensity".to_owned() }
    }
}

struct CarbonAware {
    intensity: Column<str>,
}

impl CarbonAware {
    /// Grams of CO2 for a kilowatt-hour.
    fn intensity(&self, node: Node) -> Option<f64> {
        node.get(self.intensity)?.parse().ok().filter(|grams: &f64| grams.is_finite())
    }
}

impl Plugin for CarbonAware {
    type Settings = Settings;
    const POINTS: Points = Points::PRE_SCORE.union(Points::SCORE);

    fn new(settings: Settings, columns: &mut Columns) -> Result<Self, String> {
        Ok(Self { intensity: columns.text(format!("annotation/{}", settings.annotation)) })
    }

    /// The cleanest and the dirtiest of the nodes that are left: the scores lie between them.
    fn pre_score(&mut self, cycle: &Cycle, feasible: &[u32]) -> Vec<u8> {
        let all = feasible.iter().filter_map(|row| self.intensity(cycle.cluster.node(*row)));
        let (least, most) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), it| (least.min(it), most.max(it)));
        [least.to_le_bytes(), most.to_le_bytes()].concat()
    }

    fn score(&mut self, cycle: &Cycle, node: Node) -> i64 {
        let at = |n: usize| Some(f64::from_le_bytes(cycle.state.get(n..n + 8)?.try_into().ok()?));
        let (Some(least), Some(most), Some(own)) = (at(0), at(8), self.intensity(node)) else { return 0 };
        if most <= least { 100 } else { (100.0 * (most - own) / (most - least)) as i64 }
    }
}

plugin!(CarbonAware);
