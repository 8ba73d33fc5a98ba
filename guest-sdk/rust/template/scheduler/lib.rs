use mizzen_scheduler_sdk::{Column, Columns, Cycle, Node, Plugin, Points, plugin};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// A label of nodes.
    label: String,
    /// Its values, the most wanted first.
    values: Vec<String>,
}

/// Prefers nodes by the value of a label.
struct PreferLabel {
    values: Vec<String>,
    label: Column<str>,
}

impl Plugin for PreferLabel {
    type Settings = Settings;
    const POINTS: Points = Points::SCORE;

    fn new(settings: Settings, columns: &mut Columns) -> Result<Self, String> {
        if settings.values.is_empty() {
            return Err("values: name at least one".to_owned());
        }
        Ok(Self { values: settings.values, label: columns.text(format!("label/{}", settings.label)) })
    }

    fn score(&mut self, _: &Cycle, node: Node) -> i64 {
        let Some(value) = node.get(self.label) else { return 0 };
        let Some(place) = self.values.iter().position(|wanted| wanted == value) else { return 0 };
        (100 * (self.values.len() - place) / self.values.len()) as i64
    }
}

plugin!(PreferLabel);

#[cfg(test)]
mod tests {
    use mizzen_scheduler_sdk::testing::{Bench, pod};

    use super::*;

    #[test]
    fn the_most_wanted_value_scores_best() {
        let mut bench: Bench<PreferLabel> = Bench::new(
            r#"{"label": "zone", "values": ["north", "south"]}"#,
            &[("a", &[("label/zone", "north".into())]), ("b", &[("label/zone", "south".into())]), ("c", &[])],
        );
        let scores = bench.scores(&pod("web", &[], &[]));
        assert_eq!([scores["a"], scores["b"], scores["c"]], [100, 50, 0]);
    }
}
