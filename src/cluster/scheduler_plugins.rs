//! Where the loader of plugins and the host that runs them meet the scheduler.

use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::ObjectRef;
use mizzen_plugin_loader::{Component, Loads, Refusal, Shadow, Statistics, Terms};
use mizzen_plugins_host::{Host, SchedulerPlugin};
use mizzen_scheduler::wasm::{self, Roster};
use serde_json::Value;

use super::plugins::{options, refusal};

/// Runs components of the world `mizzen:scheduler/scheduler-plugin`, and puts them into the scheduler's profiles.
pub struct SchedulerEngine {
    pub host: Arc<Host>,
    pub roster: Roster,
}

#[async_trait]
impl Loads for SchedulerEngine {
    type Plugin = wasm::Component;

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
        let Some(component) = component else {
            self.roster.leave(&object.name);
            return Ok(());
        };
        let spec = &document["spec"];
        self.roster.enter(&object.name, spec, component).map_err(|error| Refusal::new("NameTaken", error.to_string()))?;
        match self.roster.unknown(spec).as_slice() {
            [] => Ok(()),
            names => {
                let message = format!("the scheduler has no profile for spec.schedulerNames: {}", names.join(", "));
                Err(Refusal::new("UnknownProfile", message))
            }
        }
    }
}
