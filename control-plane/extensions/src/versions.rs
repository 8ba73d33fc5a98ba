//! The order of API versions: general availability before beta before alpha, then the greater number
//! (`apimachinery/pkg/version`, "Version priority").

use std::cmp::Ordering;

/// Orders versions by priority, the preferred one first.
pub fn by_priority(left: &str, right: &str) -> Ordering {
    match (parsed(left), parsed(right)) {
        (Some(left), Some(right)) => right.cmp(&left),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        // Names that are no versions come last, in the order of the alphabet.
        (None, None) => left.cmp(right),
    }
}

/// Stability (2 for general availability), major, minor.
fn parsed(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let digits = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    for (word, stability) in [("alpha", 0), ("beta", 1)] {
        if let Some((major, minor)) = rest.split_once(word) {
            return Some((stability, digits(major)?, digits(minor)?));
        }
    }
    Some((2, digits(rest)?, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_discovery_orders_them() {
        let mut versions = ["v1", "foo10", "v11beta2", "v3beta1", "v10beta3", "v2", "foo1", "v12alpha1", "v11alpha2", "v10"];
        versions.sort_by(|left, right| by_priority(left, right));
        assert_eq!(versions, ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"]);
    }
}
