//! Who asks, and whether they may.

pub mod authenticator;
pub mod bootstrap;
mod bootstrap_tokens;
pub mod certificates;
mod issue;
pub mod node;
pub mod rbac;
pub mod reviews;
pub mod token_request;
pub mod tokens;
pub mod union;
pub mod wiring;

use std::collections::BTreeMap;

use mizzen_api::FieldSelector;
use serde_json::{Value, json};

/// Tells the time; injected, so that tests and the simulation own it.
pub type Clock = std::sync::Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// An authenticated user (`authentication.k8s.io/v1.UserInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub username: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// A component of the control plane, in `groups` and `system:authenticated`.
    pub fn component(username: &str, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        groups.push("system:authenticated".to_owned());
        Self { username: username.to_owned(), groups, ..Self::default() }
    }

    /// `UserInfo` as reviews and audit events have it.
    pub(crate) fn user_info(&self) -> Value {
        let mut info = json!({"username": self.username, "groups": self.groups});
        if !self.uid.is_empty() {
            info["uid"] = json!(self.uid);
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}

/// What is asked, as RBAC rules see it.
#[derive(Clone, Debug)]
pub enum Action<'a> {
    Resource {
        /// Lower case, as in RBAC rules: `get`, `list`, `watch`, `create`, …
        verb: &'a str,
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
    },
    /// A path outside `/api` and `/apis`, or discovery, with the lower-case HTTP method.
    Path { verb: &'a str, path: &'a str },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// `reason` names the binding and role, as RBAC does.
    Allow { reason: String },
    /// No rule allows it; `reason` may be empty.
    NoOpinion { reason: String },
}

/// Decides from memory: it is on the path of every request.
pub trait Authorizer: Send + Sync + 'static {
    fn authorize(&self, user: &Identity, action: &Action<'_>) -> Decision;

    /// The same of a list or watch that `fields` narrow.
    fn authorize_selected(&self, user: &Identity, action: &Action<'_>, _fields: &FieldSelector) -> Decision {
        self.authorize(user, action)
    }
}
