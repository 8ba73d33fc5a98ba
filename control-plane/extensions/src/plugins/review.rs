//! What an admission policy is asked, and what it answers.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::ObjectRef;
use parking_lot::Mutex;

use super::Vitals;

/// The policies that are at work in this process, by their objects. Whoever loads them implements it.
pub trait Policies: Send + Sync + 'static {
    /// The policy of an object, which has no namespace if it is a ClusterAdmissionPolicy; `None` while nothing is loaded for it.
    fn find(&self, object: &ObjectRef) -> Option<Arc<dyn Policy>>;
}

/// A policy that is loaded.
#[async_trait]
pub trait Policy: Send + Sync + 'static {
    /// # Errors
    /// Why there is no answer: the policy trapped, took too long, or answered nonsense.
    async fn review(&self, review: &Review) -> Result<Answer, String>;

    /// The same for several at once, in the background: as long as it takes, other requests do not wait for it, and what fails
    /// here does not count against the policy. One answer for each, in their order.
    async fn review_stored(&self, reviews: &[&Review]) -> Vec<Result<Answer, String>> {
        let mut answers = Vec::with_capacity(reviews.len());
        for review in reviews {
            answers.push(self.review(review).await);
        }
        answers
    }

    /// How it does.
    fn vitals(&self) -> Vitals {
        Vitals::default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// Group, version, and kind or resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub group: String,
    pub version: String,
    pub name: String,
}

/// Who asks the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: Vec<(String, Vec<String>)>,
}

/// A request to the API, as Kubernetes' `AdmissionRequest`. Objects are JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    pub uid: String,
    pub kind: Named,
    pub resource: Named,
    pub subresource: Option<String>,
    pub name: String,
    pub namespace: String,
    pub operation: Operation,
    pub user: User,
    pub dry_run: bool,
    pub object: Option<String>,
    pub old_object: Option<String>,
    pub options: Option<String>,
    pub forms: Forms,
}

/// The same in the words of those who are asked, each made once for all of them that have the same words.
#[derive(Default)]
pub struct Forms(Mutex<Vec<Arc<dyn Any + Send + Sync>>>);

impl Review {
    /// It as a `T`, made by `make` when it is first asked for.
    pub fn form<T: Any + Send + Sync>(&self, make: impl FnOnce(&Self) -> T) -> Arc<T> {
        let known = self.forms.0.lock().iter().find_map(|form| form.clone().downcast::<T>().ok());
        known.unwrap_or_else(|| {
            let made = Arc::new(make(self));
            self.forms.0.lock().push(made.clone());
            made
        })
    }
}

impl Clone for Forms {
    /// What is cloned may be changed: its forms are made anew.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Forms {
    /// They say nothing that the review does not say.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Forms {}

impl std::fmt::Debug for Forms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Forms")
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denial {
    /// An HTTP status; 0 means 403.
    pub code: u16,
    /// Kubernetes' status reason; empty means what fits the code.
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Deny(Denial),
    /// A JSON patch (RFC 6902).
    Patch(String),
    /// The whole changed object.
    Replace(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub decision: Decision,
    pub warnings: Vec<String>,
    pub audit_annotations: Vec<(String, String)>,
}
