//! Pods that need only a part of a GPU share one.

use mizzen_scheduler_sdk::{Column, Columns, Cycle, Node, Plugin, Points, Rejection, plugin};
use serde::Deserialize;

/// Of pods: how many hundredths of one GPU they take.
const PERCENT: &str = "mizzen.dev/gpu-percent";

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    resource: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { resource: "nvidia.com/gpu".to_owned() }
    }
}

struct GpuFraction {
    gpus: Column<i64>,
    whole: Column<i64>,
    shares: Column<[String]>,
}

impl GpuFraction {
    /// What is left of each GPU that is shared: the shares are laid down the largest first, each where it fits best.
    fn left(&self, node: Node) -> Vec<u32> {
        let free = node.get(self.gpus).unwrap_or(0) - node.get(self.whole).unwrap_or(0);
        let mut left = vec![100; usize::try_from(free.clamp(0, 1024)).unwrap_or(0)];
        let shares = node.get(self.shares).unwrap_or_default();
        let mut shares: Vec<u32> = shares.iter().filter_map(|share| share.parse().ok()).collect();
        shares.sort_unstable_by(|a, b| b.cmp(a));
        for share in shares {
            if let Some(gpu) = left.iter_mut().filter(|gpu| **gpu >= share).min() {
                *gpu -= share;
            }
        }
        left
    }
}

impl Plugin for GpuFraction {
    type Settings = Settings;
    const POINTS: Points = Points::FILTER.union(Points::SCORE);

    fn new(settings: Settings, columns: &mut Columns) -> Result<Self, String> {
        Ok(Self {
            gpus: columns.integer(format!("allocatable/{}", settings.resource)),
            whole: columns.integer(format!("requested/{}", settings.resource)),
            shares: columns.texts(format!("pods-labelled/{PERCENT}")),
        })
    }

    fn filter(&mut self, cycle: &Cycle, node: Node) -> Result<(), Rejection> {
        let Some(text) = cycle.pod.label(PERCENT) else { return Ok(()) };
        let share = match text.parse::<u32>() {
            Ok(share @ 1..=100) => share,
            _ => return Err(Rejection::never(format!("pod's label {PERCENT} is no percentage"))),
        };
        if node.get(self.gpus).unwrap_or(0) == 0 {
            return Err(Rejection::never("node(s) had no GPU"));
        }
        match self.left(node).into_iter().any(|left| left >= share) {
            true => Ok(()),
            false => Err(Rejection::because("Insufficient GPU shares")),
        }
    }

    fn scores(&mut self, cycle: &Cycle) -> bool {
        cycle.pod.label(PERCENT).is_some()
    }

    /// The GPU that is fullest afterwards, so that whole ones stay free.
    fn score(&mut self, cycle: &Cycle, node: Node) -> i64 {
        let share = cycle.pod.label(PERCENT).and_then(|share| share.parse().ok()).unwrap_or(0u32);
        let best = self.left(node).into_iter().filter(|left| *left >= share).min();
        best.map_or(0, |left| i64::from(100 - (left - share)))
    }
}

plugin!(GpuFraction);
