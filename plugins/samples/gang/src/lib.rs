//! All of a group of pods, or none of them.

use std::collections::{BTreeMap, BTreeSet};

use mizzen_scheduler_sdk::{Column, Columns, Cycle, Node, Permission, Plugin, Pod, Points, plugin};
use serde::Deserialize;

/// Of pods: the group's name within its namespace.
const GANG: &str = "mizzen.dev/gang";
/// How many of the group must run at once.
const SIZE: &str = "mizzen.dev/gang-size";

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    /// How long the first waits for the last.
    wait_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { wait_seconds: 60 }
    }
}

struct Gang {
    wait: u32,
    bound: Column<[String]>,
    /// The pods of each group that have a node and wait.
    waiting: BTreeMap<String, BTreeSet<String>>,
}

fn group(pod: &Pod) -> Option<String> {
    Some(format!("{}/{}", pod.namespace, pod.label(GANG)?))
}

impl Plugin for Gang {
    type Settings = Settings;
    const POINTS: Points = Points::RESERVE.union(Points::UNRESERVE).union(Points::PERMIT);

    fn new(settings: Settings, columns: &mut Columns) -> Result<Self, String> {
        Ok(Self {
            wait: settings.wait_seconds.saturating_mul(1000),
            bound: columns.texts(format!("pods-labelled/{GANG}")),
            waiting: BTreeMap::new(),
        })
    }

    fn reserve(&mut self, cycle: &Cycle, _: Node) -> Result<(), String> {
        if let Some(group) = group(cycle.pod) {
            self.waiting.entry(group).or_default().insert(cycle.pod.uid.clone());
        }
        Ok(())
    }

    fn unreserve(&mut self, cycle: &Cycle, _: Node) {
        self.forget(cycle.pod);
    }

    fn permit(&mut self, cycle: &Cycle, _: Node) -> Permission {
        let Some(group) = group(cycle.pod) else { return Permission::Allow };
        let size = match cycle.pod.annotation(SIZE).map(str::parse::<usize>) {
            Some(Ok(size)) => size,
            _ => return Permission::Deny(format!("annotation {SIZE} does not say how many pods the gang has")),
        };
        let name = cycle.pod.label(GANG).unwrap_or_default();
        let bound: usize =
            cycle.cluster.nodes().filter_map(|node| node.get(self.bound)).flatten().filter(|of| *of == name).count();
        match self.waiting.get(&group).map_or(0, BTreeSet::len) + bound >= size {
            true => Permission::Allow,
            false => Permission::Wait((200, self.wait)),
        }
    }

    /// Bound pods are in the columns from now on, the others try again.
    fn end(&mut self, pod: &Pod) {
        self.forget(pod);
    }
}

impl Gang {
    fn forget(&mut self, pod: &Pod) {
        let Some(group) = group(pod) else { return };
        let Some(waiting) = self.waiting.get_mut(&group) else { return };
        waiting.remove(&pod.uid);
        if waiting.is_empty() {
            self.waiting.remove(&group);
        }
    }
}

plugin!(Gang);
