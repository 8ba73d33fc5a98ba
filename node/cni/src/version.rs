//! Versions of the specification, and which of them is spoken. Pure.

use std::fmt;
use std::str::FromStr;

/// Of the specification, not of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

/// Those whose results this runtime reads.
const SPOKEN: [Version; 5] = [Version(0, 3, 0), Version(0, 3, 1), Version(0, 4, 0), Version(1, 0, 0), Version(1, 1, 0)];

impl Version {
    /// From which on there is `CHECK`, and `DEL` is told the result.
    pub(crate) const CHECKS: Self = Self(0, 4, 0);
    /// From which on there are `GC` and `STATUS`.
    pub(crate) const COLLECTS: Self = Self(1, 1, 0);
    /// With which plugins are asked for theirs.
    pub(crate) const NEWEST: Self = Self(1, 1, 0);

    pub(crate) fn is_spoken(self) -> bool {
        SPOKEN.contains(&self)
    }
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.').map(|part| part.parse().map_err(|_| ()));
        let mut next = || parts.next().unwrap_or(Ok(0));
        Ok(Self(next()?, next()?, next()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The newest of `offered` that this runtime and each plugin speak.
pub(crate) fn negotiate(offered: &[Version], plugins: &[Vec<Version>]) -> Option<Version> {
    let by_all = |version: &Version| version.is_spoken() && plugins.iter().all(|spoken| spoken.contains(version));
    offered.iter().copied().filter(by_all).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_all_speak_is_chosen() {
        let (old, one, new) = (Version(0, 4, 0), Version(1, 0, 0), Version(1, 1, 0));
        assert_eq!(negotiate(&[old, one, new], &[vec![old, one], vec![one, new]]), Some(one));
        assert_eq!(negotiate(&[new], &[vec![old, one]]), None);
        assert_eq!(negotiate(&[Version(2, 0, 0)], &[vec![Version(2, 0, 0)]]), None, "not by us");
        assert_eq!("1.1".parse(), Ok(new));
        assert!("one".parse::<Version>().is_err());
    }
}
