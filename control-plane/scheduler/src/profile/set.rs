//! The profiles of a scheduler, and the plugins that are loaded while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::Profile;
use super::compile::compile;
use super::config::{self, ProfileConfig, ProfileError};
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
    config: Vec<ProfileConfig>,
    natives: Vec<Arc<dyn Plugin>>,
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
        let profiles = Self {
            config: config::checked(config)?,
            natives: plugins::all(),
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
        if self.natives.iter().any(|native| native.name() == name) {
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
        self.config.iter().map(|profile| profile.scheduler_name.as_str())
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
        let profiles = self.config.iter().map(|config| {
            let profile = compile(config, &self.natives, &loaded);
            (config.scheduler_name.clone(), Arc::new(profile))
        });
        *self.current.write() = profiles.collect();
        self.changes.send_modify(|count| *count += 1);
    }
}
