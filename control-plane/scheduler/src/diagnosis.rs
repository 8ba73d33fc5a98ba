//! Why a pod fits nowhere, in the words of Kubernetes' FailedScheduling event.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use crate::framework::{ClusterEvent, Nomination, Rejection};
use crate::profile::Enabled;

#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    pub(crate) nodes: usize,
    /// How many nodes gave each reason.
    reasons: BTreeMap<Cow<'static, str>, usize>,
    /// After what the pod is worth another try, by what the plugins say that rejected; `None` while none has.
    wakes_on: Option<HashSet<ClusterEvent>>,
    /// Said instead of the counts when the pod was rejected as a whole.
    whole: Option<String>,
    /// What post-filter plugins add.
    pub(crate) notes: Vec<String>,
    /// Room that is made for the pod.
    pub(crate) nomination: Option<Nomination>,
    /// The node that the pod is nominated for does it no good.
    pub(crate) clears_nomination: bool,
    /// A plugin had no answer: the pod is tried again after a while.
    pub(crate) has_failure: bool,
}

/// A reason as it is told: of plugins that are not ours, with their name.
fn told(by: &Enabled, reason: Cow<'static, str>) -> Cow<'static, str> {
    if by.is_native { reason } else { format!("{}: {reason}", by.plugin.name()).into() }
}

impl Diagnosis {
    pub(crate) fn of(nodes: usize) -> Self {
        Self { nodes, ..Self::default() }
    }

    pub(crate) fn reject(&mut self, by: &Enabled, rejection: Rejection) {
        self.wakes_on.get_or_insert_default().extend(by.plugin.wakes_on());
        self.has_failure |= rejection.is_failure;
        for reason in rejection.reasons {
            *self.reasons.entry(told(by, reason)).or_insert(0) += 1;
        }
    }

    pub(crate) fn reject_whole(&mut self, by: &Enabled, rejection: &Rejection) {
        self.wakes_on.get_or_insert_default().extend(by.plugin.wakes_on());
        self.has_failure |= rejection.is_failure;
        self.whole = Some(told(by, rejection.reasons.join(", ").into()).into_owned());
    }

    /// No pod is scheduled without plugins that its profile names.
    pub(crate) fn reject_for_missing(&mut self, plugins: &[String]) {
        self.wakes_on = Some(HashSet::new());
        let named: Vec<String> = plugins.iter().map(|name| format!("plugin {name:?} is not loaded")).collect();
        self.whole = Some(named.join(", "));
    }

    /// These nodes were not looked at: the pod names others.
    pub(crate) fn leave_out(&mut self, nodes: usize) {
        if nodes > 0 {
            let why = "node(s) didn't match Pod's node affinity/selector";
            *self.reasons.entry(why.into()).or_insert(0) += nodes;
        }
    }

    /// Nodes are asked about anew.
    pub(crate) fn forget_rejections(&mut self) {
        self.reasons.clear();
    }

    /// The events after which the pod is worth another try, beside [`ClusterEvent::PluginsChanged`]; `None` for all.
    pub(crate) fn wakes_on(&self) -> Option<&HashSet<ClusterEvent>> {
        self.wakes_on.as_ref()
    }

    /// As the FailedScheduling event has it.
    pub fn message(&self) -> String {
        if self.nodes == 0 && self.whole.is_none() {
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
    use std::sync::Arc;

    use super::*;
    use crate::framework::{Plugin, Points};

    struct Named(&'static str);

    impl Plugin for Named {
        fn name(&self) -> &str {
            self.0
        }

        fn points(&self) -> Points {
            Points::default()
        }
    }

    fn enabled(name: &'static str, is_native: bool) -> Enabled {
        Enabled { plugin: Arc::new(Named(name)), weight: 1, is_native, is_shadow: false }
    }

    #[test]
    fn the_message_counts_each_reason_and_names_plugins_that_are_not_ours() {
        let mut diagnosis = Diagnosis::of(4);
        let reasons = vec!["Insufficient memory".into(), "Insufficient cpu".into()];
        let both = Rejection { reasons, ..Rejection::new("") };
        diagnosis.reject(&enabled("NodeResourcesFit", true), both);
        diagnosis.reject(&enabled("NodeResourcesFit", true), Rejection::new("Insufficient cpu"));
        diagnosis.reject(&enabled("NodeUnschedulable", true), Rejection::new("node(s) were unschedulable"));
        diagnosis.reject(&enabled("zones", false), Rejection::new("too far away"));
        assert_eq!(
            diagnosis.message(),
            "0/4 nodes are available: 1 Insufficient memory, 1 node(s) were unschedulable, 1 zones: too far away, 2 Insufficient cpu."
        );
        assert_eq!(Diagnosis::of(0).message(), "no nodes available to schedule pods");
    }
}
