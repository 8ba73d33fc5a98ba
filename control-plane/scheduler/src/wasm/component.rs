//! A component as the scheduler has it, whatever part it takes: what its instance is told of, and what it is in the middle of.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mizzen_plugins_host::{LoadError, SchedulerPlugin};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::column::{UnknownColumn, Wanted};
use super::guest::{Cycle, Guest};
use super::pod;
use crate::framework::Difference;
use crate::pod::PodInfo;

/// What decisions would have come to, had the component taken part in them instead of looking on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShadowCounts {
    /// Pods that were placed while it looked on.
    pub decisions: u64,
    /// Pods of these that would have gone to another node.
    pub elsewhere: u64,
    /// Pods of these that would have waited.
    pub unplaced: u64,
    /// Nodes that the others found feasible.
    pub nodes: u64,
    /// Nodes of these that it would have rejected.
    pub rejected_nodes: u64,
}

#[derive(Default)]
struct Shadow {
    decisions: AtomicU64,
    elsewhere: AtomicU64,
    unplaced: AtomicU64,
    nodes: AtomicU64,
    rejected_nodes: AtomicU64,
}

/// Shared by the plugins that are made of it one after the other, as its object changes: to its instance, cycles are numbers.
pub struct Component {
    pub(super) guest: Guest,
    numbers: AtomicU64,
    /// Of pods under way, by uid.
    cycles: Mutex<HashMap<String, Cycle>>,
    /// Some pod reserved or gave back: those that wait for others ask again.
    pub(super) moved: Notify,
    shadow: Shadow,
}

impl Component {
    /// # Errors
    /// When it asks for a column that there is not.
    pub fn new(plugin: SchedulerPlugin) -> Result<Arc<Self>, UnknownColumn> {
        let wanted = Wanted::of(&plugin.description().columns)?;
        Ok(Arc::new(Self::with(plugin, wanted)))
    }

    fn with(plugin: SchedulerPlugin, wanted: Wanted) -> Self {
        Self {
            guest: Guest::new(plugin, wanted),
            numbers: AtomicU64::new(1),
            cycles: Mutex::default(),
            moved: Notify::new(),
            shadow: Shadow::default(),
        }
    }

    /// Another one of the same kind, whose instance knows nothing of what this one is in the middle of.
    ///
    /// # Errors
    /// When it does not start.
    pub fn copy(&self) -> Result<Arc<Self>, LoadError> {
        Ok(Arc::new(Self::with(self.plugin().copy()?, self.guest.wanted())))
    }

    pub fn plugin(&self) -> &SchedulerPlugin {
        &self.guest.plugin
    }

    pub fn shadow(&self) -> ShadowCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ShadowCounts {
            decisions: of(&self.shadow.decisions),
            elsewhere: of(&self.shadow.elsewhere),
            unplaced: of(&self.shadow.unplaced),
            nodes: of(&self.shadow.nodes),
            rejected_nodes: of(&self.shadow.rejected_nodes),
        }
    }

    pub(super) fn note(&self, difference: Difference) {
        let add = |count: &AtomicU64, more: usize| count.fetch_add(more as u64, Ordering::Relaxed);
        let shadow = &self.shadow;
        add(&shadow.decisions, 1);
        add(&shadow.elsewhere, difference.goes_elsewhere.into());
        add(&shadow.unplaced, difference.stays_unplaced.into());
        add(&shadow.nodes, difference.nodes);
        add(&shadow.rejected_nodes, difference.rejected_nodes);
    }

    /// A new cycle, with a number of its own and no state yet.
    pub(super) fn begin(&self, pod: &PodInfo) -> Cycle {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.guest.view.begin(number, pod);
        Cycle { number, state: Vec::new(), pod: Arc::new(pod::pod(pod, number)) }
    }

    pub(super) fn keep(&self, pod: &PodInfo, cycle: Cycle) {
        self.cycles.lock().insert(pod.uid.clone(), cycle);
    }

    pub(super) fn cycle_of(&self, pod: &PodInfo) -> Option<Cycle> {
        self.cycles.lock().get(&pod.uid).cloned()
    }

    pub(super) fn end(&self, pod: &PodInfo) {
        let cycle = self.cycles.lock().remove(&pod.uid);
        if let Some(cycle) = cycle {
            self.guest.end(cycle.number);
        }
    }
}
