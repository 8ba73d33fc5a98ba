//! Admission policies: loaded by an engine that runs components, and watched over here.

use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::ObjectRef;
use mizzen_extensions::plugins::{Answer, Policy, Review, Timer, Vitals};
use tokio::time::Instant;

use crate::context::{Need, Seen, Views};
use crate::fetch::Component;
use crate::loads::{Loads, Statistics};
use crate::meter::Meter;
use crate::refusal::Refusal;
use crate::wanted::Terms;

/// What grants a policy its questions about objects of the cluster.
pub const CONTEXT: &str = "context";

/// Runs components that are policies.
#[async_trait]
pub trait PolicyEngine: Send + Sync + 'static {
    /// Whether the code of the component with this digest is there already.
    fn is_compiled(&self, digest: &str) -> bool;

    /// A policy whose settings were found valid and that is configured with them.
    ///
    /// # Errors
    /// When the component is no policy, imports what it is not granted, or does not take its settings.
    async fn load(&self, offer: Offer<'_>) -> Result<Arc<dyn RunningPolicy>, Refusal>;
}

/// A policy that can be asked.
#[async_trait]
pub trait RunningPolicy: Send + Sync + 'static {
    /// # Errors
    /// Why there is no answer.
    async fn review(&self, review: &Review) -> Result<Answer, String>;

    /// What it says of what is stored, one answer for each. It may take its time, and what fails here does not count against it.
    async fn review_stored(&self, reviews: &[&Review]) -> Vec<Result<Answer, String>>;

    /// Its instances' memory and breaker, and what it counts itself.
    fn vitals(&self) -> Vitals;
}

/// What a policy is to be made of.
pub struct Offer<'a> {
    pub object: &'a ObjectRef,
    pub bytes: Vec<u8>,
    /// Of the bytes, which have it.
    pub digest: &'a str,
    pub terms: &'a Terms,
    views: &'a Views,
}

impl Offer<'_> {
    /// What the policy may see of what it needs, once that is there.
    ///
    /// # Errors
    /// When it may not ask, asks outside of its namespace, or for what is not served.
    pub async fn context(&self, needs: Vec<Need>) -> Result<Seen, Refusal> {
        if needs.is_empty() {
            return Ok(Seen::default());
        }
        if !self.terms.capabilities.contains(CONTEXT) {
            let message = format!("it needs to know of {}, and spec.capabilities does not grant {CONTEXT}", names(&needs));
            return Err(Refusal::new("CapabilityMissing", message));
        }
        let own = &self.object.namespace;
        if let Some(outside) = needs.iter().find(|need| !own.is_empty() && need.namespace != *own) {
            let message = format!(
                "it needs to know of {} {} outside of its namespace, which is for a ClusterAdmissionPolicy",
                outside.api_version, outside.kind
            );
            return Err(Refusal::new("CapabilityMissing", message));
        }
        self.views.of(needs).await
    }
}

fn names(needs: &[Need]) -> String {
    needs.iter().map(|need| format!("{} {}", need.api_version, need.kind)).collect::<Vec<_>>().join(", ")
}

/// A policy at work, and how it does.
pub struct LoadedPolicy {
    running: Arc<dyn RunningPolicy>,
    digest: String,
    meter: Meter,
    timer: Timer,
}

#[async_trait]
impl Policy for LoadedPolicy {
    async fn review(&self, review: &Review) -> Result<Answer, String> {
        let begun = Instant::now();
        let answer = self.running.review(review).await;
        let took = begun.elapsed();
        self.meter.note(took, answer.is_err());
        self.timer.note(took);
        answer
    }

    async fn review_stored(&self, reviews: &[&Review]) -> Vec<Result<Answer, String>> {
        self.running.review_stored(reviews).await
    }

    fn vitals(&self) -> Vitals {
        Vitals { digest: self.digest.clone(), times: self.timer.times(), errors: self.meter.errors(), ..self.running.vitals() }
    }
}

/// Makes policies of both kinds.
#[derive(Clone)]
pub(crate) struct PolicyLoader {
    pub(crate) engine: Arc<dyn PolicyEngine>,
    pub(crate) views: Arc<Views>,
}

#[async_trait]
impl Loads for PolicyLoader {
    type Plugin = LoadedPolicy;

    fn is_compiled(&self, component: &Component) -> bool {
        self.engine.is_compiled(&component.digest)
    }

    async fn load(&self, object: &ObjectRef, component: &Component, terms: &Terms) -> Result<Arc<LoadedPolicy>, Refusal> {
        let bytes = component.read().await?;
        let offer = Offer { object, bytes, digest: &component.digest, terms, views: &self.views };
        let running = self.engine.load(offer).await?;
        let digest = component.digest.clone();
        Ok(Arc::new(LoadedPolicy { running, digest, meter: Meter::default(), timer: Timer::default() }))
    }

    fn statistics(&self, plugin: &LoadedPolicy) -> Statistics {
        let LoadedPolicy { running, meter, .. } = plugin;
        Statistics {
            calls: meter.calls(),
            errors: meter.errors(),
            p50: meter.percentile(50),
            p99: meter.percentile(99),
            memory: running.vitals().memory,
            shadow: None,
        }
    }
}
