//! Why a reconciliation failed.

use mizzen_api::{Reason, Status};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused a request; `operation` names verb and object, such as `create pods default/web-`.
    #[error("{operation}: {status}")]
    Api { operation: String, status: Box<Status> },
    #[error("{operation}: the document does not fit its kind: {source}")]
    Decode { operation: String, source: serde_json::Error },
    #[error("{operation}: cannot encode the document: {source}")]
    Encode { operation: String, source: serde_json::Error },
    /// Anything else, said by the reconciler.
    #[error("{0}")]
    Other(String),
}

impl Error {
    pub fn api(operation: impl Into<String>, status: Status) -> Self {
        Self::Api { operation: operation.into(), status: Box::new(status) }
    }

    /// The API's reason, when the API refused a request.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Api { status, .. } => Some(status.reason),
            _ => None,
        }
    }

    pub fn is(&self, reason: Reason) -> bool {
        self.reason() == Some(reason)
    }

    /// Whether a retry with fresh state is the ordinary answer (a lost race), not worth a warning.
    pub fn is_race(&self) -> bool {
        matches!(self.reason(), Some(Reason::Conflict | Reason::AlreadyExists | Reason::NotFound))
    }
}
