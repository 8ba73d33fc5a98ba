//! The profiles of a scheduler, and the plugins that are loaded while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::Profile;
use super::compile::compile;
use super::config::{self, PluginArgs, ProfileConfig, ProfileError};
use crate::framework::{Plugin, Points};
use crate::plugins;

/// A plugin that is not one of ours.
#[derive(Clone)]
pub struct Loaded {
    pub plugin: Arc<dyn Plugin>,
    /// Profiles, by their `schedulerName`, that ask it without naming it in their configuration.
    pub profiles: Vec<String>,
    /// Of its extension points, those that are enabled.
    pub points: Points,
    /// Of its scores where the profile states none; 0 for the plugin's own.
    pub weight: i64,
}

/// Shared by the scheduler, which takes a profile for each cycle, and by whoever loads plugins.
pub struct Profiles {
    /// Each with the native plugins as it tells them to be.
    config: Vec<(ProfileConfig, Vec<Arc<dyn Plugin>>)>,
    loaded: Mutex<BTreeMap<String, Loaded>>,
    current: RwLock<BTreeMap<String, Arc<Profile>>>,
    changes: watch::Sender<u64>,
}

impl Profiles {
    /// The default profile where none is stated.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn new(config: Vec<ProfileConfig>) -> Result<Arc<Self>, ProfileError> {
        let config = config::checked(config)?.into_iter().map(|profile| natives(&profile).map(|natives| (profile, natives)));
        let profiles = Self {
            config: config.collect::<Result<_, _>>()?,
            loaded: Mutex::default(),
            current: RwLock::default(),
            changes: watch::Sender::new(0),
        };
        profiles.compile(&BTreeMap::new());
        Ok(Arc::new(profiles))
    }

    /// Takes a plugin in, or swaps the one of the same name: cycles that have begun end with the old one.
    ///
    /// # Errors
    /// When a native plugin has the name.
    pub fn load(&self, plugin: Loaded) -> Result<(), ProfileError> {
        let name = plugin.plugin.name().to_owned();
        if self.config.iter().flat_map(|(_, natives)| natives).any(|native| native.name() == name) {
            return Err(ProfileError::NativeName(name));
        }
        let mut loaded = self.loaded.lock();
        loaded.insert(name, plugin);
        self.compile(&loaded);
        Ok(())
    }

    /// Takes a plugin out; `false` when there is none of this name.
    pub fn unload(&self, name: &str) -> bool {
        let mut loaded = self.loaded.lock();
        let was_there = loaded.remove(name).is_some();
        if was_there {
            self.compile(&loaded);
        }
        was_there
    }

    /// The profile of a `spec.schedulerName`; pods that have none are not ours.
    pub fn get(&self, scheduler_name: &str) -> Option<Arc<Profile>> {
        self.current.read().get(scheduler_name).cloned()
    }

    /// The `schedulerName`s, which never change.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.config.iter().map(|(profile, _)| profile.scheduler_name.as_str())
    }

    pub fn has(&self, scheduler_name: &str) -> bool {
        self.names().any(|name| name == scheduler_name)
    }

    /// Counts the changes of loaded plugins.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn compile(&self, loaded: &BTreeMap<String, Loaded>) {
        let loaded: Vec<&Loaded> = loaded.values().collect();
        let profiles = self.config.iter().map(|(config, natives)| {
            let profile = compile(config, natives, &loaded);
            (config.scheduler_name.clone(), Arc::new(profile))
        });
        *self.current.write() = profiles.collect();
        self.changes.send_modify(|count| *count += 1);
    }
}

/// All native plugins, those that the profile tells something as it wants them.
fn natives(profile: &ProfileConfig) -> Result<Vec<Arc<dyn Plugin>>, ProfileError> {
    let mut natives = plugins::all();
    for PluginArgs { name, args } in profile.plugin_config.iter().filter(|plugin| !plugin.args.is_null()) {
        let told = plugins::told(name, args).map_err(|why| ProfileError::Invalid {
            scheduler_name: profile.scheduler_name.clone(),
            point: "pluginConfig",
            why: format!("plugin {name:?}: {why}"),
        })?;
        natives.iter_mut().filter(|native| native.name() == name).for_each(|native| *native = told.clone());
    }
    Ok(natives)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use serde_json::json;

    use super::*;
    use crate::cycle::Cycle;
    use crate::node::NodeInfo;
    use crate::pod::PodInfo;
    use crate::resources::Amounts;
    use crate::snapshot::Snapshot;

    #[test]
    fn a_profile_tells_its_plugins_and_no_other_ones() {
        let packing = json!({"schedulerName": "packing", "pluginConfig": [{"name": "NodeResourcesFit", "args": {
            "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "NodeResourcesFitArgs",
            "scoringStrategy": {"type": "MostAllocated", "resources": [{"name": "cpu", "weight": 1}]}}}]});
        let config = [json!({}), packing].map(|profile| serde_json::from_value(profile).expect("is a profile"));
        let profiles = Profiles::new(config.into()).expect("is valid");
        let node = |name: &str, taken: i64| {
            let amounts = |milli_cpu| Amounts { milli_cpu, memory: milli_cpu, ..Amounts::default() };
            let (allocatable, requested) = (amounts(1000), amounts(taken));
            let scoring = (taken, taken);
            Arc::new(NodeInfo { name: name.into(), allocatable, requested, scoring, allowed_pods: 10, ..NodeInfo::default() })
        };
        let snapshot = Snapshot::of(vec![node("empty", 0), node("full", 500)]);
        let pod = PodInfo { scoring: (100, 100), ..PodInfo::default() };
        let chosen = |scheduler: &str| {
            let profile = profiles.get(scheduler).expect("is there");
            let decision = Cycle::new(0).run(&profile, &pod, &snapshot, &mut StdRng::seed_from_u64(1)).expect("there is room");
            decision.node().to_owned()
        };
        assert_eq!([chosen("default-scheduler"), chosen("packing")], ["empty", "full"]);
    }
}
