//! What a policy is, and what it answers.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Description, Request, Status};

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Allow,
    Deny(Status),
    /// Allowed with changes: a JSON patch (RFC 6902).
    Patch(Value),
    /// Allowed with changes: the whole changed object.
    Replace(Value),
}

impl Decision {
    /// 403 Forbidden with this message.
    pub fn deny(message: impl Into<String>) -> Self {
        Self::Deny(Status { code: 403, reason: String::new(), message: message.into() })
    }

    /// Denied if there is a message.
    pub fn deny_if(message: Option<String>) -> Self {
        message.map_or(Self::Allow, Self::deny)
    }

    /// Why it is denied, where it is.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Deny(status) => Some(&status.message),
            _ => None,
        }
    }
}

/// A decision with what is said beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub decision: Decision,
    /// Shown to the user by kubectl.
    pub warnings: Vec<String>,
    pub audit_annotations: Vec<(String, String)>,
}

impl From<Decision> for Response {
    fn from(decision: Decision) -> Self {
        Self { decision, warnings: Vec::new(), audit_annotations: Vec::new() }
    }
}

impl Response {
    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}

/// A policy with everything that it can say of itself; one function is enough for most ([`crate::policy!`]).
pub trait Policy: Sized + 'static {
    type Settings: DeserializeOwned;

    /// # Errors
    /// What is wrong with the settings: it keeps the policy from being loaded.
    fn new(settings: Self::Settings) -> Result<Self, String>;

    /// Whether it changes objects, and of which others it asks ([`crate::context`]).
    fn description(&self) -> Description {
        Description { mutating: false, needs: Vec::new() }
    }

    fn review(&mut self, request: &Request) -> Response;
}
