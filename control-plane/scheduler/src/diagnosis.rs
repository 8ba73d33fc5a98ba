//! Why a pod fits nowhere, in the words of Kubernetes' FailedScheduling event.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use crate::framework::Rejection;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) nodes: usize,
    /// How many nodes gave each reason.
    reasons: BTreeMap<Cow<'static, str>, usize>,
    /// The plugins that rejected: their events wake the pod.
    pub(crate) plugins: HashSet<&'static str>,
    /// Said instead of the counts when the pod was rejected as a whole.
    whole: Option<String>,
    /// What post-filter plugins add.
    pub(crate) notes: Vec<String>,
}

impl Diagnosis {
    pub(crate) fn of(nodes: usize) -> Self {
        Self { nodes, ..Self::default() }
    }

    pub(crate) fn reject(&mut self, plugin: &'static str, rejection: Rejection) {
        self.plugins.insert(plugin);
        for reason in rejection.reasons {
            *self.reasons.entry(reason).or_insert(0) += 1;
        }
    }

    pub(crate) fn reject_whole(&mut self, plugin: &'static str, rejection: &Rejection) {
        self.plugins.insert(plugin);
        self.whole = Some(rejection.reasons.join(", "));
    }

    pub(crate) fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut counts: Vec<String> = self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        counts.sort();
        let why = self.whole.clone().unwrap_or_else(|| counts.join(", "));
        let notes: String = self.notes.iter().map(|note| format!(" {note}")).collect();
        format!("0/{} nodes are available: {why}.{notes}", self.nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_counts_each_reason() {
        let mut diagnosis = Diagnosis::of(3);
        let both = Rejection { reasons: vec!["Insufficient memory".into(), "Insufficient cpu".into()], unresolvable: false };
        diagnosis.reject("NodeResourcesFit", both);
        diagnosis.reject("NodeResourcesFit", Rejection::new("Insufficient cpu"));
        diagnosis.reject("NodeUnschedulable", Rejection::new("node(s) were unschedulable"));
        assert_eq!(
            diagnosis.message(),
            "0/3 nodes are available: 1 Insufficient memory, 1 node(s) were unschedulable, 2 Insufficient cpu."
        );
        assert_eq!(Diagnosis::of(0).message(), "no nodes available to schedule pods");
    }
}
