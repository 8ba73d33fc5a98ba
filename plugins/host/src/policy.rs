//! Admission policies: `mizzen:policy/admission-policy`, and those of Kubewarden.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;

use crate::artifact::{Artifact, World};
use crate::error::{CallError, LoadError};
use crate::guest::instances::Instances;
use crate::guest::versions::{Policy, PolicyPre, either};
use crate::guest::{Data, call, linker};
use crate::kubewarden;
use crate::plugin::metrics::Metric;
use crate::plugin::stats::Status;
use crate::plugin::{PluginOptions, Shared};

pub use crate::bindings::policy::mizzen::policy::types::{
    Decision, Description, GroupVersionKind, GroupVersionResource, Need, Operation, Request, Response, Status as Denial, User,
};

/// Requests in one call of `review-batch`, and bytes of their objects: the guest holds all of them at once.
const BATCH: usize = 32;
const BATCH_BYTES: usize = 256 << 10;
/// How long such a call may take, where a single one may not take longer.
const LONGEST_BATCH: Duration = Duration::from_secs(5);
/// After so many failures in a row, nothing else of the batch is tried.
const FAILURES: u32 = 3;

/// Takes objects (JSON) one after the other, as long as it goes on.
pub type Take<'a> = &'a mut dyn FnMut(&str) -> ControlFlow<()>;

/// What a context-aware policy asks: the objects that it said it needs. Called on the thread of the review, so it must answer
/// from memory. Objects are JSON, and no more than `most` of them.
pub trait Context: Send + Sync + 'static {
    fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<String>;
    fn by_label(&self, api_version: &str, kind: &str, namespace: &str, key: &str, value: &str, most: usize) -> Vec<String>;
    fn by_index(&self, api_version: &str, kind: &str, path: &str, value: &str, most: usize) -> Vec<String>;
    fn count(&self, api_version: &str, kind: &str, namespace: &str) -> u64;
    /// Hands over all of them, of a namespace unless that is empty, until `take` breaks off. `false` when the policy did not say
    /// that it needs this kind.
    fn list(&self, api_version: &str, kind: &str, namespace: &str, take: Take<'_>) -> bool;
    /// A namespace by its name, whatever the policy said that it needs. It is asked only about those of requests under review.
    fn namespace(&self, name: &str) -> Option<String>;
}

/// Which namespaces the policy may see while it answers.
fn about(store: &mut Store<Data>, requests: &[Request]) {
    let namespaces = &mut store.data_mut().namespaces;
    namespaces.clear();
    for request in requests.iter().filter(|request| !request.namespace.is_empty()) {
        if !namespaces.contains(&request.namespace) {
            namespaces.push(request.namespace.clone());
        }
    }
}

/// The requests in order, as many at a time as go together.
fn batches(mut requests: &[Request]) -> impl Iterator<Item = &[Request]> {
    let size = |request: &Request| request.object.as_ref().map_or(0, String::len);
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = requests.iter().take(BATCH).take_while(|request| {
            bytes += size(request);
            bytes <= BATCH_BYTES
        });
        // One that is too large for any goes alone.
        let count = fits.count().max(1).min(requests.len());
        let (batch, rest) = requests.split_at(count);
        requests = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

/// A policy with its settings.
pub struct PolicyPlugin(Form);

enum Form {
    Component { instances: Instances<Policy>, description: Description },
    Kubewarden(kubewarden::Policy),
}

impl PolicyPlugin {
    /// Checks imports and settings and starts a first instance. Runs the guest: not for a thread that must not wait.
    ///
    /// # Errors
    /// Why the object that wants this cannot have it.
    pub fn load(artifact: &Artifact, options: PluginOptions) -> Result<Self, LoadError> {
        if let Some(metadata) = artifact.kubewarden() {
            return Ok(Self(Form::Kubewarden(kubewarden::Policy::load(artifact, metadata, options)?)));
        }
        let component = artifact.component(World::Policy)?;
        artifact.check(&options.grants)?;
        let link = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        let linked = linker(&artifact.runtime.engine, artifact)?.instantiate_pre(component).map_err(link)?;
        let policy = PolicyPre::new(linked, artifact.minor()).map_err(link)?;
        let shared = Shared::new(Arc::clone(&artifact.runtime), options);
        let settings = shared.settings.clone();
        let mut first = call::start(&shared, |store| policy.instantiate(store).map(Ok))?;
        if let Err(why) = first.call("validate-settings", shared.limits.start, |store, made| {
            Ok(Ok(either!(made, it => it.mizzen_policy_policy().call_validate_settings(store, &settings))?))
        })? {
            return Err(LoadError::Settings(why));
        }
        let description = first.call("configure", shared.limits.start, |store, made| {
            either!(made, it => it.mizzen_policy_policy().call_configure(store, &settings)).map(Ok)
        })?;
        let make = move |store: &mut Store<Data>| {
            let made = policy.instantiate(&mut *store)?;
            either!(&made, it => it.mizzen_policy_policy().call_configure(store, &settings))?;
            Ok(Ok(made))
        };
        let instances = Instances::new(shared, Box::new(make));
        instances.put_back(first);
        Ok(Self(Form::Component { instances, description }))
    }

    /// Whether it changes objects, and what it needs to see.
    pub fn description(&self) -> &Description {
        match &self.0 {
            Form::Component { description, .. } => description,
            Form::Kubewarden(policy) => policy.description(),
        }
    }

    fn shared(&self) -> &Shared {
        match &self.0 {
            Form::Component { instances, .. } => &instances.shared,
            Form::Kubewarden(policy) => policy.shared(),
        }
    }

    /// Gives it what it said it needs; once. Before that it finds nothing.
    pub fn follow(&self, context: Arc<dyn Context>) {
        let _ = self.shared().context.set(context);
    }

    /// Runs on the calling thread, for at most [`crate::Limits::deadline`].
    ///
    /// # Errors
    /// When the policy gave no answer, or changes objects without having said that it does.
    pub fn review(&self, request: &Request) -> Result<Response, CallError> {
        match &self.0 {
            Form::Component { instances, .. } => instances.call("review", |store, policy| self.ask(store, policy, request)),
            Form::Kubewarden(policy) => policy.review(request, |response| self.check(response)),
        }
    }

    /// [`PolicyPlugin::review`] on a thread that others wait for. `None` when it did not come to an answer within a few
    /// milliseconds, or most likely would not: the policy is to be asked again by [`PolicyPlugin::review`] where it may take its
    /// time.
    ///
    /// # Errors
    /// As for [`PolicyPlugin::review`].
    pub fn review_briefly(&self, request: &Request) -> Option<Result<Response, CallError>> {
        match &self.0 {
            Form::Component { instances, .. } => {
                instances.call_briefly("review", |store, policy| self.ask(store, policy, request))
            }
            // Reading and writing JSON, they are seldom brief.
            Form::Kubewarden(_) => None,
        }
    }

    fn ask(&self, store: &mut Store<Data>, policy: &Policy, request: &Request) -> wasmtime::Result<Result<Response, String>> {
        about(store, std::slice::from_ref(request));
        let response = either!(policy, it => it.mizzen_policy_policy().call_review(store, request))?;
        Ok(self.check(response))
    }

    /// What it says to the creation of what is stored, an answer for each. It takes its time, and a failure here is no reason to
    /// leave the policy alone. Where it fails at several, each is asked about by itself, to know at which.
    ///
    /// # Errors
    /// For each by itself, as for [`PolicyPlugin::review`].
    pub fn review_stored(&self, requests: &[Request]) -> Vec<Result<Response, CallError>> {
        let mut answers = Vec::with_capacity(requests.len());
        for batch in batches(requests) {
            match self.review_batch(batch) {
                Ok(responses) => answers.extend(responses.into_iter().map(Ok)),
                Err(error) if batch.len() == 1 => answers.push(Err(error)),
                Err(_) => self.one_by_one(batch, &mut answers),
            }
        }
        answers
    }

    fn one_by_one(&self, requests: &[Request], answers: &mut Vec<Result<Response, CallError>>) {
        let mut failures = 0;
        for request in requests {
            // Each may take until its deadline: the last failure is as good for the others.
            if failures >= FAILURES
                && let Some(Err(error)) = answers.last()
            {
                let error = error.clone();
                answers.push(Err(error));
                continue;
            }
            // There are as many responses as requests.
            let answer = self.review_batch(std::slice::from_ref(request)).map(|mut responses| responses.swap_remove(0));
            failures = if answer.is_ok() { 0 } else { failures + 1 };
            answers.push(answer);
        }
    }

    /// # Errors
    /// As for [`PolicyPlugin::review`]; also when there are not as many answers as requests.
    pub fn review_batch(&self, requests: &[Request]) -> Result<Vec<Response>, CallError> {
        let instances = match &self.0 {
            Form::Component { instances, .. } => instances,
            // They know of one request at a time.
            Form::Kubewarden(policy) => {
                let ask = |request| policy.review_aside(request, |response| self.check(response));
                return requests.iter().map(ask).collect();
            }
        };
        let each = instances.shared.limits.deadline;
        let deadline = each.saturating_mul(u32::try_from(requests.len()).unwrap_or(u32::MAX)).min(each.max(LONGEST_BATCH));
        instances.call_aside("review-batch", deadline, |store, policy| {
            about(store, requests);
            let responses = either!(policy, it => it.mizzen_policy_policy().call_review_batch(store, requests))?;
            if responses.len() != requests.len() {
                return Ok(Err(format!("{} responses to {} requests", responses.len(), requests.len())));
            }
            Ok(responses.into_iter().map(|response| self.check(response)).collect())
        })
    }

    fn check(&self, response: Response) -> Result<Response, String> {
        match &response.decision {
            Decision::Patch(_) | Decision::Replace(_) if !self.description().mutating => {
                Err("it changes the object, but did not say that it is mutating".to_owned())
            }
            _ => Ok(response),
        }
    }

    pub fn status(&self) -> Status {
        self.shared().status()
    }

    /// What it counts itself.
    pub fn metrics(&self) -> Vec<Metric> {
        self.shared().metrics.all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(bytes: usize) -> Request {
        Request {
            uid: String::new(),
            kind: GroupVersionKind { group: String::new(), version: String::new(), kind: String::new() },
            resource: GroupVersionResource { group: String::new(), version: String::new(), resource: String::new() },
            subresource: None,
            name: String::new(),
            namespace: String::new(),
            operation: Operation::Create,
            user: User { name: String::new(), uid: String::new(), groups: Vec::new(), extra: Vec::new() },
            dry_run: true,
            object: Some("x".repeat(bytes)),
            old_object: None,
            options: None,
        }
    }

    #[test]
    fn batches_are_bounded_by_number_and_bytes() {
        let sizes = |of: &[usize]| -> Vec<usize> {
            let requests: Vec<Request> = of.iter().map(|bytes| request(*bytes)).collect();
            batches(&requests).map(<[Request]>::len).collect()
        };
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&[1; BATCH + 1]), [BATCH, 1]);
        assert_eq!(sizes(&[1, BATCH_BYTES + 1, 1, BATCH_BYTES - 1, 1]), [1, 1, 2, 1]);
    }
}
