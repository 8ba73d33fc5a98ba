//! The SubjectAccessReview family: questions about authorization.

use serde_json::Value;

use super::builder::{Describe, resource};
use super::value::text;
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};
use crate::status::Cause;
use crate::validate::{invalid, required};

const GROUP: &str = "authorization.k8s.io";

struct Review {
    /// The question names its subject.
    subject: bool,
    /// The namespace of the question is that of the request.
    local: bool,
}

pub(super) fn subject_access_review() -> ResourceDescriptor {
    question("SubjectAccessReview", "subjectaccessreviews", Scope::Cluster, Review { subject: true, local: false })
}

pub(super) fn local_subject_access_review() -> ResourceDescriptor {
    question("LocalSubjectAccessReview", "localsubjectaccessreviews", Scope::Namespaced, Review { subject: true, local: true })
}

pub(super) fn self_subject_access_review() -> ResourceDescriptor {
    question("SelfSubjectAccessReview", "selfsubjectaccessreviews", Scope::Cluster, Review { subject: false, local: false })
}

struct Rules;

pub(super) fn self_subject_rules_review() -> ResourceDescriptor {
    resource(GROUP, "SelfSubjectRulesReview", "selfsubjectrulesreviews", Scope::Cluster, Rules).answers_only()
}

fn question(kind: &str, plural: &str, scope: Scope, review: Review) -> ResourceDescriptor {
    resource(GROUP, kind, plural, scope, review).answers_only()
}

impl Strategy for Review {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let (resource, other) = (object.pointer("/spec/resourceAttributes"), object.pointer("/spec/nonResourceAttributes"));
        match (resource, other) {
            (Some(_), Some(other)) => {
                causes.push(invalid(
                    "spec.nonResourceAttributes",
                    other,
                    "cannot be specified in combination with resourceAttributes",
                ));
            }
            (None, None) => causes.push(invalid(
                "spec.resourceAttributes",
                &Value::Null,
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            )),
            _ => {}
        }
        let no_groups = object.pointer("/spec/groups").and_then(Value::as_array).is_none_or(Vec::is_empty);
        if self.subject && text(object, "/spec/user").is_empty() && no_groups {
            causes.push(invalid("spec.user", &"".into(), "at least one of user or group must be specified"));
        }
        if self.local {
            let (inside, asked) = (text(object, "/metadata/namespace"), text(object, "/spec/resourceAttributes/namespace"));
            if inside != asked {
                causes.push(invalid("spec.resourceAttributes.namespace", &asked.into(), "must match metadata.namespace"));
            }
            if let Some(other) = other {
                causes.push(invalid("spec.nonResourceAttributes", other, "disallowed on this kind of request"));
            }
        }
        causes
    }
}

impl Strategy for Rules {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        match text(object, "/spec/namespace") {
            "" => vec![required("spec.namespace", "no namespace on request")],
            _ => Vec::new(),
        }
    }
}
