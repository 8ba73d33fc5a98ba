//! A Wasm component as a plugin of the framework.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mizzen_plugins_host::scheduler::{Permission, Points as GuestPoints, Rejection as GuestRejection, Wakes};
use mizzen_plugins_host::{CallError, SchedulerPlugin};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::column::{UnknownColumn, Wanted};
use super::guest::{Cycle, Guest};
use super::pod;
use crate::framework::{
    ALL_EVENTS, Candidates, ClusterEvent, Plugin, PluginError, PluginState, Point, Points, PostFilter, Rejection, Scope, Unplaced,
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
    /// It decides, and what it decides is counted and not applied; it is never asked to reserve, permit or prepare.
    Shadow,
}

/// What a plugin in [`Mode::Shadow`] would have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShadowCounts {
    pub pods: u64,
    /// Pods that it would have rejected for every node.
    pub rejected_pods: u64,
    /// Nodes that it looked at, and would have rejected.
    pub nodes: u64,
    pub rejected_nodes: u64,
}

#[derive(Default)]
struct Shadow {
    pods: AtomicU64,
    rejected_pods: AtomicU64,
    nodes: AtomicU64,
    rejected_nodes: AtomicU64,
}

pub struct WasmPlugin {
    guest: Guest,
    points: Points,
    wakes: Vec<ClusterEvent>,
    weight: i64,
    mode: Mode,
    failure: FailurePolicy,
    numbers: AtomicU64,
    /// Of pods under way, by uid.
    cycles: Mutex<HashMap<String, Cycle>>,
    /// Some pod reserved or gave back: those that wait for others ask again.
    moved: Notify,
    shadow: Shadow,
}

impl WasmPlugin {
    /// `weight` is that of its scores where a profile states none.
    ///
    /// # Errors
    /// When it asks for a column that there is not.
    pub fn new(plugin: Arc<SchedulerPlugin>, weight: i64, mode: Mode, failure: FailurePolicy) -> Result<Self, UnknownColumn> {
        let description = plugin.description();
        let wanted = Wanted::of(&description.columns)?;
        let (points, wakes) = (points(description.points, mode), wakes(description.wakes));
        Ok(Self {
            guest: Guest::new(plugin, wanted),
            points,
            wakes,
            weight,
            mode,
            failure,
            numbers: AtomicU64::new(1),
            cycles: Mutex::default(),
            moved: Notify::new(),
            shadow: Shadow::default(),
        })
    }

    pub fn guest(&self) -> &Arc<SchedulerPlugin> {
        &self.guest.plugin
    }

    pub fn shadow(&self) -> ShadowCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ShadowCounts {
            pods: of(&self.shadow.pods),
            rejected_pods: of(&self.shadow.rejected_pods),
            nodes: of(&self.shadow.nodes),
            rejected_nodes: of(&self.shadow.rejected_nodes),
        }
    }

    fn enforces(&self) -> bool {
        self.mode == Mode::Enforce
    }

    /// The rejection that a failure comes to, if it does to one.
    fn failed(&self, error: &CallError) -> Option<Rejection> {
        tracing::debug!(%error, "a scheduler plugin failed");
        let is_closed = self.enforces() && self.failure == FailurePolicy::Closed;
        // Without what changes from one failure to the next, so that the same is not told again and again.
        is_closed.then(|| Rejection::new(format!("the plugin failed ({})", error.reason())))
    }

    fn cycle_of(&self, pod: &PodInfo) -> Option<Cycle> {
        self.cycles.lock().get(&pod.uid).cloned()
    }

    /// What a call at or after reserving comes to.
    fn settled<R>(&self, answer: Result<Option<R>, CallError>) -> Result<Option<R>, PluginError> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => match self.failed(&error) {
                Some(_) => Err(PluginError(error.to_string())),
                None => Ok(None),
            },
        }
    }
}

#[async_trait]
impl Plugin for WasmPlugin {
    fn name(&self) -> &str {
        self.guest.plugin.name()
    }

    fn points(&self) -> Points {
        self.points
    }

    fn weight(&self) -> i64 {
        self.weight
    }

    fn wakes_on(&self) -> &[ClusterEvent] {
        &self.wakes
    }

    fn pre_filter(&self, pod: &PodInfo, snapshot: &Snapshot, state: &mut PluginState) -> Result<Scope, Rejection> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let told = Arc::new(pod::pod(pod, number));
        self.guest.view.begin(number, pod);
        let answer = self.guest.begin(snapshot, &told);
        let cycle = |state| Cycle { number, state, pod: told };
        if !self.enforces() {
            self.shadow.pods.fetch_add(1, Ordering::Relaxed);
        }
        match answer {
            Ok(Ok(kept)) => {
                let cycle = cycle(kept);
                self.cycles.lock().insert(pod.uid.clone(), cycle.clone());
                state.set(cycle);
                Ok(Scope::All)
            }
            Ok(Err(rejection)) => {
                self.cycles.lock().insert(pod.uid.clone(), cycle(Vec::new()));
                if self.enforces() {
                    return Err(native(rejection));
                }
                self.shadow.rejected_pods.fetch_add(1, Ordering::Relaxed);
                Ok(Scope::Skip)
            }
            Err(error) => {
                self.guest.view.end(number);
                self.failed(&error).map_or(Ok(Scope::Skip), Err)
            }
        }
    }

    fn filter(&self, _pod: &PodInfo, _snapshot: &Snapshot, candidates: &mut Candidates<'_>, state: &mut PluginState) {
        let Some(cycle) = state.get::<Cycle>() else { return };
        let (places, nodes): (Vec<usize>, Vec<_>) = candidates.left().unzip();
        if nodes.is_empty() {
            return;
        }
        match self.guest.filter(cycle, &nodes) {
            Ok(verdicts) if self.enforces() => {
                let rejections: Vec<Rejection> = verdicts.rejections.into_iter().map(native).collect();
                for (place, verdict) in places.into_iter().zip(verdicts.nodes) {
                    if let Some(rejection) = (verdict as usize).checked_sub(1).and_then(|at| rejections.get(at)) {
                        candidates.reject(place, rejection.clone());
                    }
                }
            }
            Ok(verdicts) => {
                let rejected = verdicts.nodes.iter().filter(|verdict| **verdict > 0).count();
                self.shadow.nodes.fetch_add(nodes.len() as u64, Ordering::Relaxed);
                self.shadow.rejected_nodes.fetch_add(rejected as u64, Ordering::Relaxed);
            }
            Err(error) => {
                if let Some(rejection) = self.failed(&error) {
                    places.into_iter().for_each(|place| candidates.reject(place, rejection.clone()));
                }
            }
        }
    }

    fn post_filter(&self, pod: &PodInfo, _unplaced: &Unplaced<'_>) -> Option<PostFilter> {
        let note = self.guest.post_filter(&self.cycle_of(pod)?).ok()??;
        Some(PostFilter { note: Some(note), ..PostFilter::default() })
    }

    fn pre_score(&self, pod: &PodInfo, feasible: &[Arc<NodeInfo>], _snapshot: &Snapshot, state: &mut PluginState) {
        let Some(cycle) = state.get_mut::<Cycle>() else { return };
        match self.guest.pre_score(cycle, feasible) {
            Ok(kept) => {
                cycle.state = kept;
                self.cycles.lock().insert(pod.uid.clone(), cycle.clone());
            }
            Err(error) => drop(self.failed(&error)),
        }
    }

    fn score(&self, _pod: &PodInfo, _snapshot: &Snapshot, nodes: &[Arc<NodeInfo>], state: &mut PluginState) -> Option<Vec<i64>> {
        let scores = match self.guest.score(state.get::<Cycle>()?, nodes) {
            Ok(scores) => scores,
            Err(error) => {
                // Scores only prefer: without them a pod still goes where it may.
                drop(self.failed(&error));
                None
            }
        };
        scores.filter(|_| self.enforces())
    }

    fn reserve(&self, pod: &PodInfo, node: &str) -> Result<(), PluginError> {
        let Some(cycle) = self.cycle_of(pod) else { return Ok(()) };
        let answer = self.guest.on_node(&cycle, node, |session, row| session.reserve(cycle.number, &cycle.state, row));
        self.moved.notify_waiters();
        self.settled(answer)?.unwrap_or(Ok(())).map_err(PluginError)
    }

    fn unreserve(&self, pod: &PodInfo, node: &str) {
        let Some(cycle) = self.cycle_of(pod) else { return };
        let answer = self.guest.on_node(&cycle, node, |session, row| session.unreserve(cycle.number, &cycle.state, row));
        self.moved.notify_waiters();
        if let Err(error) = answer {
            drop(self.failed(&error));
        }
    }

    async fn permit(&self, pod: &PodInfo, node: &str) -> Result<(), PluginError> {
        let Some(cycle) = self.cycle_of(pod) else { return Ok(()) };
        let mut patience: Option<Instant> = None;
        loop {
            let moved = self.moved.notified();
            let answer = self.guest.on_node(&cycle, node, |session, row| session.permit(cycle.number, &cycle.state, row));
            let (again, most) = match self.settled(answer)? {
                None | Some(Permission::Allow) => return Ok(()),
                Some(Permission::Deny(why)) => return Err(PluginError(why)),
                Some(Permission::Wait((again, most))) => (millis(again), millis(most)),
            };
            let now = Instant::now();
            let end = *patience.get_or_insert(now + most);
            if now >= end {
                return Err(PluginError(format!("the plugin {} did not permit it within {} ms", self.name(), most.as_millis())));
            }
            tokio::select! {
                () = moved => {}
                () = tokio::time::sleep_until(end.min(now + again)) => {}
            }
        }
    }

    async fn pre_bind(&self, pod: &PodInfo, node: &str) -> Result<(), PluginError> {
        let Some(cycle) = self.cycle_of(pod) else { return Ok(()) };
        let answer = self.guest.on_node(&cycle, node, |session, row| session.pre_bind(cycle.number, &cycle.state, row));
        self.settled(answer)?.unwrap_or(Ok(())).map_err(PluginError)
    }

    fn end(&self, pod: &PodInfo) {
        let cycle = self.cycles.lock().remove(&pod.uid);
        if let Some(cycle) = cycle {
            self.guest.end(cycle.number);
        }
    }
}

fn millis(of: u32) -> Duration {
    Duration::from_millis(of.into())
}

fn native(rejection: GuestRejection) -> Rejection {
    let reasons = rejection.reasons.into_iter().map(Into::into).collect();
    Rejection { reasons, unresolvable: rejection.unresolvable }
}

/// `pre-filter` brings the pod, so it is always among them.
fn points(of: GuestPoints, mode: Mode) -> Points {
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
