//! Names of interfaces, and which world a component is of.

use crate::error::LoadError;

/// What this host links of a package of `plugins/wit`: the minor version that it has now with its newest patch, and the one
/// before.
struct Offer {
    package: &'static str,
    current: (u64, u64),
    previous: Option<(u64, u64)>,
}

const OFFERS: &[Offer] = &[
    Offer { package: "mizzen:plugin", current: (1, 0), previous: None },
    Offer { package: "mizzen:policy", current: (2, 0), previous: Some((1, 0)) },
    Offer { package: "mizzen:scheduler", current: (2, 0), previous: Some((1, 0)) },
];

/// Which of the linked minor versions of its world a component was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Minor {
    Current,
    Previous,
}

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

    fn offer(self) -> Option<&'static Offer> {
        let package = self.name.split_once('/').map_or(self.name, |(package, _)| package);
        OFFERS.iter().find(|offer| offer.package == package)
    }

    /// Whether a package of ours is meant, in whatever version.
    fn is_ours(self) -> bool {
        self.offer().is_some()
    }

    /// Major, minor and patch.
    fn numbers(self) -> Option<(u64, u64, u64)> {
        let mut parts = self.version.split('.').map(|part| part.parse::<u64>().ok());
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(major), Some(minor), Some(patch), None) => Some((major?, minor?, patch?)),
            _ => None,
        }
    }

    /// How a component that wants this version of ours is linked; `None` when it cannot be.
    pub(crate) fn minor(self) -> Option<Minor> {
        let offer = self.offer()?;
        let (0, minor, patch) = self.numbers()? else { return None };
        let is = |(offered, newest): (u64, u64)| offered == minor && patch <= newest;
        match offer {
            Offer { current, .. } if is(*current) => Some(Minor::Current),
            Offer { previous: Some(previous), .. } if is(*previous) => Some(Minor::Previous),
            _ => None,
        }
    }

    pub(crate) fn is_offered(self) -> bool {
        self.minor().is_some()
    }

    /// # Errors
    /// When it is of ours, in a version that this host does not link.
    pub(crate) fn check(self) -> Result<(), LoadError> {
        if self.is_ours() && !self.is_offered() { Err(self.refusal()) } else { Ok(()) }
    }

    /// Why a version of ours is none that this host links.
    pub(crate) fn refusal(self) -> LoadError {
        let name = if self.version.is_empty() { self.name.to_owned() } else { format!("{}@{}", self.name, self.version) };
        let Some(Offer { current, previous, .. }) = self.offer() else { return LoadError::Unoffered { name } };
        let offered = match previous {
            Some(previous) => format!("versions 0.{} and 0.{}", current.0, previous.0),
            None => format!("version 0.{}", current.0),
        };
        let advice = match self.numbers() {
            Some((0, minor, patch)) if (minor, patch) < *current => {
                "it is too old: build it again with the SDK of `mizzen plugin new`"
            }
            Some(_) => "it is too new: it needs a newer server, or to be built with this one's SDK",
            None => "that is no version: build it again with the SDK of `mizzen plugin new`",
        };
        LoadError::Version { name, offered, advice }
    }
}

/// The world that a component's exports make it a part of, its version, and how that is linked.
///
/// # Errors
/// When there is none, or it is of a version that is not linked.
pub(super) fn find(exports: &[String]) -> Result<(World, String, Minor), LoadError> {
    for export in exports {
        let interface = Interface::of(export);
        let world = match interface.name {
            "mizzen:scheduler/plugin" => World::Scheduler,
            "mizzen:policy/policy" => World::Policy,
            _ => continue,
        };
        let minor = interface.minor().ok_or_else(|| interface.refusal())?;
        return Ok((world, interface.version.to_owned(), minor));
    }
    let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
    Err(LoadError::NoWorld { exports })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(exports: &[&str]) -> Result<(World, String, Minor), LoadError> {
        find(&exports.iter().map(|export| (*export).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_world_is_what_the_exports_say() {
        let expected = |world, version: &str, minor| (world, version.to_owned(), minor);
        let scheduler = of(&["mizzen:scheduler/plugin@0.1.0"]).unwrap();
        assert_eq!(scheduler, expected(World::Scheduler, "0.1.0", Minor::Previous));
        let policy = of(&["other", "mizzen:policy/policy@0.2.0"]).unwrap();
        assert_eq!(policy, expected(World::Policy, "0.2.0", Minor::Current));
    }

    #[test]
    fn imports_of_ours_are_of_a_version_that_is_linked_and_others_are_not_looked_at() {
        for fine in ["mizzen:policy/context@0.1.0", "mizzen:plugin/log@0.1.0", "wasi:http/types@9.9.9", "host.call"] {
            assert!(Interface::of(fine).check().is_ok(), "{fine}");
        }
        let said = |name| Interface::of(name).check().unwrap_err().to_string();
        assert!(
            said("mizzen:plugin/log@0.2.0").contains("mizzen:plugin/log@0.2.0, this server offers version 0.1: it is too new")
        );
        assert!(said("mizzen:scheduler/cluster@0.3.0").contains("versions 0.2 and 0.1"));
    }

    #[test]
    fn other_exports_are_named() {
        let error = of(&["wasi:cli/run@0.2.3"]).unwrap_err().to_string();
        assert!(error.contains("wasi:cli/run@0.2.3"), "{error}");
        assert!(of(&[]).unwrap_err().to_string().contains("nothing"));
    }

    #[test]
    fn other_versions_are_named_with_those_that_are_offered_and_what_to_do() {
        let cases = [
            ("@0.3.0", "too new"),
            ("@1.1.0", "too new"),
            ("@0.2.7", "too new"),
            ("@0.0.9", "too old"),
            ("@0.1.7", "too old"),
            ("@0.1", "no version"),
            ("@0.1.0-rc.1", "no version"),
            ("@0.1.0.0", "no version"),
            ("", "no version"),
        ];
        for (version, advice) in cases {
            let name = format!("mizzen:policy/policy{version}");
            let error = of(&[&name]).unwrap_err();
            assert!(matches!(error, LoadError::Version { .. }), "{name}");
            let error = error.to_string();
            assert!(error.contains(&name) && error.contains("versions 0.2 and 0.1") && error.contains(advice), "{error}");
        }
    }
}
