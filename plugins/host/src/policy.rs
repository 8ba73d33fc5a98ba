//! Admission policies: `mizzen:policy/admission-policy`.

use std::sync::Arc;

use wasmtime::Store;

use crate::artifact::{Artifact, World};
use crate::bindings::policy::{AdmissionPolicy, AdmissionPolicyPre};
use crate::error::{CallError, LoadError};
use crate::guest::instances::Instances;
use crate::guest::{Data, call, linker};
use crate::plugin::metrics::Metric;
use crate::plugin::stats::Status;
use crate::plugin::{PluginOptions, Shared};

pub use crate::bindings::policy::mizzen::policy::types::{
    Decision, Description, GroupVersionKind, GroupVersionResource, Need, Operation, Request, Response, Status as Denial, User,
};

/// What a context-aware policy asks: the objects that it said it needs. Called on the thread of the review, so it must answer
/// from memory. Objects are JSON, and no more than `most` of them.
pub trait Context: Send + Sync + 'static {
    fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<String>;
    fn by_label(&self, api_version: &str, kind: &str, namespace: &str, key: &str, value: &str, most: usize) -> Vec<String>;
    fn by_index(&self, api_version: &str, kind: &str, path: &str, value: &str, most: usize) -> Vec<String>;
    fn count(&self, api_version: &str, kind: &str, namespace: &str) -> u64;
}

/// A policy with its settings.
pub struct PolicyPlugin {
    instances: Instances<AdmissionPolicy>,
    description: Description,
}

impl PolicyPlugin {
    /// Checks imports and settings and starts a first instance. Runs the guest: not for a thread that must not wait.
    ///
    /// # Errors
    /// Why the object that wants this cannot have it.
    pub fn load(artifact: &Artifact, options: PluginOptions) -> Result<Self, LoadError> {
        let component = artifact.component(World::Policy)?;
        artifact.check(&options.grants)?;
        let link = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        let linked = linker(&artifact.runtime.engine, artifact)?.instantiate_pre(component).map_err(link)?;
        let policy = AdmissionPolicyPre::new(linked).map_err(link)?;
        let shared = Shared::new(Arc::clone(&artifact.runtime), options);
        let settings = shared.settings.clone();
        let mut first = call::start(&shared, |store| policy.instantiate(store).map(Ok))?;
        if let Err(why) = first.call("validate-settings", shared.limits.start, |store, made| {
            Ok(Ok(made.mizzen_policy_policy().call_validate_settings(store, &settings)?))
        })? {
            return Err(LoadError::Settings(why));
        }
        let description = first.call("configure", shared.limits.start, |store, made| {
            Ok(Ok(made.mizzen_policy_policy().call_configure(store, &settings)?))
        })?;
        let make = move |store: &mut Store<Data>| {
            let made = policy.instantiate(&mut *store)?;
            made.mizzen_policy_policy().call_configure(store, &settings)?;
            Ok(Ok(made))
        };
        let instances = Instances::new(shared, Box::new(make));
        instances.put_back(first);
        Ok(Self { instances, description })
    }

    /// Whether it changes objects, and what it needs to see.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Gives it what it said it needs; once. Before that it finds nothing.
    pub fn follow(&self, context: Arc<dyn Context>) {
        let _ = self.instances.shared.context.set(context);
    }

    /// Runs on the calling thread, for at most [`crate::Limits::deadline`].
    ///
    /// # Errors
    /// When the policy gave no answer, or changes objects without having said that it does.
    pub fn review(&self, request: &Request) -> Result<Response, CallError> {
        self.instances.call("review", |store, policy| {
            let response = policy.mizzen_policy_policy().call_review(store, request)?;
            Ok(self.check(response))
        })
    }

    /// # Errors
    /// As for [`PolicyPlugin::review`]; also when there are not as many answers as requests.
    pub fn review_batch(&self, requests: &[Request]) -> Result<Vec<Response>, CallError> {
        self.instances.call("review-batch", |store, policy| {
            let responses = policy.mizzen_policy_policy().call_review_batch(store, requests)?;
            if responses.len() != requests.len() {
                return Ok(Err(format!("{} responses to {} requests", responses.len(), requests.len())));
            }
            Ok(responses.into_iter().map(|response| self.check(response)).collect())
        })
    }

    fn check(&self, response: Response) -> Result<Response, String> {
        match &response.decision {
            Decision::Patch(_) | Decision::Replace(_) if !self.description.mutating => {
                Err("it changes the object, but did not say that it is mutating".to_owned())
            }
            _ => Ok(response),
        }
    }

    pub fn status(&self) -> Status {
        self.instances.shared.status()
    }

    /// What it counts itself.
    pub fn metrics(&self) -> Vec<Metric> {
        self.instances.shared.metrics.all()
    }
}
