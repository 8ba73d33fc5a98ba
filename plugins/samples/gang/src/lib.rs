//! All of a group of pods, or none of them.

use std::collections::{BTreeMap, BTreeSet};

use mizzen_scheduler_sdk::{Column, Columns, Cycle, Node, Permission, Plugin, Pod, Points, plugin};
use serde::Deserialize;
use serde_json::Value;

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
    /// The pods of each group that have a node and wait, by name.
    waiting: BTreeMap<String, BTreeSet<String>>,
}

fn group(pod: &Pod) -> Option<String> {
    Some(format!("{}/{}", pod.namespace, pod.label(GANG)?))
}

/// The name of a pod of the gang.
fn member(pod: &str, namespace: &str, gang: &str) -> Option<String> {
    let pod: Value = serde_json::from_str(pod).ok()?;
    let metadata = &pod["metadata"];
    (metadata["namespace"] == namespace && metadata["labels"][GANG] == gang)
        .then(|| metadata["name"].as_str().map(str::to_owned))?
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
            self.waiting.entry(group).or_default().insert(cycle.pod.name.clone());
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
        let here = |node: &Node| node.get(self.bound).into_iter().flatten().filter(|of| *of == name).count();
        let holding: Vec<Node> = cycle.cluster.nodes().filter(|node| here(node) > 0).collect();
        let mut members = self.waiting.get(&group).cloned().unwrap_or_default();
        // Reading whole pods takes longer than columns, and is of no use while there are too few anyway.
        if members.len() < size && members.len() + holding.iter().map(here).sum::<usize>() >= size {
            // A pod that waits counts for its node already: by name, so that each one counts once.
            members.extend(
                holding.into_iter().flat_map(|node| node.pods()).filter_map(|pod| member(&pod, &cycle.pod.namespace, name)),
            );
        }
        match members.len() >= size {
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
        waiting.remove(&pod.name);
        if waiting.is_empty() {
            self.waiting.remove(&group);
        }
    }
}

plugin!(Gang);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_pods_of_the_gang_in_its_namespace() {
        let pod = r#"{"metadata": {"namespace": "x", "name": "w-0", "labels": {"mizzen.dev/gang": "w"}}}"#;
        assert_eq!(member(pod, "x", "w").as_deref(), Some("w-0"));
        assert_eq!((member(pod, "y", "w"), member(pod, "x", "v")), (None, None));
    }
}
