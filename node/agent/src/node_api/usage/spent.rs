//! What pods have spent of processor time, attempts included that have ended: their counters never go back.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use super::sample::PodUse;

/// Nanoseconds of one container of a pod.
#[derive(Default)]
struct Attempts {
    /// Of those before the one that was seen last.
    ended: u64,
    id: String,
    latest: u64,
}

/// By the uid of the pod and the name of the container. A hung container counts as it was last seen.
#[derive(Default)]
pub(crate) struct Spent(Mutex<HashMap<String, HashMap<String, Attempts>>>);

impl Spent {
    /// Says of each pod what it has spent: what its cgroup has counted (`of_cgroups`, by uid), where it has one, and what is
    /// remembered of containers outside. Forgets pods that are none of `present`.
    pub(super) fn count(&self, pods: &mut [PodUse], present: &HashSet<String>, of_cgroups: &HashMap<String, u64>) {
        let mut known = self.0.lock();
        known.retain(|uid, _| present.contains(uid));
        for pod in pods {
            let of_cgroup = of_cgroups.get(&pod.uid).copied();
            let outside = known.entry(pod.uid.clone()).or_default();
            for container in pod.containers.iter().filter(|container| container.is_wasm || of_cgroup.is_none()) {
                let attempts = outside.entry(container.name.clone()).or_default();
                if attempts.id != container.id {
                    attempts.ended = attempts.ended.saturating_add(attempts.latest);
                    attempts.id.clone_from(&container.id);
                }
                attempts.latest = container.cpu;
            }
            let remembered: u64 = outside.values().map(|attempts| attempts.ended.saturating_add(attempts.latest)).sum();
            pod.cpu = remembered.saturating_add(of_cgroup.unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::fixtures::container;
    use super::*;

    fn pod(containers: &[(&str, &str, u64, bool)]) -> PodUse {
        let container = |(name, id, cpu, is_wasm): &(&str, &str, u64, bool)| super::super::sample::ContainerUse {
            id: (*id).to_owned(),
            is_wasm: *is_wasm,
            ..container(name, *cpu, None, 0)
        };
        PodUse { uid: "u".to_owned(), containers: containers.iter().map(container).collect(), ..PodUse::default() }
    }

    fn counted(spent: &Spent, containers: &[(&str, &str, u64, bool)], of_cgroup: Option<u64>) -> u64 {
        let mut pods = [pod(containers)];
        let of_cgroups = of_cgroup.map(|cpu| ("u".to_owned(), cpu)).into_iter().collect();
        spent.count(&mut pods, &HashSet::from(["u".to_owned()]), &of_cgroups);
        pods[0].cpu
    }

    #[test]
    fn attempts_that_have_ended_and_containers_that_hang_count_on() {
        let spent = Spent::default();
        assert_eq!(counted(&spent, &[("a", "a-0", 5, true), ("b", "b-0", 7, true)], None), 12);
        assert_eq!(counted(&spent, &[("a", "a-1", 1, true), ("b", "b-0", 8, true)], None), 14);
        assert_eq!(counted(&spent, &[("a", "a-1", 2, true)], None), 15, "the other one does not answer");
        spent.count(&mut [], &HashSet::from(["u".to_owned()]), &HashMap::new());
        assert_eq!(counted(&spent, &[("a", "a-2", 1, true)], None), 16, "none ran meanwhile");
        spent.count(&mut [], &HashSet::new(), &HashMap::new());
        assert_eq!(counted(&spent, &[("a", "a-3", 1, true)], None), 1, "the pod was gone");
    }

    #[test]
    fn what_is_in_the_pods_cgroup_is_counted_there() {
        let spent = Spent::default();
        assert_eq!(counted(&spent, &[("a", "a-0", 5, false), ("w", "w-0", 2, true)], Some(20)), 22);
        assert_eq!(counted(&spent, &[("a", "a-1", 1, false), ("w", "w-1", 1, true)], Some(21)), 24);
    }
}
