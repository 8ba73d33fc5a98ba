//! Versions of the protocol.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What this build speaks.
pub const PROTOCOL_VERSION: Version = Version { major: 1, minor: 0 };

/// How far apart two minor versions may be and still understand each other.
const MINOR_WINDOW: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// Whether a side that speaks `self` understands one that speaks `peer`: the same major version, and minor versions
    /// at most two apart. Additions that a peer of the window would misread need a new major version.
    pub fn understands(self, peer: Version) -> bool {
        self.major == peer.major && self.minor.abs_diff(peer.minor) <= MINOR_WINDOW
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_minor_versions_back_are_understood_and_three_are_not() {
        let now = Version { major: 1, minor: 5 };
        assert!(now.understands(Version { major: 1, minor: 3 }));
        assert!(!now.understands(Version { major: 1, minor: 2 }));
        assert!(!now.understands(Version { major: 2, minor: 5 }));
    }
}
