//! Names of interfaces, and which world a component is of.

use crate::error::LoadError;

/// Versions (`minor`, newest `patch`) of the packages of `plugins/wit` that this host links.
const OFFERED: &[(u64, u64)] = &[(1, 0)];
const OFFERED_TEXT: &str = "version 0.1";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum World {
    /// `mizzen:scheduler/scheduler-plugin`
    Scheduler,
    /// `mizzen:policy/admission-policy`
    Policy,
    /// A core module that is a policy of Kubewarden.
    Kubewarden,
    /// Any other core module.
    Module,
}

impl World {
    /// With its article.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "a scheduler plugin",
            Self::Policy => "an admission policy",
            Self::Kubewarden => "a Kubewarden policy",
            Self::Module => "a core module",
        }
    }
}

/// `package/name@version`, or what of it there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interface<'a> {
    /// Without version, such as `wasi:io/poll`.
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
}

impl<'a> Interface<'a> {
    pub(crate) fn of(name: &'a str) -> Self {
        let (name, version) = name.split_once('@').unwrap_or((name, ""));
        Self { name, version }
    }

    /// Whether a component that wants this version of ours can be linked.
    pub(crate) fn is_offered(self) -> bool {
        let mut parts = self.version.split('.').map(str::parse::<u64>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(0)), Some(Ok(minor)), Some(Ok(patch)), None) => {
                OFFERED.iter().any(|(offered, newest)| *offered == minor && patch <= *newest)
            }
            _ => false,
        }
    }
}

/// The world that a component's exports make it a part of, and its version.
///
/// # Errors
/// When there is none, or it is of a version that is not linked.
pub(super) fn find(exports: &[String]) -> Result<(World, String), LoadError> {
    for export in exports {
        let interface = Interface::of(export);
        let world = match interface.name {
            "mizzen:scheduler/plugin" => World::Scheduler,
            "mizzen:policy/policy" => World::Policy,
            _ => continue,
        };
        if !interface.is_offered() {
            return Err(LoadError::Version { name: export.clone(), offered: OFFERED_TEXT });
        }
        return Ok((world, interface.version.to_owned()));
    }
    let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
    Err(LoadError::NoWorld { exports })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(exports: &[&str]) -> Result<(World, String), LoadError> {
        find(&exports.iter().map(|export| (*export).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_world_is_what_the_exports_say() {
        assert_eq!(of(&["mizzen:scheduler/plugin@0.1.0"]).unwrap(), (World::Scheduler, "0.1.0".to_owned()));
        assert_eq!(of(&["other", "mizzen:policy/policy@0.1.0"]).unwrap(), (World::Policy, "0.1.0".to_owned()));
    }

    #[test]
    fn other_exports_and_versions_are_named() {
        let error = of(&["wasi:cli/run@0.2.3"]).unwrap_err().to_string();
        assert!(error.contains("wasi:cli/run@0.2.3"), "{error}");
        assert!(of(&[]).unwrap_err().to_string().contains("nothing"));
        for version in ["@0.2.0", "@1.1.0", "@0.1.7", "@0.1", "@0.1.0-rc.1", "@0.1.0.0", ""] {
            let name = format!("mizzen:policy/policy{version}");
            assert!(matches!(of(&[&name]), Err(LoadError::Version { .. })), "{name}");
        }
    }
}
