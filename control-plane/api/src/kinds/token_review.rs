//! TokenReview and SelfSubjectReview: questions about identity.

use serde_json::Value;

use super::builder::{Describe, resource};
use super::value::text;
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};
use crate::status::Cause;
use crate::validate::required;

const GROUP: &str = "authentication.k8s.io";

struct TokenReview;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "TokenReview", "tokenreviews", Scope::Cluster, TokenReview).answers_only()
}

struct SelfSubjectReview;

pub(super) fn self_subject_review() -> ResourceDescriptor {
    resource(GROUP, "SelfSubjectReview", "selfsubjectreviews", Scope::Cluster, SelfSubjectReview).answers_only()
}

impl Strategy for TokenReview {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        match text(object, "/spec/token") {
            "" => vec![required("spec.token", "token is required for TokenReview in authentication")],
            _ => Vec::new(),
        }
    }
}

impl Strategy for SelfSubjectReview {}
