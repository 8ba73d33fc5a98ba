//! A scheduler plugin that does what its settings say, for the tests: lets pods onto nodes with a label `only`, `prefers` some, or
//! behaves `badly`.

use mizzen_scheduler_sdk::{Column, Columns, Cycle, Node, Plugin, Points, Rejection, plugin};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// A label of nodes.
    label: String,
    /// Its value on nodes that pods may go to; any when empty.
    only: String,
    /// Its value on nodes that are better than others.
    prefer: String,
    /// `trap`, `loop` or `grow`, when nodes are looked at.
    badly: String,
}

impl Default for Settings {
    fn default() -> Self {
        let label = "topology.kubernetes.io/zone".to_owned();
        Self { label, only: String::new(), prefer: String::new(), badly: String::new() }
    }
}

struct Choosy {
    settings: Settings,
    label: Column<str>,
}

impl Plugin for Choosy {
    type Settings = Settings;
    const POINTS: Points = Points::FILTER.union(Points::SCORE);

    fn new(settings: Settings, columns: &mut Columns) -> Result<Self, String> {
        let label = columns.text(format!("label/{}", settings.label));
        Ok(Self { settings, label })
    }

    fn filter(&mut self, _: &Cycle, node: Node) -> Result<(), Rejection> {
        match self.settings.badly.as_str() {
            "trap" => panic!("as it was told"),
            "loop" => loop {
                std::hint::black_box(());
            },
            "grow" => {
                let mut hoard: Vec<Vec<u8>> = Vec::new();
                loop {
                    hoard.push(vec![1; 1 << 20]);
                }
            }
            _ => {}
        }
        let only = self.settings.only.as_str();
        if only.is_empty() || node.get(self.label) == Some(only) {
            return Ok(());
        }
        Err(Rejection::never(format!("node(s) were not in {only} (plugin {})", env!("CARGO_PKG_VERSION"))))
    }

    fn score(&mut self, _: &Cycle, node: Node) -> i64 {
        if node.get(self.label) == Some(self.settings.prefer.as_str()) { 100 } else { 0 }
    }
}

plugin!(Choosy);
