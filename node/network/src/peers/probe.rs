//! Whether other nodes answer by the ways to their pods: a route does not know what a firewall between machines drops. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Who is asked at one time: of thousands, each has its turn.
const AT_ONCE: usize = 32;
/// Who is silent for so long is said to be. By then the cluster knows of a node that went down.
const SILENCE: Duration = Duration::from_secs(60);
/// And did not answer so often: this process may have been stopped for a while.
const MISSED: u32 = 3;

/// The other nodes, by the address that is asked.
#[derive(Default)]
pub(crate) struct Probes(BTreeMap<IpAddr, Probe>);

struct Probe {
    node: String,
    asked: Option<Instant>,
    /// The first time without an answer since the last one, and how often.
    missing: Option<(Instant, u32)>,
}

impl Probe {
    fn is_silent(&self, now: Instant) -> bool {
        self.missing.is_some_and(|(since, missed)| missed >= MISSED && now.duration_since(since) >= SILENCE)
    }
}

impl Probes {
    /// Asks these from now on, and no others.
    pub(crate) fn watch(&mut self, wanted: &BTreeMap<IpAddr, String>) {
        self.0.retain(|address, probe| wanted.get(address) == Some(&probe.node));
        for (address, node) in wanted {
            let new = || Probe { node: node.clone(), asked: None, missing: None };
            self.0.entry(*address).or_insert_with(new);
        }
    }

    pub(crate) fn answered(&mut self, by: IpAddr) {
        if let Some(probe) = self.0.get_mut(&by) {
            probe.missing = None;
        }
    }

    /// Whom to ask now: first those of whom it is not clear yet, then who was asked longest ago.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<IpAddr> {
        let mut all: Vec<_> = self.0.iter_mut().collect();
        all.sort_by_key(|(_, probe)| (probe.missing.is_none() || probe.is_silent(now), probe.asked));
        all.truncate(AT_ONCE);
        let ask = |(address, probe): (&IpAddr, &mut Probe)| {
            probe.asked = Some(now);
            let (since, missed) = probe.missing.unwrap_or((now, 0));
            probe.missing = Some((since, missed + 1));
            *address
        };
        all.into_iter().map(ask).collect()
    }

    /// Who does not answer, and where.
    pub(crate) fn silent(&self, now: Instant) -> Vec<(String, IpAddr)> {
        let silent = self.0.iter().filter(|(_, probe)| probe.is_silent(now));
        silent.map(|(address, probe)| (probe.node.clone(), *address)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_secs(3);

    fn address(number: u8) -> IpAddr {
        IpAddr::from([10, 64, number, 1])
    }

    fn watching(count: u8) -> Probes {
        let mut probes = Probes::default();
        probes.watch(&(0..count).map(|number| (address(number), format!("n{number}"))).collect());
        probes
    }

    /// Asks who is due, every turn, of whom all but these answer; who is silent in the end.
    fn turns(probes: &mut Probes, now: &mut Instant, count: u32, mute: &[u8]) -> Vec<String> {
        for _ in 0..count {
            for asked in probes.due(*now) {
                if !mute.iter().any(|number| address(*number) == asked) {
                    probes.answered(asked);
                }
            }
            *now += TURN;
        }
        probes.silent(*now).into_iter().map(|(node, _)| node).collect()
    }

    #[test]
    fn who_does_not_answer_for_a_minute_is_silent_and_one_answer_ends_it() {
        let (mut probes, mut now) = (watching(3), Instant::now());
        assert_eq!(turns(&mut probes, &mut now, 19, &[1]), [""; 0]);
        assert_eq!(turns(&mut probes, &mut now, 1, &[1]), ["n1"]);
        assert_eq!(turns(&mut probes, &mut now, 1, &[]), [""; 0]);
        assert_eq!(turns(&mut probes, &mut now, 19, &[0]), [""; 0], "it counts anew");
    }

    #[test]
    fn a_process_that_was_stopped_asks_again_before_it_says_anything() {
        let (mut probes, mut now) = (watching(1), Instant::now());
        turns(&mut probes, &mut now, 1, &[0]);
        now += Duration::from_secs(600);
        assert!(probes.silent(now).is_empty());
        assert_eq!(turns(&mut probes, &mut now, 1, &[0]), [""; 0]);
        assert_eq!(turns(&mut probes, &mut now, 1, &[0]), ["n0"]);
    }

    #[test]
    fn of_many_some_are_asked_at_a_time_and_all_have_their_turn() {
        let (mut probes, now) = (watching(100), Instant::now());
        let mut asked = Vec::new();
        for turn in 0..4 {
            let due = probes.due(now + TURN * turn);
            assert_eq!(due.len(), AT_ONCE);
            due.iter().for_each(|address| probes.answered(*address));
            asked.extend(due);
        }
        asked.sort();
        asked.dedup();
        assert_eq!(asked.len(), 100);
    }

    #[test]
    fn who_may_be_silent_is_asked_before_others_and_who_is_waits_for_its_turn() {
        let (mut probes, mut now) = (watching(100), Instant::now());
        assert_eq!(turns(&mut probes, &mut now, 30, &[99]), ["n99"]);
        let asked = (0..3).filter(|_| {
            let due = probes.due(now);
            due.iter().filter(|due| **due != address(99)).for_each(|due| probes.answered(*due));
            now += TURN;
            due.contains(&address(99))
        });
        assert!(asked.count() <= 1);
    }

    #[test]
    fn who_is_no_more_or_is_another_node_starts_anew() {
        let (mut probes, mut now) = (watching(2), Instant::now());
        assert_eq!(turns(&mut probes, &mut now, 20, &[0, 1]), ["n0", "n1"]);
        probes.watch(&BTreeMap::from([(address(0), "other".to_owned())]));
        assert!(probes.silent(now).is_empty());
        assert_eq!(turns(&mut probes, &mut now, 1, &[]), [""; 0]);
    }
}
