//! How fast a plugin answers the questions of its test table, on one thread.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mizzen_plugins_host::policy::PolicyPlugin;
use mizzen_plugins_host::{Artifact, SchedulerPlugin, World};

use crate::cases::{Table, questions, scenes};
use crate::error::ToolkitError;
use crate::recorded::pod;

/// What was measured.
pub struct Measured {
    /// What a call is.
    unit: &'static str,
    nodes: Option<usize>,
    /// Of each call, ascending.
    times: Vec<Duration>,
    took: Duration,
    memory: u64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.times.len();
        let nodes = self.nodes.map_or_else(String::new, |nodes| format!(" over {nodes} nodes"));
        let at = |part: f64| self.times.get((calls as f64 * part) as usize).or(self.times.last()).copied().unwrap_or_default();
        writeln!(f, "{:<10} {calls}{nodes} in {:.1} s", self.unit, self.took.as_secs_f64())?;
        writeln!(f, "per second {:.0}", calls as f64 / self.took.as_secs_f64().max(f64::EPSILON))?;
        let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(at);
        writeln!(f, "latency    p50 {p50:.1?}  p90 {p90:.1?}  p99 {p99:.1?}  p99.9 {p999:.1?}  max {:.1?}", at(1.0))?;
        writeln!(f, "memory     {:.1} MB", self.memory as f64 / 1e6)
    }
}

/// Asks the table's questions in turn for as long as `period`. A scheduler plugin is asked by cycles over a cluster of at least
/// `nodes` nodes: the table's, again and again.
///
/// # Errors
/// When the table cannot be read or holds no question, or the plugin fails.
pub fn run(artifact: &Artifact, table: &Path, period: Duration, nodes: usize) -> Result<Measured, ToolkitError> {
    let path = table;
    let table = Table::read(path)?;
    let load = |source| ToolkitError::Load { name: path.display().to_string(), source };
    let mut times = Vec::new();
    let mut memory = 0;
    if artifact.world() == World::Scheduler {
        let scenes = scenes(&table)?;
        let share = share(period, scenes.len(), path)?;
        for (options, cluster, object) in scenes {
            let plugin = SchedulerPlugin::load(artifact, options).map_err(load)?;
            let cluster = Arc::new(cluster.grown(nodes));
            plugin.follow(Arc::clone(&cluster) as _);
            let mut session = plugin.session();
            session.update(&cluster.delta(&plugin.description().columns))?;
            let mut next = 0;
            measure(share, &mut times, || {
                next += 1;
                cluster.begin(next, &object);
                crate::cases::cycle(&mut session, plugin.description().points, &cluster, &pod(next, &object))?;
                session.end(next)?;
                cluster.end(next);
                Ok(())
            })?;
            drop(session);
            memory = memory.max(plugin.status().memory);
        }
    } else {
        let questions = questions(&table)?;
        let share = share(period, questions.len(), path)?;
        for (options, context, request) in questions {
            let plugin = PolicyPlugin::load(artifact, options).map_err(load)?;
            plugin.follow(Arc::new(context));
            measure(share, &mut times, || Ok(plugin.review(&request).map(drop)?))?;
            memory = memory.max(plugin.status().memory);
        }
    }
    let took = times.iter().sum();
    times.sort_unstable();
    let scheduler = artifact.world() == World::Scheduler;
    Ok(Measured { unit: if scheduler { "cycles" } else { "reviews" }, nodes: scheduler.then_some(nodes), times, took, memory })
}

/// How long each of so many questions is asked.
fn share(period: Duration, questions: usize, path: &Path) -> Result<Duration, ToolkitError> {
    match u32::try_from(questions) {
        Ok(questions @ 1..) => Ok(period / questions),
        _ => Err(ToolkitError::Table { path: path.to_owned(), why: "there is no question".to_owned() }),
    }
}

fn measure(
    period: Duration,
    times: &mut Vec<Duration>,
    mut call: impl FnMut() -> Result<(), ToolkitError>,
) -> Result<(), ToolkitError> {
    // What is made at the first call is not what is measured.
    call()?;
    let end = Instant::now() + period;
    loop {
        let began = Instant::now();
        call()?;
        let now = Instant::now();
        times.push(now - began);
        if now >= end {
            return Ok(());
        }
    }
}
