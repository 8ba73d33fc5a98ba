//! Profiles: which plugins decide about the pods of a `schedulerName`, in which order and with what weight.

mod compile;
mod config;
mod fixed;
mod set;

use std::sync::Arc;

pub use config::{PluginArgs, PluginRef, PluginSet, PluginsConfig, ProfileConfig, ProfileError};
pub use set::{Loaded, Profiles};

use crate::framework::{Plugin, PluginError, Point, Points};
use crate::pod::PodInfo;

/// A plugin in a profile; its place among [`Profile::plugins`] stands for it in a cycle.
#[derive(Clone)]
pub struct Enabled {
    pub plugin: Arc<dyn Plugin>,
    /// Of its scores; at least 1.
    pub weight: i64,
    /// One of ours: its reasons are Kubernetes' own words, and stand without its name.
    pub is_native: bool,
    /// It only looks on.
    pub is_shadow: bool,
}

/// Immutable: a change of plugins makes a new one, which the next cycle takes.
#[derive(Clone, Default)]
pub struct Profile {
    scheduler_name: String,
    /// How many feasible nodes of a hundred are enough, where it says so itself; 0 for a share by the size of the cluster.
    percentage: Option<u8>,
    plugins: Vec<Enabled>,
    /// Places of the plugins of each extension point, in the order in which they are asked.
    order: [Vec<usize>; Point::ALL.len()],
    /// Places of the plugins that only look on, each with the points at which it is enabled.
    shadows: Vec<(usize, Points)>,
    /// Plugins that the configuration names and nobody has loaded yet: until then, no pod is scheduled.
    missing: Vec<String>,
}

impl Profile {
    pub fn scheduler_name(&self) -> &str {
        &self.scheduler_name
    }

    pub(crate) fn percentage(&self) -> Option<u8> {
        self.percentage
    }

    pub fn plugins(&self) -> &[Enabled] {
        &self.plugins
    }

    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Tells every plugin that took part that the attempt is over.
    pub(crate) fn end(&self, pod: &PodInfo) {
        self.plugins.iter().filter(|enabled| !enabled.is_shadow).for_each(|enabled| enabled.plugin.end(pod));
    }

    /// The plugins that only look on, with their places and the points at which they are enabled.
    pub fn shadows(&self) -> impl Iterator<Item = (usize, &Arc<dyn Plugin>, Points)> {
        self.shadows.iter().map(|(slot, points)| (*slot, &self.plugins[*slot].plugin, *points))
    }

    /// The same with plugins that can be asked while these are at work. Those that cannot be had are the error.
    pub(crate) fn aside(&self) -> (Self, Vec<(usize, PluginError)>) {
        let mut aside = self.clone();
        let mut errors = Vec::new();
        for (slot, enabled) in aside.plugins.iter_mut().enumerate() {
            match enabled.plugin.aside() {
                Ok(Some(plugin)) => enabled.plugin = plugin,
                Ok(None) => {}
                Err(error) => errors.push((slot, error)),
            }
        }
        (aside, errors)
    }

    /// The plugins of an extension point, each with its place. Those that only look on are not among them.
    pub fn at(&self, point: Point) -> impl DoubleEndedIterator<Item = (usize, &Arc<dyn Plugin>)> {
        self.order[point as usize].iter().map(|slot| (*slot, &self.plugins[*slot].plugin))
    }
}
