//! Scheduler plugins: `mizzen:scheduler/scheduler-plugin`.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use wasmtime::Store;

use crate::artifact::{Artifact, World};
use crate::error::{CallError, LoadError};
use crate::guest::call::{self, Warm};
use crate::guest::instances::Instances;
use crate::guest::versions::{Scheduler, SchedulerPre, either};
use crate::guest::{Data, linker};
use crate::plugin::histogram::CallTimes;
use crate::plugin::metrics::Metric;
use crate::plugin::stats::Status;
use crate::plugin::{PluginOptions, Shared};
use crate::runtime::Runtime;

pub use crate::bindings::scheduler::mizzen::scheduler::types::{
    Column, Delta, Description, Permission, Pod, Points, Rejection, State, TextLists, Toleration, Values, Verdicts, Wakes,
};

/// The whole objects behind rows and cycles, as JSON. Called on the scheduler's thread, so it must answer from memory.
pub trait Cluster: Send + Sync + 'static {
    fn node(&self, row: u32) -> Option<String>;
    fn pod(&self, cycle: u64) -> Option<String>;
    /// No more than `most`.
    fn pods_on(&self, row: u32, most: usize) -> Vec<String>;
}

/// A plugin with its settings. One instance serves the scheduler, which asks one question at a time.
pub struct SchedulerPlugin {
    instances: Instances<Scheduler>,
    description: Description,
    digest: String,
    instance: Mutex<Slot>,
    linked: SchedulerPre,
    options: PluginOptions,
}

struct Slot {
    warm: Option<Warm<Scheduler>>,
    /// How many instances there were.
    number: u64,
}

/// The plugin's instance, for one question after the other.
pub struct Session<'a> {
    plugin: &'a SchedulerPlugin,
    slot: MutexGuard<'a, Slot>,
}

impl SchedulerPlugin {
    /// Checks imports and settings and starts a first instance. Runs the guest: not for a thread that must not wait.
    ///
    /// # Errors
    /// Why the object that wants this cannot have it.
    pub fn load(artifact: &Artifact, options: PluginOptions) -> Result<Self, LoadError> {
        let component = artifact.component(World::Scheduler)?;
        artifact.check(&options.grants)?;
        let link = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        let linked = linker(&artifact.runtime.engine, artifact)?.instantiate_pre(component).map_err(link)?;
        let linked = SchedulerPre::new(linked, artifact.minor()).map_err(link)?;
        Self::start(linked, artifact.digest().to_owned(), &artifact.runtime, options)
    }

    /// Another one of the same component and settings, with an instance, counters and a breaker of its own: what it is asked
    /// does not change this one, and who asks this one does not wait. Runs the guest, as [`SchedulerPlugin::load`] does.
    ///
    /// # Errors
    /// When it does not start.
    pub fn copy(&self) -> Result<Self, LoadError> {
        Self::start(self.linked.clone(), self.digest.clone(), &self.instances.shared.runtime, self.options.clone())
    }

    fn start(plugin: SchedulerPre, digest: String, runtime: &Arc<Runtime>, options: PluginOptions) -> Result<Self, LoadError> {
        let shared = Shared::new(Arc::clone(runtime), options.clone());
        let (settings, linked) = (shared.settings.clone(), plugin.clone());
        let mut first = call::start(&shared, |store| plugin.instantiate(store).map(Ok))?;
        let configured = first.call("configure", shared.limits.start, |store, made| {
            either!(made, it => it.mizzen_scheduler_plugin().call_configure(store, &settings)).map(Ok)
        })?;
        configured.map_err(LoadError::Settings)?;
        let description = first.call("describe", shared.limits.start, |store, made| {
            either!(made, it => it.mizzen_scheduler_plugin().call_describe(store)).map(Ok)
        })?;
        let make = move |store: &mut Store<Data>| {
            let made = plugin.instantiate(&mut *store)?;
            let configured = either!(&made, it => it.mizzen_scheduler_plugin().call_configure(store, &settings))?;
            Ok(configured.map(|()| made))
        };
        let instances = Instances::new(shared, Box::new(make));
        let instance = Mutex::new(Slot { warm: Some(first), number: 1 });
        Ok(Self { instances, description, digest, instance, linked, options })
    }

    /// Which extension points it has, which columns it reads, and what wakes pods that it rejected.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Gives it the cluster that it may ask of; once. Before that it finds nothing.
    pub fn follow(&self, cluster: Arc<dyn Cluster>) {
        let _ = self.instances.shared.cluster.set(cluster);
    }

    /// Waits until nobody else asks.
    pub fn session(&self) -> Session<'_> {
        Session { plugin: self, slot: self.instance.lock() }
    }

    pub fn name(&self) -> &str {
        &self.instances.shared.name
    }

    /// Of the bytes that it was compiled from, such as `sha256:0123…`.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub fn status(&self) -> Status {
        self.instances.shared.status()
    }

    /// How long its calls took since it was loaded.
    pub fn times(&self) -> CallTimes {
        self.instances.shared.stats.times.times()
    }

    /// What it counts itself.
    pub fn metrics(&self) -> Vec<Metric> {
        self.instances.shared.metrics.all()
    }
}

impl Session<'_> {
    /// The number of the instance that will answer, a new one after a trap. One that the caller has not seen knows nothing of
    /// the cluster, nor of cycles under way.
    ///
    /// # Errors
    /// When there is none and none can be made, or the plugin failed too often to be asked.
    pub fn instance(&mut self) -> Result<u64, CallError> {
        if self.slot.warm.is_none() {
            let instances = &self.plugin.instances;
            instances.shared.admit()?;
            let made = instances.make();
            if let Err(error) = &made {
                instances.shared.ended(Some(error));
            }
            self.slot.warm = Some(made?);
            self.slot.number += 1;
        }
        Ok(self.slot.number)
    }

    /// # Errors
    /// When there is no answer, or none that can be one; then the next call may go to another instance.
    fn call<R>(
        &mut self,
        function: &'static str,
        call: impl FnOnce(&mut Store<Data>, &Scheduler) -> wasmtime::Result<Result<R, String>>,
    ) -> Result<R, CallError> {
        self.instance()?;
        let shared = &self.plugin.instances.shared;
        let Some(warm) = &mut self.slot.warm else {
            return Err(CallError::Instance { plugin: shared.name.clone(), why: "there is none".to_owned() });
        };
        let answer = warm.call(function, shared.limits.deadline, call);
        shared.ended(answer.as_ref().err());
        if !warm.is_sound() {
            self.slot.warm = None;
        }
        answer
    }

    /// Tells what changed in the cluster.
    ///
    /// # Errors
    /// As every call: when the plugin fails.
    pub fn update(&mut self, change: &Delta) -> Result<(), CallError> {
        self.call("update", |store, plugin| {
            either!(plugin, it => it.mizzen_scheduler_plugin().call_update(store, change)).map(Ok)
        })
    }

    /// # Errors
    /// As every call: when the plugin fails.
    pub fn pre_filter(&mut self, pod: &Pod) -> Result<Result<State, Rejection>, CallError> {
        self.call("pre-filter", |store, plugin| {
            either!(plugin, it => it.mizzen_scheduler_plugin().call_pre_filter(store, pod)).map(Ok)
        })
    }

    /// # Errors
    /// As every call; also when there are not as many verdicts as nodes.
    pub fn filter(&mut self, cycle: u64, state: &State, nodes: &[u32]) -> Result<Verdicts, CallError> {
        self.call("filter", |store, plugin| {
            let verdicts = either!(plugin, it => it.mizzen_scheduler_plugin().call_filter(store, cycle, state, nodes))?;
            Ok(check_verdicts(verdicts, nodes.len()))
        })
    }

    /// # Errors
    /// As every call: when the plugin fails.
    pub fn post_filter(&mut self, cycle: u64, state: &State) -> Result<Option<String>, CallError> {
        self.call("post-filter", |store, plugin| {
            either!(plugin, it => it.mizzen_scheduler_plugin().call_post_filter(store, cycle, state)).map(Ok)
        })
    }

    /// # Errors
    /// As every call: when the plugin fails.
    pub fn pre_score(&mut self, cycle: u64, state: &State, feasible: &[u32]) -> Result<State, CallError> {
        self.call("pre-score", |store, plugin| {
            either!(plugin, it => it.mizzen_scheduler_plugin().call_pre_score(store, cycle, state, feasible)).map(Ok)
        })
    }

    /// From 0 to 100 for each node; `None` without an opinion on this pod.
    ///
    /// # Errors
    /// As every call; also when there are not as many scores as nodes.
    pub fn score(&mut self, cycle: u64, state: &State, nodes: &[u32]) -> Result<Option<Vec<i64>>, CallError> {
        self.call("score", |store, plugin| {
            let scores = either!(plugin, it => it.mizzen_scheduler_plugin().call_score(store, cycle, state, nodes))?;
            Ok(check_scores(scores, nodes.len()))
        })
    }

    /// # Errors
    /// As every call: when the plugin fails.
    pub fn reserve(&mut self, cycle: u64, state: &State, node: u32) -> Result<Result<(), String>, CallError> {
        self.call("reserve", |store, plugin| {
            either!(plugin, it => it.mizzen_scheduler_plugin().call_reserve(store, cycle, state, node)).map(Ok)
        })
    }

    /// # Errors
    /// As every call: when the plugin fails.
    pub fn unreserve(&mut self, cycle: u64, state: &State, node: u32) -> Result<(), CallError> {
        self.call("unreserve", |store, plugin| {
            either!(plugin, it => it.mizzen_scheduler_plugin().call_unreserve(store, cycle, state, node)).map(Ok)
        })
    }

    /// # Errors
    /// As every call: when the plugin fails.
    pub fn permit(&mut self, cycle: u64, state: &State, node: u32) -> Result<Permission, CallError> {
        self.call("permit", |store, plugin| {
            either!(plugin, it => it.mizzen_scheduler_plugin().call_permit(store, cycle, state, node)).map(Ok)
        })
    }

    /// # Errors
    /// As every call: when the plugin fails.
    pub fn pre_bind(&mut self, cycle: u64, state: &State, node: u32) -> Result<Result<(), String>, CallError> {
        self.call("pre-bind", |store, plugin| {
            either!(plugin, it => it.mizzen_scheduler_plugin().call_pre_bind(store, cycle, state, node)).map(Ok)
        })
    }

    /// # Errors
    /// As every call: when the plugin fails.
    pub fn end(&mut self, cycle: u64) -> Result<(), CallError> {
        self.call("end", |store, plugin| either!(plugin, it => it.mizzen_scheduler_plugin().call_end(store, cycle)).map(Ok))
    }
}

fn check_verdicts(verdicts: Verdicts, nodes: usize) -> Result<Verdicts, String> {
    if !verdicts.nodes.is_empty() && verdicts.nodes.len() != nodes {
        return Err(format!("{} verdicts on {nodes} nodes", verdicts.nodes.len()));
    }
    match verdicts.nodes.iter().max() {
        Some(last) if *last as usize > verdicts.rejections.len() => {
            Err(format!("rejection {last} of {}", verdicts.rejections.len()))
        }
        _ => Ok(verdicts),
    }
}

fn check_scores(mut scores: Vec<i64>, nodes: usize) -> Result<Option<Vec<i64>>, String> {
    match scores.len() {
        0 => Ok(None),
        n if n == nodes => {
            scores.iter_mut().for_each(|score| *score = (*score).clamp(0, 100));
            Ok(Some(scores))
        }
        n => Err(format!("{n} scores for {nodes} nodes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_as_many_as_nodes_or_none_and_name_rejections_that_are_there() {
        let rejection = Rejection { reasons: vec!["no".into()], unresolvable: false };
        let of = |nodes: &[u32]| check_verdicts(Verdicts { nodes: nodes.to_vec(), rejections: vec![rejection.clone()] }, 2);
        assert!(of(&[]).is_ok());
        assert!(of(&[0, 1]).is_ok());
        assert!(of(&[0]).unwrap_err().contains("1 verdicts on 2 nodes"));
        assert!(of(&[0, 2]).is_err());
    }

    #[test]
    fn scores_are_cut_to_their_range() {
        assert_eq!(check_scores(vec![-5, 101], 2), Ok(Some(vec![0, 100])));
        assert_eq!(check_scores(vec![], 2), Ok(None));
        assert!(check_scores(vec![1], 2).is_err());
    }
}
