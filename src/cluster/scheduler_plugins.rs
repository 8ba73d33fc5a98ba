//! Where the loader of plugins and the host that runs them meet the scheduler.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::ObjectRef;
use mizzen_extensions::plugins::{self, SchedulerPlugins, Times, Vitals};
use mizzen_plugin_loader::{Component, Loads, Refusal, Shadow, Statistics, Terms};
use mizzen_plugins_host::{Host, SchedulerPlugin};
use mizzen_scheduler::wasm::{self, Roster};
use parking_lot::Mutex;
use serde_json::Value;

use super::plugins::{options, refusal, vitals};

/// Runs components of the world `mizzen:scheduler/scheduler-plugin`, and puts them into the scheduler's profiles.
pub struct SchedulerEngine {
    pub host: Arc<Host>,
    pub roster: Roster,
    pub known: Arc<Known>,
}

/// What is loaded for the objects that there are, for metrics.
#[derive(Default)]
pub struct Known(Mutex<BTreeMap<String, Option<Arc<wasm::Component>>>>);

impl SchedulerPlugins for Known {
    fn all(&self) -> Vec<plugins::SchedulerPlugin> {
        let of = |(object, component): (&String, &Option<Arc<wasm::Component>>)| {
            let shadow = component.as_ref().map(|component| component.shadow()).unwrap_or_default();
            plugins::SchedulerPlugin {
                object: object.clone(),
                vitals: component.as_ref().map(|component| of_component(component.plugin())),
                shadow: plugins::Shadow { decisions: shadow.decisions, elsewhere: shadow.elsewhere, unplaced: shadow.unplaced },
            }
        };
        self.0.lock().iter().map(of).collect()
    }
}

fn of_component(plugin: &SchedulerPlugin) -> Vitals {
    let (status, times) = (plugin.status(), plugin.times());
    Vitals {
        digest: plugin.digest().to_owned(),
        times: Times::of(times.counts, times.sum),
        errors: status.errors,
        ..vitals(&status, plugin.metrics())
    }
}

#[async_trait]
impl Loads for SchedulerEngine {
    type Plugin = wasm::Component;

    fn is_compiled(&self, component: &Component) -> bool {
        self.host.is_compiled(&component.digest)
    }

    async fn load(&self, object: &ObjectRef, component: &Component, terms: &Terms) -> Result<Arc<wasm::Component>, Refusal> {
        let bytes = component.read().await?;
        let artifact = self.host.load(bytes.into()).await.map_err(|error| refusal(&error))?;
        let options = options(object, terms);
        // The guest runs here, for as long as it may take to start.
        let loaded = tokio::task::spawn_blocking(move || SchedulerPlugin::load(&artifact, options)).await;
        let plugin = loaded.map_err(|error| Refusal::new("NotStarted", error.to_string()))?.map_err(|error| refusal(&error))?;
        wasm::Component::new(plugin).map_err(|error| Refusal::new("UnknownColumn", error.to_string()))
    }

    fn statistics(&self, component: &wasm::Component) -> Statistics {
        let status = component.plugin().status();
        let micros = |time: std::time::Duration| u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        let counts = component.shadow();
        let shadow = Shadow {
            decisions: counts.decisions,
            elsewhere: counts.elsewhere,
            unplaced: counts.unplaced,
            nodes: counts.nodes,
            rejected_nodes: counts.rejected_nodes,
        };
        Statistics {
            calls: status.calls,
            errors: status.errors,
            p50: micros(status.p50),
            p99: micros(status.p99),
            memory: status.memory,
            shadow: (counts.decisions > 0).then_some(shadow),
        }
    }

    fn engage(&self, object: &ObjectRef, document: &Value, component: Option<&Arc<wasm::Component>>) -> Result<(), Refusal> {
        let mut known = self.known.0.lock();
        match document.is_null() {
            true => known.remove(&object.name),
            false => known.insert(object.name.clone(), component.cloned()),
        };
        drop(known);
        let Some(component) = component else {
            self.roster.leave(&object.name);
            return Ok(());
        };
        let spec = &document["spec"];
        self.roster.enter(&object.name, spec, component).map_err(|error| Refusal::new("NameTaken", error.to_string()))?;
        let (unknown, lacking) = (self.roster.unknown(spec), Roster::lacking(spec, component));
        if !unknown.is_empty() {
            let message = format!("the scheduler has no profile for spec.schedulerNames: {}", unknown.join(", "));
            return Err(Refusal::new("UnknownProfile", message));
        }
        if !lacking.is_empty() {
            let message = format!("the component does nothing at spec.extensionPoints: {}", lacking.join(", "));
            return Err(Refusal::new("UnknownExtensionPoint", message));
        }
        Ok(())
    }
}
