//! The audit log (`audit.k8s.io/v1`): who asked what, and what came of it. Off unless there is a policy; a request then pays
//! for looking whether there is one.

mod log;
mod policy;
mod trail;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;

pub use log::LogConfig;
pub use policy::Policy;
pub(crate) use trail::{About, Trail, annotate, annotate_if, annotate_with_body, note_request};
pub use webhook::{Batches, Delivery, WebhookConfig};

use crate::auth::{Clock, Identity};

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("the audit policy cannot be used: {why}")]
    Policy { why: String },
    #[error("{operation} the audit log {}: {source}", path.display())]
    Log {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the audit webhook {url}: {why}")]
    Webhook { url: String, why: String },
}

/// What a server notes its requests in.
pub struct Audit {
    policy: Policy,
    log: Option<log::Log>,
    webhook: Option<webhook::Queue>,
    clock: Clock,
}

/// Where events go: to a file, to a webhook, or both.
#[derive(Default)]
pub struct Backends {
    pub log: Option<LogConfig>,
    pub webhook: Option<WebhookConfig>,
}

impl Audit {
    /// Gives what delivers the events to the webhook as well, where there is one: somebody has to run it.
    ///
    /// # Errors
    /// When the log cannot be written, or the webhook's address or credentials cannot be used.
    pub fn open(policy: Policy, backends: Backends, clock: Clock) -> Result<(Arc<Self>, Option<Delivery>), AuditError> {
        let (webhook, delivery) = backends.webhook.map(webhook::open).transpose()?.unzip();
        let log = backends.log.map(log::Log::open).transpose()?;
        Ok((Arc::new(Self { policy, log, webhook, clock }), delivery))
    }

    fn write(&self, event: serde_json::Value, now: jiff::Timestamp) {
        if let Some(log) = &self.log {
            log.write(&event, now);
        }
        if let Some(webhook) = &self.webhook {
            webhook.push(event);
        }
    }

    /// Begins to note a request of `user`; `None` where the policy wants nothing of it.
    pub(crate) fn begin(self: &Arc<Self>, user: &Identity, about: &About<'_>) -> Option<Trail> {
        let decision = self.policy.decide(user, about.action)?;
        Some(Trail::begin(self.clone(), decision, user, about))
    }
}
