//! The order in which policies and webhooks change a document, and when they are asked again.

use std::sync::Arc;

use mizzen_api::Status;
use serde_json::Value;

use super::hooks::{self, Hook};
use super::is_review;
use super::plugins::{self, Asking, Plugin};
use super::policies;
use super::request::Request;
use super::snapshot::{Bound, Counted, Snapshot};
use super::turn::Turn;
use crate::admission::{Attributes, metrics};

#[derive(Clone)]
enum Step {
    Policy(Arc<Bound>),
    Plugin(Arc<Plugin>),
    /// And its place among the webhooks.
    Hook(usize, Arc<Hook>),
}

impl Step {
    /// `reinvocationPolicy: IfNeeded`.
    fn is_reinvoked(&self) -> bool {
        match self {
            Self::Policy(bound) => bound.policy.is_reinvoked,
            Self::Plugin(plugin) => plugin.is_reinvoked,
            Self::Hook(_, hook) => hook.is_reinvoked,
        }
    }

    /// `asking` is what plugins before were asked about the same document.
    async fn run(
        &self,
        (round, counted): (u8, &Counted),
        attributes: &Attributes<'_>,
        object: &mut Value,
        asking: &mut Asking,
    ) -> Result<(), Status> {
        let at = (metrics::Step::Admit, attributes.operation);
        let changed = match self {
            Self::Policy(bound) => {
                *asking = Asking::default();
                return counted.policies.time(at, policies::mutate(bound, attributes, object)).await;
            }
            Self::Plugin(plugin) => {
                let request = Request::new(attributes, Some(object));
                counted.plugins.time(at, plugins::mutate(plugin, &request, asking)).await?
            }
            Self::Hook(index, hook) => {
                let turn = Turn { round, index: *index, calls: &counted.calls };
                let request = Request::new(attributes, Some(object));
                counted.hooks.time(at, hooks::mutate(hook, &request, turn)).await?
            }
        };
        if let Some(changed) = changed {
            *object = changed;
            *asking = Asking::default();
        }
        Ok(())
    }
}

/// A first round that changed something.
pub(in crate::admission) struct Round {
    /// Who wants to be asked again, and the document as each left it.
    seen: Vec<(Step, Value)>,
    counted: Arc<Counted>,
}

impl Round {
    /// Policies first, then plugins, then webhooks, by name. `None` when the document is as it was.
    pub(super) async fn run(
        snapshot: Arc<Snapshot>,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<Option<Self>, Status> {
        let before = object.clone();
        let mut seen = Vec::new();
        let policies = snapshot.mutating.iter().cloned().map(Step::Policy);
        let plugins = snapshot.mutating_plugins.iter().cloned().map(Step::Plugin);
        let mut asking = Asking::default();
        let policies = policies.chain(plugins).filter(|_| !is_review(attributes));
        let hooks = snapshot.mutating_hooks.iter().cloned().enumerate();
        for step in policies.chain(hooks.map(|(index, hook)| Step::Hook(index, hook))) {
            step.run((0, &snapshot.counted), attributes, object, &mut asking).await?;
            if step.is_reinvoked() {
                seen.push((step, object.clone()));
            }
        }
        Ok((before != *object).then(|| Self { seen, counted: snapshot.counted.clone() }))
    }

    /// Asks those again who asked for it and have not seen the document as it is now.
    pub(in crate::admission) async fn again(&mut self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        for (step, left) in self.seen.drain(..) {
            if left != *object {
                step.run((1, &self.counted), attributes, object, &mut Asking::default()).await?;
            }
        }
        Ok(())
    }
}
