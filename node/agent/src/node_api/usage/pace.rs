//! How fast processor time goes, from what was seen before.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// Between two samples that a pace is made from lies at least this, as between the kubelet's.
const APART: SignedDuration = SignedDuration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    at: Timestamp,
    cpu: u64,
}

/// The last samples of each container, and of the node, that somebody asked for.
#[derive(Default)]
pub(crate) struct Paces(Mutex<HashMap<String, (Option<Seen>, Seen)>>);

impl Paces {
    /// Takes in what the counters say now, in nanoseconds, and answers each one's pace in billionths of a processor, where
    /// it was seen long enough before. What is not among them is forgotten.
    pub(super) fn take_in<'a>(&self, at: Timestamp, counters: impl IntoIterator<Item = (&'a str, u64)>) -> Vec<Option<u64>> {
        let mut known = self.0.lock();
        let mut kept = HashMap::new();
        let mut paces = Vec::new();
        for (id, cpu) in counters {
            let seen = Seen { at, cpu };
            let (base, latest) = match known.remove(id) {
                Some((base, latest)) if at.duration_since(latest.at) < APART => (base, latest),
                Some((_, latest)) => (Some(latest), seen),
                None => (None, seen),
            };
            paces.push(base.and_then(|base| pace(base, seen)));
            kept.insert(id.to_owned(), (base, latest));
        }
        *known = kept;
        paces
    }
}

fn pace(from: Seen, to: Seen) -> Option<u64> {
    let nanoseconds = u128::try_from(to.at.duration_since(from.at).as_nanos()).ok().filter(|elapsed| *elapsed > 0)?;
    u64::try_from(u128::from(to.cpu.checked_sub(from.cpu)?) * 1_000_000_000 / nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    #[test]
    fn a_pace_needs_samples_that_lie_apart() {
        let paces = Paces::default();
        let second = 1_000_000_000;
        assert_eq!(paces.take_in(at(0), [("a", 5 * second)]), [None]);
        assert_eq!(paces.take_in(at(4), [("a", 6 * second)]), [None], "too early to say");
        assert_eq!(paces.take_in(at(10), [("a", 10 * second)]), [Some(second / 2)]);
        assert_eq!(paces.take_in(at(12), [("a", 11 * second), ("b", 0)]), [Some(second / 2), None], "since the same sample");
        assert_eq!(paces.take_in(at(20), [("a", 11 * second)]), [Some(second / 10)]);
    }

    #[test]
    fn a_counter_that_began_anew_has_no_pace() {
        let paces = Paces::default();
        paces.take_in(at(0), [("a", 50)]);
        assert_eq!(paces.take_in(at(10), [("a", 20)]), [None]);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let paces = Paces::default();
        paces.take_in(at(0), [("a", 50)]);
        paces.take_in(at(10), []);
        assert_eq!(paces.take_in(at(20), [("a", 60)]), [None]);
    }
}
