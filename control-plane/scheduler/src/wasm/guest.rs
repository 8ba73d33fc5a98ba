//! Makes sure that whichever instance answers knows the cluster and the cycle that it is asked about.

use std::collections::HashSet;
use std::sync::Arc;

use mizzen_plugins_host::scheduler::{Delta, Pod, Rejection, Session, State, Verdicts};
use mizzen_plugins_host::{CallError, SchedulerPlugin};
use parking_lot::Mutex;

use super::column::Wanted;
use super::columns::Columns;
use super::view::View;
use crate::apart::apart;
use crate::node::NodeInfo;
use crate::snapshot::Snapshot;

/// One pod's cycle, as it goes on in whichever instance.
#[derive(Clone)]
pub(super) struct Cycle {
    pub(super) number: u64,
    /// The guest's own.
    pub(super) state: State,
    pub(super) pod: Arc<Pod>,
}

pub(super) struct Guest {
    pub(super) plugin: SchedulerPlugin,
    pub(super) view: Arc<View>,
    known: Mutex<Known>,
    /// Cycles that are over, which the instance is told before the next question: whoever ends one does not wait for it.
    ended: Mutex<Vec<u64>>,
}

/// What the present instance knows.
struct Known {
    instance: u64,
    columns: Columns,
    cycles: HashSet<u64>,
}

impl Guest {
    pub(super) fn new(plugin: SchedulerPlugin, wanted: Wanted) -> Self {
        let view = Arc::new(View::default());
        plugin.follow(view.clone());
        let known = Known { instance: 0, columns: Columns::new(wanted), cycles: HashSet::new() };
        Self { plugin, view, known: Mutex::new(known), ended: Mutex::default() }
    }

    /// The columns that it asked for.
    pub(super) fn wanted(&self) -> Wanted {
        self.known.lock().columns.wanted().clone()
    }

    /// Begins a cycle on the snapshot.
    pub(super) fn begin(&self, snapshot: &Snapshot, pod: &Pod) -> Result<Result<State, Rejection>, CallError> {
        let known = &mut *self.known.lock();
        let mut session = self.plugin.session();
        self.wake(known, &mut session)?;
        let delta = known.columns.follow(snapshot);
        self.tell(known, &mut session, delta)?;
        let answer = session.pre_filter(pod)?;
        known.cycles.insert(pod.cycle);
        Ok(answer)
    }

    pub(super) fn end(&self, cycle: u64) {
        self.view.end(cycle);
        self.ended.lock().push(cycle);
    }

    pub(super) fn filter(&self, cycle: &Cycle, nodes: &[&Arc<NodeInfo>]) -> Result<Verdicts, CallError> {
        self.ask(cycle, nodes, |session, rows| session.filter(cycle.number, &cycle.state, rows))
    }

    pub(super) fn pre_score(&self, cycle: &Cycle, nodes: &[Arc<NodeInfo>]) -> Result<State, CallError> {
        let nodes: Vec<_> = nodes.iter().collect();
        self.ask(cycle, &nodes, |session, rows| session.pre_score(cycle.number, &cycle.state, rows))
    }

    pub(super) fn score(&self, cycle: &Cycle, nodes: &[Arc<NodeInfo>]) -> Result<Option<Vec<i64>>, CallError> {
        let nodes: Vec<_> = nodes.iter().collect();
        self.ask(cycle, &nodes, |session, rows| session.score(cycle.number, &cycle.state, rows))
    }

    pub(super) fn post_filter(&self, cycle: &Cycle) -> Result<Option<String>, CallError> {
        self.ask(cycle, &[], |session, _| session.post_filter(cycle.number, &cycle.state))
    }

    /// Asks about one node by its name; `None` when the node is gone. A guest holds its thread for as long as it takes: in a
    /// runtime that has others, these go on with what this one had to do.
    pub(super) fn on_node<R>(
        &self,
        cycle: &Cycle,
        node: &str,
        ask: impl FnOnce(&mut Session<'_>, u32) -> Result<R, CallError>,
    ) -> Result<Option<R>, CallError> {
        apart(|| {
            let known = &mut *self.known.lock();
            let mut session = self.plugin.session();
            self.ready(known, &mut session, cycle)?;
            let Some(row) = known.columns.row_named(node) else { return Ok(None) };
            ask(&mut session, row).map(Some)
        })
    }

    fn ask<R>(
        &self,
        cycle: &Cycle,
        nodes: &[&Arc<NodeInfo>],
        ask: impl FnOnce(&mut Session<'_>, &[u32]) -> Result<R, CallError>,
    ) -> Result<R, CallError> {
        let known = &mut *self.known.lock();
        let mut session = self.plugin.session();
        self.ready(known, &mut session, cycle)?;
        let mut rows = Vec::with_capacity(nodes.len());
        rows.extend(nodes.iter().filter_map(|node| known.columns.row(node)));
        if rows.len() < nodes.len() {
            let delta = known.columns.try_out(nodes.iter().copied());
            self.tell(known, &mut session, delta)?;
            rows.clear();
            rows.extend(nodes.iter().filter_map(|node| known.columns.row(node)));
        }
        ask(&mut session, &rows)
    }

    /// What rows are now is for the instance to see, and what of it is in its columns is told.
    fn tell(&self, known: &mut Known, session: &mut Session<'_>, delta: Option<Delta>) -> Result<(), CallError> {
        let rows = known.columns.replaced();
        if !rows.is_empty() {
            self.view.changed(rows, &known.columns);
        }
        delta.map_or(Ok(()), |delta| session.update(&delta))
    }

    /// The instance knows the cluster as far as it was ever told, and which cycles are over.
    fn wake(&self, known: &mut Known, session: &mut Session<'_>) -> Result<(), CallError> {
        let ended = std::mem::take(&mut *self.ended.lock());
        for cycle in ended.into_iter().filter(|cycle| known.cycles.remove(cycle)) {
            // One that knows nothing of the cycle has nothing to forget; a failure is counted, and there is nothing else to do.
            if session.instance().is_ok_and(|instance| instance == known.instance) {
                let _ = session.end(cycle);
            }
        }
        let instance = session.instance()?;
        if instance != known.instance {
            known.cycles.clear();
            if let Some(delta) = known.columns.again() {
                session.update(&delta)?;
            }
            known.instance = instance;
        }
        Ok(())
    }

    /// The instance knows the cycle, too.
    fn ready(&self, known: &mut Known, session: &mut Session<'_>, cycle: &Cycle) -> Result<(), CallError> {
        self.wake(known, session)?;
        if known.cycles.insert(cycle.number) {
            // The state that it answers is not used: the cycle has one.
            let _ = session.pre_filter(&cycle.pod)?;
        }
        Ok(())
    }
}
