//! Admission by objects of the API: policies and webhooks (`admissionregistration.k8s.io/v1`), and plugins (`mizzen.dev`). They are compiled when they
//! change, into a snapshot that requests load; where there are none, loading it is all that a request pays.

mod audit;
mod authority;
mod bindings;
mod calls;
mod follow;
mod hooks;
mod metrics;
mod mutation;
mod options;
mod panel;
mod plugins;
mod policies;
mod request;
mod review;
mod snapshot;
mod turn;
mod types;

use std::sync::Arc;

use arc_swap::ArcSwap;
use mizzen_api::Status;
use mizzen_extensions::plugins::Policies;
use mizzen_extensions::policy;
use mizzen_store::Store;
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub(crate) use audit::Auditor;
pub(super) use mutation::Round;

use super::metrics::{OF_PLUGINS, Step};
use super::{Attributes, Operation};
use crate::waited;
use audit::Audited;
use plugins::Asking;
use request::Request;
use snapshot::{Counted, Entries, Snapshot};
use turn::Turn;

/// Its own objects are never asked about: a mistake in them could not be mended.
const GROUP: &str = "admissionregistration.k8s.io";

pub(crate) struct Dynamic {
    store: Arc<dyn Store>,
    /// Without it, the objects of plugins are not looked at.
    plugins: Option<Arc<dyn Policies>>,
    /// What the objects say, each compiled once.
    entries: Mutex<Entries>,
    snapshot: ArcSwap<Snapshot>,
    audited: Mutex<Audited>,
    counted: Arc<Counted>,
}

impl Dynamic {
    /// Takes over what the store has, and follows it on a task of its own until `shutdown`.
    pub(crate) fn start(store: Arc<dyn Store>, plugins: Option<Arc<dyn Policies>>, shutdown: CancellationToken) -> Arc<Self> {
        let dynamic = Arc::new(Self {
            store,
            plugins,
            entries: Mutex::default(),
            snapshot: ArcSwap::default(),
            audited: Mutex::default(),
            counted: Arc::default(),
        });
        let revision = dynamic.load();
        tokio::spawn(follow::run(dynamic.clone(), revision, shutdown));
        dynamic
    }

    /// What there is to ask about a request; `None` when nothing is.
    fn asked(&self, attributes: &Attributes<'_>) -> Option<Arc<Snapshot>> {
        let snapshot = self.snapshot.load();
        (!snapshot.is_empty() && attributes.group() != GROUP).then(|| snapshot.clone())
    }

    /// Lets policies and webhooks change the document. What they changed may have to be looked at once more.
    pub(super) async fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<Option<Round>, Status> {
        if types::is_checked(attributes) {
            types::check(attributes, object);
        }
        let Some(snapshot) = self.asked(attributes).filter(|snapshot| snapshot.mutates()) else { return Ok(None) };
        Round::run(snapshot, attributes, object).await
    }

    pub(super) async fn validate(&self, attributes: &Attributes<'_>, object: Option<&Value>) -> Result<(), Status> {
        if attributes.group() == GROUP
            && attributes.subresource().is_empty()
            && let Some(object) = object
        {
            return check(attributes, object);
        }
        let Some(snapshot) = self.asked(attributes) else { return Ok(()) };
        let request = Request::new(attributes, object);
        if attributes.operation == Operation::Delete {
            // There is no document to change; webhooks that change others may still refuse.
            let mut asking = Asking::default();
            for plugin in &snapshot.mutating_plugins {
                plugins::mutate(plugin, &request, &mut asking).await?;
            }
            for (index, hook) in snapshot.mutating_hooks.iter().enumerate() {
                hooks::mutate(hook, &request, Turn { round: 0, index, calls: &snapshot.counted.calls }).await?;
            }
        }
        let Counted { policies, plugins, hooks, calls } = &*snapshot.counted;
        let step = (Step::Validate, attributes.operation);
        if !is_review(attributes) {
            if !snapshot.validating.is_empty() {
                policies.time(step, policies::validate(&snapshot.validating, &request)).await?;
            }
            if !snapshot.validating_plugins.is_empty() {
                plugins.time(step, plugins::validate(&snapshot.validating_plugins, &request)).await?;
            }
        }
        if !snapshot.validating_hooks.is_empty() {
            let all = snapshot.validating_hooks.iter().enumerate();
            let asked = all.map(|(index, hook)| hooks::validate(hook, &request, Turn { round: 0, index, calls }));
            hooks.time(step, waited::for_others(futures::future::try_join_all(asked))).await?;
        }
        Ok(())
    }

    /// Appends how long policies and webhooks took.
    pub(super) fn report_times(&self, page: &mut String) {
        let Counted { policies, plugins, hooks, calls } = &*self.counted;
        // Kubernetes has a plugin for each of the two steps.
        for (times, [admit, validate]) in [
            (policies, ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"]),
            (plugins, ["AdmissionPlugins", "AdmissionPlugins"]),
            (hooks, ["MutatingAdmissionWebhook", "ValidatingAdmissionWebhook"]),
        ] {
            times.report_step(page, OF_PLUGINS, (Step::Admit, &format!("name=\"{admit}\",")));
            times.report_step(page, OF_PLUGINS, (Step::Validate, &format!("name=\"{validate}\",")));
        }
        calls.report(page);
    }
}

/// Who may do what, and who somebody is: only webhooks are asked about that, as in Kubernetes.
fn is_review(attributes: &Attributes<'_>) -> bool {
    ["authentication.k8s.io", "authorization.k8s.io"].contains(&attributes.group())
}

/// Expressions that cannot be compiled are refused where they are written.
fn check(attributes: &Attributes<'_>, object: &Value) -> Result<(), Status> {
    let causes = policy::check(object, attributes.old);
    match causes.is_empty() {
        true => Ok(()),
        false => Err(crate::errors::invalid(&attributes.target.descriptor, attributes.name(), causes)),
    }
}
