//! The audit log (`audit.k8s.io/v1`): who asked what, and what came of it. Off unless there is a policy; a request then pays
//! for looking whether there is one.

mod log;
mod policy;
mod trail;

use std::path::PathBuf;
use std::sync::Arc;

pub use log::LogConfig;
pub use policy::Policy;
pub(crate) use trail::{About, Trail, annotate, note_request};

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
}

/// What a server notes its requests in.
pub struct Audit {
    policy: Policy,
    log: log::Log,
    clock: Clock,
}

impl Audit {
    /// # Errors
    /// When the log cannot be written.
    pub fn open(policy: Policy, log: LogConfig, clock: Clock) -> Result<Arc<Self>, AuditError> {
        Ok(Arc::new(Self { policy, log: log::Log::open(log)?, clock }))
    }

    /// Begins to note a request of `user`; `None` where the policy wants nothing of it.
    pub(crate) fn begin(self: &Arc<Self>, user: &Identity, about: &About<'_>) -> Option<Trail> {
        let decision = self.policy.decide(user, about.action)?;
        Some(Trail::begin(self.clone(), decision, user, about))
    }
}
