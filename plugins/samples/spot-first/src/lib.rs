//! Cheap nodes that may go at any time come first, the others when they are full.

use mizzen_scheduler_sdk::{Column, Columns, Cycle, Node, Plugin, Points, Rejection, plugin};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    label: String,
    value: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { label: "mizzen.dev/capacity".to_owned(), value: "spot".to_owned() }
    }
}

struct SpotFirst {
    value: String,
    label: Column<str>,
}

impl SpotFirst {
    fn is_spot(&self, node: Node) -> bool {
        node.get(self.label) == Some(self.value.as_str())
    }
}

impl Plugin for SpotFirst {
    type Settings = Settings;
    const POINTS: Points = Points::FILTER.union(Points::SCORE);

    fn new(settings: Settings, columns: &mut Columns) -> Result<Self, String> {
        Ok(Self { value: settings.value, label: columns.text(format!("label/{}", settings.label)) })
    }

    fn filter(&mut self, cycle: &Cycle, node: Node) -> Result<(), Rejection> {
        match cycle.pod.annotation("mizzen.dev/spot") {
            Some("never") if self.is_spot(node) => Err(Rejection::never("node(s) may go at any time")),
            Some("only") if !self.is_spot(node) => Err(Rejection::never("node(s) were no spot capacity")),
            _ => Ok(()),
        }
    }

    fn score(&mut self, _: &Cycle, node: Node) -> i64 {
        if self.is_spot(node) { 100 } else { 0 }
    }
}

plugin!(SpotFirst);
