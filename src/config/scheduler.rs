//! What of the configuration is about the scheduler, in the words of `kubescheduler.config.k8s.io/v1`.

use mizzen_scheduler::profile::{ProfileConfig, Profiles};
use serde::Deserialize;

use super::ConfigError;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Scheduler {
    /// How many feasible nodes of a hundred are enough to choose from; 0 for a share by the size of the cluster.
    pub percentage_of_nodes_to_score: u8,
    /// Without effect: a cycle is decided on one thread, over batches of nodes.
    pub parallelism: Option<i32>,
    /// None: the default one.
    pub profiles: Vec<ProfileConfig>,
}

impl Scheduler {
    /// # Errors
    /// Names what is wrong.
    pub(super) fn checked(self) -> Result<Self, ConfigError> {
        if self.percentage_of_nodes_to_score > 100 {
            let why = format!("{} is more than 100 percent", self.percentage_of_nodes_to_score);
            return Err(ConfigError::Invalid { field: "scheduler.percentageOfNodesToScore", why });
        }
        if let Some(parallelism) = self.parallelism.filter(|parallelism| *parallelism < 1) {
            let why = format!("{parallelism} is less than 1");
            return Err(ConfigError::Invalid { field: "scheduler.parallelism", why });
        }
        let invalid = |error: mizzen_scheduler::profile::ProfileError| ConfigError::Invalid {
            field: "scheduler.profiles",
            why: error.to_string(),
        };
        Profiles::new(self.profiles.clone()).map_err(invalid)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_as_kubernetes_writes_them() {
        let text = "percentageOfNodesToScore: 30\nparallelism: 16\nprofiles:\n- schedulerName: packing\n  \
            percentageOfNodesToScore: 10\n  plugins:\n    queueSort: {enabled: [{name: PrioritySort}]}\n    score:\n      \
            enabled:\n      - {name: binpack, weight: 5}\n      disabled:\n      - {name: '*'}\n";
        let scheduler: Scheduler = serde_yaml_ng::from_str(text).expect("parses");
        let scheduler = scheduler.checked().expect("is valid");
        assert_eq!(scheduler.profiles[0].scheduler_name, "packing");
        assert_eq!(scheduler.profiles[0].plugins.score.enabled[0].weight, 5);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("percentageOfNodesToScore: 101", "scheduler.percentageOfNodesToScore: 101 is more than 100 percent"),
            ("parallelism: 0", "scheduler.parallelism: 0 is less than 1"),
            (
                "profiles: [{percentageOfNodesToScore: 101}]",
                "scheduler.profiles: profile \"default-scheduler\": percentageOfNodesToScore: 101 is more than 100 percent",
            ),
            (
                "profiles: [{plugins: {queueSort: {enabled: [{name: Coscheduling}]}}}]",
                "scheduler.profiles: profile \"default-scheduler\": queueSort: plugin \"Coscheduling\" cannot be enabled here: only \
                 PrioritySort is",
            ),
            ("profiles: [{}, {}]", "scheduler.profiles: there are two profiles with the schedulerName \"default-scheduler\""),
            (
                "profiles: [{pluginConfig: [{name: ImageLocality, args: {}}]}]",
                "scheduler.profiles: profile \"default-scheduler\": pluginConfig: plugin \"ImageLocality\": takes no args here; what \
                 components are told stands in their objects",
            ),
            (
                "profiles: [{plugins: {score: {enabled: [{name: a}, {name: a}]}}}]",
                "scheduler.profiles: profile \"default-scheduler\": score: plugin \"a\" is enabled twice",
            ),
        ] {
            let scheduler: Scheduler = serde_yaml_ng::from_str(text).expect("parses");
            assert_eq!(scheduler.checked().expect_err("is wrong").to_string(), expected);
        }
    }
}
