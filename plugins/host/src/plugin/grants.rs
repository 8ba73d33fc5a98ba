//! Imports are permissions: what a component may import.

use std::collections::BTreeSet;

use crate::artifact::{Interface, World};
use crate::error::LoadError;
use crate::kubewarden;

/// What an object allows its plugin beyond what every plugin has: names of interfaces, with or without version, or of
/// packages, such as `wasi:sockets`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(pub BTreeSet<String>);

/// The parts of WASI that reach nothing: there are no variables, no directories, and the standard streams are the log.
/// Runtimes of ordinary languages import them whether they are used or not.
pub(crate) const INERT: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/timezone",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// Whether every plugin of the world may import it.
pub(crate) fn always(import: &str, world: World) -> bool {
    if world == World::Kubewarden {
        return kubewarden::offers(import);
    }
    let interface = Interface::of(import);
    match interface.name {
        "mizzen:plugin/log" | "mizzen:plugin/clock" | "mizzen:plugin/random" | "mizzen:plugin/metrics" => interface.is_offered(),
        "mizzen:policy/types" | "mizzen:policy/context" => world == World::Policy && interface.is_offered(),
        "mizzen:scheduler/types" | "mizzen:scheduler/cluster" => world == World::Scheduler && interface.is_offered(),
        name => interface.version.starts_with("0.2.") && INERT.contains(&name),
    }
}

impl Grants {
    /// What to say of an import that not every plugin may have. This host offers nothing that could be granted yet, and says
    /// so instead of loading what would not work.
    ///
    /// # Errors
    /// Always, at present.
    pub(crate) fn check(&self, import: &str) -> Result<(), LoadError> {
        let name = Interface::of(import).name;
        let package = name.split_once('/').map_or(name, |(package, _)| package);
        let granted = [import, name, package].iter().any(|of| self.0.contains(*of));
        let name = import.to_owned();
        Err(if granted { LoadError::Unoffered { name } } else { LoadError::Import { name } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_nothing_is_always_granted_and_the_rest_by_world() {
        for (import, policy, scheduler) in [
            ("wasi:cli/environment@0.2.0", true, true),
            ("wasi:io/streams@0.2.12", true, true),
            ("wasi:io/streams@0.3.0", false, false),
            ("wasi:sockets/tcp@0.2.0", false, false),
            ("wasi:http/outgoing-handler@0.2.0", false, false),
            ("mizzen:plugin/log@0.1.0", true, true),
            ("mizzen:plugin/log@0.9.0", false, false),
            ("mizzen:policy/context@0.2.0", true, false),
            ("mizzen:policy/context@0.1.0", true, false),
            ("mizzen:scheduler/cluster@0.2.0", false, true),
            ("mizzen:scheduler/cluster@0.1.0", false, true),
            ("evil:host/shell", false, false),
        ] {
            assert_eq!(always(import, World::Policy), policy, "{import}");
            assert_eq!(always(import, World::Scheduler), scheduler, "{import}");
        }
        for import in ["wapc.__host_call", "wasi_snapshot_preview1.fd_write", "host.call", "kubewarden:javy/host.call"] {
            assert!(always(import, World::Kubewarden) && !always(import, World::Policy), "{import}");
        }
        for import in ["wapc.__shell", "env.fork", "wasi_snapshot_preview1.fork", "host.shell", "call"] {
            assert!(!always(import, World::Kubewarden), "{import}");
        }
    }

    #[test]
    fn an_import_that_is_granted_but_not_there_is_told_apart() {
        let grants = Grants(BTreeSet::from(["wasi:sockets".to_owned()]));
        let said = |import| grants.check(import).unwrap_err().to_string();
        assert!(said("wasi:sockets/tcp@0.2.0").contains("does not offer"));
        assert!(said("wasi:http/types@0.2.0").contains("wasi:http/types@0.2.0, which is not granted"));
    }
}
