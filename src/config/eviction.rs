//! `evictionHard`: what has to be left of the node, in the kubelet's words.

use mizzen_agent::{EvictionHard, Least};
use serde::Deserialize;

use super::ConfigError;

/// Each a quantity or a percentage; the default's when left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    #[serde(rename = "memory.available")]
    memory_available: Option<String>,
    #[serde(rename = "nodefs.available")]
    nodefs_available: Option<String>,
    #[serde(rename = "nodefs.inodesFree")]
    nodefs_inodes_free: Option<String>,
    #[serde(rename = "pid.available")]
    pid_available: Option<String>,
}

impl Fields {
    /// # Errors
    /// Names the signal that is wrong.
    pub(super) fn resolve(&self) -> Result<EvictionHard, ConfigError> {
        let or = |field: &'static str, text: &Option<String>, default: Least| match text {
            Some(text) => text
                .parse()
                .map_err(|error: mizzen_agent::ParseLeastError| ConfigError::Invalid { field, why: error.to_string() }),
            None => Ok(default),
        };
        let default = EvictionHard::default();
        Ok(EvictionHard {
            memory_available: or("evictionHard.memory.available", &self.memory_available, default.memory_available)?,
            nodefs_available: or("evictionHard.nodefs.available", &self.nodefs_available, default.nodefs_available)?,
            nodefs_inodes_free: or("evictionHard.nodefs.inodesFree", &self.nodefs_inodes_free, default.nodefs_inodes_free)?,
            pid_available: or("evictionHard.pid.available", &self.pid_available, default.pid_available)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays_the_defaults_and_what_is_wrong_is_named() {
        let resolve = |text: &str| serde_yaml_ng::from_str::<Fields>(text).expect("parses").resolve();
        let own = resolve("nodefs.available: 1Gi\n").expect("is valid");
        assert_eq!(own, EvictionHard { nodefs_available: Least::Amount(1 << 30), ..EvictionHard::default() });
        let wrong = resolve("memory.available: much\n").expect_err("is refused").to_string();
        assert!(wrong.starts_with("evictionHard.memory.available: \"much\" is neither"), "{wrong}");
        assert!(serde_yaml_ng::from_str::<Fields>("imagefs.available: 1Gi\n").is_err());
    }
}
