//! Profiles as they are written in the configuration: `KubeSchedulerConfiguration` of `kubescheduler.config.k8s.io/v1`.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use super::fixed;
use crate::framework::Point;

pub const DEFAULT_SCHEDULER: &str = "default-scheduler";

#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("there are two profiles with the schedulerName {0:?}")]
    Twice(String),
    #[error("profile {scheduler_name:?}: {point}: {why}")]
    Invalid { scheduler_name: String, point: &'static str, why: String },
    #[error("{0:?} is the name of a native plugin")]
    NativeName(String),
}

/// One profile.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProfileConfig {
    /// Pods with this `spec.schedulerName` are its.
    pub scheduler_name: String,
    /// How many feasible nodes of a hundred are enough for its pods; the scheduler's own number when left out.
    pub percentage_of_nodes_to_score: Option<u8>,
    /// Changes to the default plugins.
    pub plugins: PluginsConfig,
    /// What native plugins are told.
    pub plugin_config: Vec<PluginArgs>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginArgs {
    pub name: String,
    #[serde(default)]
    pub args: Value,
}

impl Default for ProfileConfig {
    fn default() -> Self {
        Self {
            scheduler_name: DEFAULT_SCHEDULER.to_owned(),
            percentage_of_nodes_to_score: None,
            plugins: PluginsConfig::default(),
            plugin_config: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PluginsConfig {
    /// All extension points that a plugin has.
    pub multi_point: PluginSet,
    /// This and the next are work of the queue, and `post_bind` is nobody's: see [`fixed`](super::fixed).
    pub queue_sort: PluginSet,
    pub pre_enqueue: PluginSet,
    pub post_bind: PluginSet,
    pub pre_filter: PluginSet,
    pub filter: PluginSet,
    pub post_filter: PluginSet,
    pub pre_score: PluginSet,
    pub score: PluginSet,
    pub reserve: PluginSet,
    pub permit: PluginSet,
    pub pre_bind: PluginSet,
    pub bind: PluginSet,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginSet {
    /// Asked in this order; at one extension point, before those that `multiPoint` brings.
    pub enabled: Vec<PluginRef>,
    /// Left out of the defaults; `*` for all.
    pub disabled: Vec<PluginRef>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginRef {
    pub name: String,
    /// Of its scores; the plugin's own when left out or 0.
    #[serde(default)]
    pub weight: i64,
}

impl PluginsConfig {
    pub(super) fn at(&self, point: Point) -> &PluginSet {
        match point {
            Point::PreFilter => &self.pre_filter,
            Point::Filter => &self.filter,
            Point::PostFilter => &self.post_filter,
            Point::PreScore => &self.pre_score,
            Point::Score => &self.score,
            Point::Reserve => &self.reserve,
            Point::Permit => &self.permit,
            Point::PreBind => &self.pre_bind,
            Point::Bind => &self.bind,
        }
    }
}

impl PluginSet {
    pub(super) fn disables(&self, name: &str) -> bool {
        self.disabled.iter().any(|plugin| plugin.name == name || plugin.name == "*")
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let mut seen = HashSet::new();
        for plugin in &self.enabled {
            if plugin.name.is_empty() {
                return Err("a plugin has no name".to_owned());
            }
            if !seen.insert(&plugin.name) {
                return Err(format!("plugin {:?} is enabled twice", plugin.name));
            }
            if !(0..=100).contains(&plugin.weight) {
                return Err(format!("plugin {:?}: weight {} is not between 0 and 100", plugin.name, plugin.weight));
            }
        }
        Ok(())
    }
}

/// The default profile where none is stated.
///
/// # Errors
/// Names what is wrong.
pub(super) fn checked(profiles: Vec<ProfileConfig>) -> Result<Vec<ProfileConfig>, ProfileError> {
    if profiles.is_empty() {
        return Ok(vec![ProfileConfig::default()]);
    }
    let mut names = HashSet::new();
    for profile in &profiles {
        if !names.insert(&profile.scheduler_name) {
            return Err(ProfileError::Twice(profile.scheduler_name.clone()));
        }
        let sets = Point::ALL.map(|point| (point.as_str(), profile.plugins.at(point)));
        for (point, set) in sets.into_iter().chain([("multiPoint", &profile.plugins.multi_point)]) {
            let scheduler_name = profile.scheduler_name.clone();
            set.check().map_err(|why| ProfileError::Invalid { scheduler_name, point, why })?;
        }
        fixed::check(&profile.plugins).map_err(|(point, why)| ProfileError::Invalid {
            scheduler_name: profile.scheduler_name.clone(),
            point,
            why,
        })?;
        if let Some(percentage) = profile.percentage_of_nodes_to_score.filter(|percentage| *percentage > 100) {
            let (scheduler_name, why) = (profile.scheduler_name.clone(), format!("{percentage} is more than 100 percent"));
            return Err(ProfileError::Invalid { scheduler_name, point: "percentageOfNodesToScore", why });
        }
        let mut told = HashSet::new();
        if let Some(twice) = profile.plugin_config.iter().find(|plugin| !told.insert(&plugin.name)) {
            let (scheduler_name, why) = (profile.scheduler_name.clone(), format!("{:?} is there twice", twice.name));
            return Err(ProfileError::Invalid { scheduler_name, point: "pluginConfig", why });
        }
        if profile.scheduler_name.is_empty() {
            let why = "has to be a name".to_owned();
            return Err(ProfileError::Invalid { scheduler_name: String::new(), point: "schedulerName", why });
        }
    }
    Ok(profiles)
}
