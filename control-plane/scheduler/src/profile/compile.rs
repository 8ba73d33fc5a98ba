//! From a configuration and the plugins there are to a profile.

use std::collections::HashMap;
use std::sync::Arc;

use super::config::{PluginRef, ProfileConfig};
use super::set::Loaded;
use super::{Enabled, Profile};
use crate::framework::{Plugin, Point, Points};

/// Plugins of Kubernetes that are no plugins here: their work is part of the cycle itself, and cannot be left out.
const BUILT_IN: &[&str] = &["PrioritySort", "SchedulingGates", "DefaultBinder"];

/// A plugin to be asked at some points, in a profile's order.
struct Wanted {
    plugin: Arc<dyn Plugin>,
    weight: i64,
    points: Points,
    is_native: bool,
}

struct Compiler<'a> {
    natives: &'a [Arc<dyn Plugin>],
    loaded: &'a [&'a Loaded],
    profile: Profile,
    slots: HashMap<String, usize>,
}

/// Puts a profile together. As in Kubernetes, what an extension point enables by itself comes first, then what
/// `multiPoint` brings; here, plugins whose own objects enable them come last.
pub(super) fn compile(config: &ProfileConfig, natives: &[Arc<dyn Plugin>], loaded: &[&Loaded]) -> Profile {
    let (scheduler_name, percentage) = (config.scheduler_name.clone(), config.percentage_of_nodes_to_score);
    let profile = Profile { scheduler_name, percentage, ..Profile::default() };
    let mut compiler = Compiler { natives, loaded, profile, slots: HashMap::new() };
    let everywhere = compiler.everywhere(config);
    for point in Point::ALL {
        let set = config.plugins.at(point);
        let own: Vec<Wanted> = set.enabled.iter().filter_map(|named| compiler.named(named)).collect();
        for wanted in own.iter().filter(|wanted| wanted.points.contains(point)) {
            compiler.enable(point, wanted, true);
        }
        let is_own = |wanted: &&Wanted| set.enabled.iter().any(|named| named.name == wanted.plugin.name());
        for wanted in everywhere.iter().filter(|wanted| !is_own(wanted) && !set.disables(wanted.plugin.name())) {
            if wanted.points.contains(point) {
                compiler.enable(point, wanted, false);
            }
        }
    }
    compiler.profile
}

impl Compiler<'_> {
    /// What is enabled at every point it has: the defaults as `multiPoint` changes them, and plugins by their own objects.
    fn everywhere(&mut self, config: &ProfileConfig) -> Vec<Wanted> {
        let set = &config.plugins.multi_point;
        let stated = |name: &str| set.enabled.iter().find(|named| named.name == name);
        let mut wanted: Vec<Wanted> = Vec::new();
        for native in self.natives {
            let name = native.name();
            let weight = stated(name).map_or(0, |named| named.weight);
            if stated(name).is_some() || !set.disables(name) {
                wanted.push(Wanted { weight, ..native_wanted(native) });
            }
        }
        for named in set.enabled.iter().filter(|named| !self.natives.iter().any(|native| native.name() == named.name)) {
            wanted.extend(self.named(named));
        }
        for loaded in self.loaded.iter().filter(|loaded| loaded.profiles.contains(&config.scheduler_name)) {
            let name = loaded.plugin.name();
            if stated(name).is_none() && !set.disables(name) {
                wanted.push(loaded_wanted(loaded));
            }
        }
        wanted
    }

    fn named(&mut self, named: &PluginRef) -> Option<Wanted> {
        let native = self.natives.iter().find(|native| native.name() == named.name).map(native_wanted);
        let loaded = || self.loaded.iter().find(|loaded| loaded.plugin.name() == named.name).map(|loaded| loaded_wanted(loaded));
        let found = native.or_else(loaded);
        if found.is_none() && !BUILT_IN.contains(&named.name.as_str()) && !self.profile.missing.contains(&named.name) {
            self.profile.missing.push(named.name.clone());
        }
        let wanted = found?;
        Some(Wanted { weight: if named.weight > 0 { named.weight } else { wanted.weight }, ..wanted })
    }

    fn enable(&mut self, point: Point, wanted: &Wanted, states_weight: bool) {
        let name = wanted.plugin.name();
        let weight = if wanted.weight > 0 { wanted.weight } else { wanted.plugin.weight().max(1) };
        let slot = match self.slots.get(name) {
            Some(slot) => *slot,
            None => {
                let slot = self.profile.plugins.len();
                let (is_native, is_shadow) = (wanted.is_native, wanted.plugin.is_shadow());
                self.profile.plugins.push(Enabled { plugin: wanted.plugin.clone(), weight, is_native, is_shadow });
                self.slots.insert(name.to_owned(), slot);
                slot
            }
        };
        if point == Point::Score && states_weight {
            self.profile.plugins[slot].weight = weight;
        }
        if !self.profile.plugins[slot].is_shadow {
            self.profile.order[point as usize].push(slot);
        } else if let Some((_, points)) = self.profile.shadows.iter_mut().find(|(known, _)| *known == slot) {
            *points = points.with(point);
        } else {
            self.profile.shadows.push((slot, Points::of(&[point])));
        }
    }
}

fn native_wanted(plugin: &Arc<dyn Plugin>) -> Wanted {
    Wanted { plugin: plugin.clone(), weight: 0, points: plugin.points(), is_native: true }
}

fn loaded_wanted(loaded: &Loaded) -> Wanted {
    let points = loaded.points.and(loaded.plugin.points());
    Wanted { plugin: loaded.plugin.clone(), weight: loaded.weight, points, is_native: false }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    struct Named(&'static str, Points, i64);

    impl Plugin for Named {
        fn name(&self) -> &str {
            self.0
        }

        fn points(&self) -> Points {
            self.1
        }

        fn weight(&self) -> i64 {
            self.2
        }
    }

    const BOTH: Points = Points::of(&[Point::Filter, Point::Score]);

    fn profile(config: Value, loaded: &[Loaded]) -> Profile {
        let natives: Vec<Arc<dyn Plugin>> = vec![
            Arc::new(Named("a", BOTH, 1)),
            Arc::new(Named("b", Points::of(&[Point::Filter]), 1)),
            Arc::new(Named("c", BOTH, 2)),
        ];
        let config = serde_json::from_value(config).expect("is a profile");
        compile(&config, &natives, &loaded.iter().collect::<Vec<_>>())
    }

    fn loaded(name: &'static str, profiles: &[&str], points: Points, weight: i64) -> Loaded {
        let profiles = profiles.iter().map(|name| (*name).to_owned()).collect();
        Loaded { plugin: Arc::new(Named(name, BOTH, 7)), profiles, points, weight }
    }

    fn names(profile: &Profile, point: Point) -> String {
        profile.at(point).map(|(_, plugin)| plugin.name()).collect()
    }

    fn weights(profile: &Profile) -> Vec<(&str, i64)> {
        profile.at(Point::Score).map(|(slot, plugin)| (plugin.name(), profile.plugins()[slot].weight)).collect()
    }

    #[test]
    fn the_default_has_every_native_plugin_at_its_points_with_its_weight() {
        let profile = profile(json!({}), &[]);
        assert_eq!((names(&profile, Point::Filter).as_str(), names(&profile, Point::Bind).as_str()), ("abc", ""));
        assert_eq!(weights(&profile), [("a", 1), ("c", 2)]);
    }

    #[test]
    fn what_a_point_says_itself_comes_first_and_counts_there() {
        let plugins = json!({"score": {"enabled": [{"name": "c", "weight": 9}], "disabled": [{"name": "a"}]}, "filter": {"disabled": [{"name": "*"}]}});
        let profile = profile(json!({"plugins": plugins}), &[]);
        assert_eq!(names(&profile, Point::Filter), "");
        assert_eq!(weights(&profile), [("c", 9)]);
    }

    #[test]
    fn plugins_at_all_their_points_are_enabled_by_name_or_by_their_own_objects() {
        let x = [
            loaded("x", &[], BOTH, 3),
            loaded("y", &["default-scheduler"], Points::of(&[Point::Score]), 0),
            loaded("z", &["other"], BOTH, 1),
        ];
        let multi = json!({"multiPoint": {"enabled": [{"name": "x"}, {"name": "c", "weight": 5}], "disabled": [{"name": "b"}]}});
        let own = profile(json!({"plugins": multi}), &x);
        assert_eq!((names(&own, Point::Filter).as_str(), names(&own, Point::Score).as_str()), ("acx", "acxy"));
        assert_eq!(weights(&own), [("a", 1), ("c", 5), ("x", 3), ("y", 7)]);
        assert!(own.missing().is_empty());
        let alone = json!({"multiPoint": {"enabled": [{"name": "x", "weight": 2}, {"name": "DefaultBinder"}], "disabled": [{"name": "*"}]}});
        let only = profile(json!({"plugins": alone}), &x);
        assert_eq!(weights(&only), [("x", 2)], "nothing else, nor what enables itself");
        let missing = profile(json!({"plugins": {"filter": {"enabled": [{"name": "nowhere"}]}}}), &x);
        assert_eq!(missing.missing(), ["nowhere"]);
    }
}
