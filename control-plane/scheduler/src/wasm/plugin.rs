//! A Wasm component as a plugin of the framework.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mizzen_plugins_host::CallError;
use mizzen_plugins_host::scheduler::{Permission, Points as GuestPoints, Rejection as GuestRejection, Wakes};
use tokio::time::Instant;

use super::component::Component;
use super::guest::{Cycle, Guest};
use crate::framework::{
    ALL_EVENTS, Candidates, ClusterEvent, Difference, Plugin, PluginError, PluginState, Point, Points, PostFilter, Rejection,
    Scope, Unplaced,
};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

/// What a plugin's failure means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Its pods wait.
    #[default]
    Closed,
    /// The decision is made without it.
    Open,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Enforce,
    /// It is asked about pods that were placed without it, and what would have been different is counted; it is never asked to
    /// reserve, permit or prepare.
    Shadow,
}

/// A component that takes part in decisions.
pub struct WasmPlugin {
    component: Arc<Component>,
    points: Points,
    wakes: Vec<ClusterEvent>,
    mode: Mode,
    failure: FailurePolicy,
}

impl WasmPlugin {
    pub fn new(component: Arc<Component>, mode: Mode, failure: FailurePolicy) -> Self {
        let description = component.plugin().description();
        let (points, wakes) = (points(description.points, mode), wakes(description.wakes));
        Self { component, points, wakes, mode, failure }
    }

    pub fn component(&self) -> &Arc<Component> {
        &self.component
    }

    fn guest(&self) -> &Guest {
        &self.component.guest
    }

    /// The rejection that a failure comes to, if it does to one.
    fn failed(&self, error: &CallError) -> Option<Rejection> {
        tracing::debug!(%error, "a scheduler plugin failed");
        (self.failure == FailurePolicy::Closed).then(|| Rejection::failure(said(error)))
    }

    /// What a call at or after reserving comes to.
    fn settled<R>(&self, node: &str, answer: Result<Option<R>, CallError>) -> Result<Option<R>, PluginError> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => match self.failed(&error) {
                Some(_) => Err(self.turned_down(node, &said(&error))),
                None => Ok(None),
            },
        }
    }

    /// Why the pod does not get its node, as the pod's event tells it.
    fn turned_down(&self, node: &str, why: &str) -> PluginError {
        PluginError(format!("{}: {why} (node {node})", self.name()))
    }
}

#[async_trait]
impl Plugin for WasmPlugin {
    fn name(&self) -> &str {
        self.component.plugin().name()
    }

    fn points(&self) -> Points {
        self.points
    }

    fn wakes_on(&self) -> &[ClusterEvent] {
        &self.wakes
    }

    fn is_shadow(&self) -> bool {
        self.mode == Mode::Shadow
    }

    fn looked_on(&self, difference: Difference) {
        self.component.note(difference);
    }

    fn aside(&self) -> Result<Option<Arc<dyn Plugin>>, PluginError> {
        let copy = self.component.copy().map_err(|error| PluginError(error.to_string()))?;
        Ok(Some(Arc::new(Self::new(copy, self.mode, self.failure))))
    }

    fn last_error(&self) -> Option<String> {
        self.component.plugin().status().last_error
    }

    fn pre_filter(&self, pod: &PodInfo, snapshot: &Snapshot, state: &mut PluginState) -> Result<Scope, Rejection> {
        let mut cycle = self.component.begin(pod);
        match self.guest().begin(snapshot, &cycle.pod) {
            Ok(Ok(kept)) => {
                cycle.state = kept;
                self.component.keep(pod, cycle.clone());
                state.set(cycle);
                Ok(Scope::All)
            }
            Ok(Err(rejection)) => {
                self.component.keep(pod, cycle);
                Err(native(rejection))
            }
            Err(error) => {
                self.guest().end(cycle.number);
                self.failed(&error).map_or(Ok(Scope::Skip), Err)
            }
        }
    }

    fn filter(&self, _pod: &PodInfo, _snapshot: &Snapshot, candidates: &mut Candidates<'_>, state: &mut PluginState) {
        let Some(cycle) = state.get::<Cycle>() else { return };
        let (places, nodes) = candidates.left();
        if nodes.is_empty() {
            return;
        }
        match self.guest().filter(cycle, &nodes) {
            Ok(verdicts) => {
                let rejections: Vec<Rejection> = verdicts.rejections.into_iter().map(native).collect();
                for (place, verdict) in places.into_iter().zip(verdicts.nodes) {
                    if let Some(rejection) = (verdict as usize).checked_sub(1).and_then(|at| rejections.get(at)) {
                        candidates.reject(place, rejection.clone());
                    }
                }
            }
            Err(error) => {
                if let Some(rejection) = self.failed(&error) {
                    places.into_iter().for_each(|place| candidates.reject(place, rejection.clone()));
                }
            }
        }
    }

    fn post_filter(&self, pod: &PodInfo, _unplaced: &Unplaced<'_>) -> Option<PostFilter> {
        let note = self.guest().post_filter(&self.component.cycle_of(pod)?).ok()??;
        Some(PostFilter { note: Some(format!("{}: {note}", self.name())), ..PostFilter::default() })
    }

    fn pre_score(&self, pod: &PodInfo, feasible: &[Arc<NodeInfo>], _snapshot: &Snapshot, state: &mut PluginState) {
        let Some(cycle) = state.get_mut::<Cycle>() else { return };
        match self.guest().pre_score(cycle, feasible) {
            Ok(kept) => {
                cycle.state = kept;
                self.component.keep(pod, cycle.clone());
            }
            Err(error) => drop(self.failed(&error)),
        }
    }

    fn score(&self, _pod: &PodInfo, _snapshot: &Snapshot, nodes: &[Arc<NodeInfo>], state: &mut PluginState) -> Option<Vec<i64>> {
        match self.guest().score(state.get::<Cycle>()?, nodes) {
            Ok(scores) => scores,
            Err(error) => {
                // Scores only prefer: without them a pod still goes where it may.
                drop(self.failed(&error));
                None
            }
        }
    }

    fn reserve(&self, pod: &PodInfo, node: &str) -> Result<(), PluginError> {
        let Some(cycle) = self.component.cycle_of(pod) else { return Ok(()) };
        let answer = self.guest().on_node(&cycle, node, |session, row| session.reserve(cycle.number, &cycle.state, row));
        self.component.moved.notify_waiters();
        self.settled(node, answer)?.unwrap_or(Ok(())).map_err(|why| self.turned_down(node, &why))
    }

    fn unreserve(&self, pod: &PodInfo, node: &str) {
        let Some(cycle) = self.component.cycle_of(pod) else { return };
        let answer = self.guest().on_node(&cycle, node, |session, row| session.unreserve(cycle.number, &cycle.state, row));
        self.component.moved.notify_waiters();
        if let Err(error) = answer {
            drop(self.failed(&error));
        }
    }

    async fn permit(&self, pod: &PodInfo, node: &str) -> Result<(), PluginError> {
        let Some(cycle) = self.component.cycle_of(pod) else { return Ok(()) };
        let mut patience: Option<Instant> = None;
        loop {
            let moved = self.component.moved.notified();
            let answer = self.guest().on_node(&cycle, node, |session, row| session.permit(cycle.number, &cycle.state, row));
            let (again, most) = match self.settled(node, answer)? {
                None | Some(Permission::Allow) => return Ok(()),
                Some(Permission::Deny(why)) => return Err(self.turned_down(node, &why)),
                Some(Permission::Wait((again, most))) => (millis(again), millis(most)),
            };
            let now = Instant::now();
            let end = *patience.get_or_insert(now + most);
            if now >= end {
                return Err(self.turned_down(node, &format!("no permission within {} ms", most.as_millis())));
            }
            tokio::select! {
                () = moved => {}
                () = tokio::time::sleep_until(end.min(now + again)) => {}
            }
        }
    }

    async fn pre_bind(&self, pod: &PodInfo, node: &str) -> Result<(), PluginError> {
        let Some(cycle) = self.component.cycle_of(pod) else { return Ok(()) };
        let answer = self.guest().on_node(&cycle, node, |session, row| session.pre_bind(cycle.number, &cycle.state, row));
        self.settled(node, answer)?.unwrap_or(Ok(())).map_err(|why| self.turned_down(node, &why))
    }

    fn end(&self, pod: &PodInfo) {
        self.component.end(pod);
    }
}

fn millis(of: u32) -> Duration {
    Duration::from_millis(of.into())
}

/// Without what changes from one failure to the next, so that the same is not told again and again.
fn said(error: &CallError) -> String {
    format!("the plugin failed ({})", error.reason())
}

fn native(rejection: GuestRejection) -> Rejection {
    let reasons = rejection.reasons.into_iter().map(Into::into).collect();
    Rejection { reasons, unresolvable: rejection.unresolvable, is_failure: false }
}

/// `pre-filter` brings the pod, so it is always among them.
pub(super) fn points(of: GuestPoints, mode: Mode) -> Points {
    let all = [
        (GuestPoints::FILTER, Point::Filter, true),
        (GuestPoints::POST_FILTER, Point::PostFilter, false),
        (GuestPoints::PRE_SCORE, Point::PreScore, true),
        (GuestPoints::SCORE, Point::Score, true),
        (GuestPoints::RESERVE | GuestPoints::UNRESERVE, Point::Reserve, false),
        (GuestPoints::PERMIT, Point::Permit, false),
        (GuestPoints::PRE_BIND, Point::PreBind, false),
    ];
    let has = |(guest, _, in_shadow): &(GuestPoints, Point, bool)| of.intersects(*guest) && (*in_shadow || mode == Mode::Enforce);
    all.iter().filter(|point| has(point)).map(|(_, point, _)| *point).chain([Point::PreFilter]).collect()
}

fn wakes(of: Wakes) -> Vec<ClusterEvent> {
    let all = [
        (Wakes::NODE_ADDED, ClusterEvent::NodeAdded),
        (Wakes::NODE_CHANGED, ClusterEvent::NodeChanged),
        (Wakes::POD_PLACED, ClusterEvent::PodPlaced),
        (Wakes::POD_LEFT, ClusterEvent::PodLeft),
    ];
    let wakes: Vec<_> = all.into_iter().filter(|(wake, _)| of.contains(*wake)).map(|(_, event)| event).collect();
    if wakes.is_empty() { ALL_EVENTS.to_vec() } else { wakes }
}
