//! Which components take part in which profiles, as their objects (`SchedulerPlugin` of `mizzen.dev`) say.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::plugin::points;
use super::{Component, FailurePolicy, Mode, WasmPlugin};
use crate::framework::{Point, Points};
use crate::profile::{Loaded, ProfileError, Profiles};

/// How an object wants its component to take part.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    mode: Mode,
    failure: FailurePolicy,
    points: Points,
    weight: i64,
    profiles: Vec<String>,
}

impl Part {
    /// Of an object's spec, defaulted and checked when it was written.
    fn of(spec: &Value) -> Self {
        let list = |field: &str| spec[field].as_array().map_or(&[][..], Vec::as_slice);
        let stated = list("extensionPoints");
        let named = |name: &str| stated.iter().find(|point| point["name"] == name);
        let is_wanted = |point: &Point| match point {
            // It brings the pod, and prepares what the others ask.
            Point::PreFilter => true,
            Point::PreScore => named("preScore").or_else(|| named("score")).is_some(),
            point => named(point.as_str()).is_some(),
        };
        Self {
            mode: if spec["mode"] == "shadow" { Mode::Shadow } else { Mode::Enforce },
            failure: if spec["failurePolicy"] == "Fail" { FailurePolicy::Closed } else { FailurePolicy::Open },
            points: Point::ALL.into_iter().filter(|point| stated.is_empty() || is_wanted(point)).collect(),
            weight: named("score").and_then(|point| point["weight"].as_i64()).unwrap_or(1),
            profiles: names(spec).map(str::to_owned).collect(),
        }
    }
}

fn names(spec: &Value) -> impl Iterator<Item = &str> {
    spec["schedulerNames"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The extension points that a spec names and that are not among `has`.
fn lacking(spec: &Value, has: Points) -> Vec<&str> {
    let stated = spec["extensionPoints"].as_array().into_iter().flatten().filter_map(|point| point["name"].as_str());
    let is_there = |name: &str| Point::ALL.into_iter().any(|point| point.as_str() == name && has.contains(point));
    stated.filter(|name| !is_there(name)).collect()
}

/// Keeps the plugins of profiles as objects want them. A cycle that has begun ends with the plugins that it began with.
pub struct Roster {
    profiles: Arc<Profiles>,
    /// What the profiles have, by object.
    present: Mutex<HashMap<String, (Arc<Component>, Part)>>,
}

impl Roster {
    pub fn new(profiles: Arc<Profiles>) -> Self {
        Self { profiles, present: Mutex::default() }
    }

    /// Lets the object's component take part as its spec says, in place of what took part for it before. Nothing happens when
    /// it does so already.
    ///
    /// # Errors
    /// When the object has the name of a native plugin.
    pub fn enter(&self, object: &str, spec: &Value, component: &Arc<Component>) -> Result<(), ProfileError> {
        let part = Part::of(spec);
        let mut present = self.present.lock();
        if present.get(object).is_some_and(|(at_work, as_part)| Arc::ptr_eq(at_work, component) && *as_part == part) {
            return Ok(());
        }
        let plugin = Arc::new(WasmPlugin::new(component.clone(), part.mode, part.failure));
        let Part { points, weight, profiles, .. } = part.clone();
        self.profiles.load(Loaded { plugin, profiles, points, weight })?;
        present.insert(object.to_owned(), (component.clone(), part));
        Ok(())
    }

    /// The profiles in which an object wants its component to take part, and that there are not.
    pub fn unknown<'a>(&self, spec: &'a Value) -> Vec<&'a str> {
        names(spec).filter(|name| !self.profiles.has(name)).collect()
    }

    /// The extension points at which an object wants its component to be asked, and that the component does not have.
    pub fn lacking<'a>(spec: &'a Value, component: &Component) -> Vec<&'a str> {
        lacking(spec, points(component.plugin().description().points, Mode::Enforce))
    }

    /// Takes the object's component out of all profiles.
    pub fn leave(&self, object: &str) {
        if self.present.lock().remove(object).is_some() {
            self.profiles.unload(object);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::profile::ProfileConfig;

    #[test]
    fn an_object_that_states_little_takes_part_wherever_it_can() {
        let part = Part::of(&json!({"schedulerNames": ["default-scheduler"], "failurePolicy": "Ignore", "mode": "enforce"}));
        assert_eq!((part.mode, part.failure, part.weight), (Mode::Enforce, FailurePolicy::Open, 1));
        assert_eq!((part.points, part.profiles.as_slice()), (Points::of(&Point::ALL), &["default-scheduler".to_owned()][..]));
    }

    #[test]
    fn profiles_that_there_are_not_are_known() {
        let roster = Roster::new(Profiles::new(vec![ProfileConfig::default()]).unwrap());
        assert_eq!(roster.unknown(&json!({"schedulerNames": ["typo", "default-scheduler"]})), ["typo"]);
        assert_eq!(roster.unknown(&json!({"schedulerNames": []})), [""; 0]);
    }

    #[test]
    fn stated_points_bring_what_they_need() {
        let points = json!([{"name": "score", "weight": 7}]);
        let part = Part::of(&json!({"extensionPoints": points, "failurePolicy": "Fail", "mode": "shadow"}));
        assert_eq!(part.points, Points::of(&[Point::PreFilter, Point::PreScore, Point::Score]));
        assert_eq!((part.mode, part.failure, part.weight), (Mode::Shadow, FailurePolicy::Closed, 7));
    }

    #[test]
    fn points_that_a_component_has_not_are_known() {
        let spec = json!({"extensionPoints": [{"name": "preFilter"}, {"name": "score", "weight": 7}, {"name": "permit"}]});
        let has = Points::of(&[Point::PreFilter, Point::Filter, Point::Score]);
        assert_eq!(lacking(&spec, has), ["permit"]);
        assert_eq!(lacking(&json!({}), has), [""; 0], "all that it has");
    }
}
