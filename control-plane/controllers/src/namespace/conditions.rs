//! What keeps a namespace from going, as its conditions say it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mizzen_api::{GroupVersion, GroupVersionResource, Object};

use crate::time::whole_seconds;

/// What is left in a namespace after everything was deleted once.
#[derive(Default)]
pub(super) struct Remaining {
    /// Objects by `group/version, resource`-like name.
    objects: BTreeMap<String, usize>,
    /// Objects by the finalizer they wait for.
    finalizers: BTreeMap<String, usize>,
    pub(super) failures: Vec<String>,
    /// Why nobody knows what else there is.
    pub(super) undiscovered: Option<String>,
}

/// What is said of group versions whose server does not answer, if there are any.
pub(super) fn undiscovered(failed: &[GroupVersion]) -> Option<String> {
    let mut all: Vec<String> =
        failed.iter().map(|version| format!("{version}: stale GroupVersion discovery: {version}")).collect();
    all.sort_unstable();
    let says = || {
        let all = all.join(", ");
        format!(
            "Discovery failed for some groups, {} failing: unable to retrieve the complete list of server APIs: {all}",
            failed.len()
        )
    };
    (!failed.is_empty()).then(says)
}

impl Remaining {
    pub(super) fn add(&mut self, resource: &GroupVersionResource, left: &[Arc<Object>]) {
        if !left.is_empty() {
            *self.objects.entry(format!("{}.{}", resource.resource, resource.group)).or_default() += left.len();
        }
        for finalizer in left.iter().flat_map(|object| &object.head().finalizers) {
            *self.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
    }

    /// Something that was found is still there.
    pub(super) fn has_content(&self) -> bool {
        !self.objects.is_empty() || !self.failures.is_empty()
    }

    pub(super) fn is_nothing(&self) -> bool {
        !self.has_content() && self.undiscovered.is_none()
    }
}

fn listed(counts: &BTreeMap<String, usize>, of: &str) -> String {
    counts.iter().map(|(what, count)| format!("{what} {of} {count} resource instances")).collect::<Vec<_>>().join(", ")
}

/// The status with all of the namespace controller's conditions.
pub(super) fn with(status: &NamespaceStatus, remaining: &Remaining, now: Timestamp) -> NamespaceStatus {
    let content = !remaining.objects.is_empty();
    let finalizers = !remaining.finalizers.is_empty();
    let failed = !remaining.failures.is_empty();
    let pick = |condition, yes: String, no: &str| if condition { yes } else { no.to_owned() };
    let conditions = [
        (
            "NamespaceDeletionDiscoveryFailure",
            remaining.undiscovered.is_some(),
            if remaining.undiscovered.is_some() { "DiscoveryFailed" } else { "ResourcesDiscovered" },
            remaining.undiscovered.clone().unwrap_or_else(|| "All resources successfully discovered".to_owned()),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        (
            "NamespaceDeletionContentFailure",
            failed,
            if failed { "ContentDeletionFailed" } else { "ContentDeleted" },
            pick(
                failed,
                format!(
                    "Failed to delete all resource types, {} remaining: {}",
                    remaining.failures.len(),
                    remaining.failures.join(", ")
                ),
                "All content successfully deleted, may be waiting on finalization",
            ),
        ),
        (
            "NamespaceContentRemaining",
            content,
            if content { "SomeResourcesRemain" } else { "ContentRemoved" },
            pick(
                content,
                format!("Some resources are remaining: {}", listed(&remaining.objects, "has")),
                "All content successfully removed",
            ),
        ),
        (
            "NamespaceFinalizersRemaining",
            finalizers,
            if finalizers { "SomeFinalizersRemain" } else { "ContentHasNoFinalizers" },
            pick(
                finalizers,
                format!("Some content in the namespace has finalizers remaining: {}", listed(&remaining.finalizers, "in")),
                "All content-preserving finalizers finished",
            ),
        ),
    ];
    let present = status.conditions.clone().unwrap_or_default();
    let condition = |(kind, value, reason, message): (&str, bool, &str, String)| {
        let value = if value { "True" } else { "False" };
        let same = present.iter().find(|condition| condition.type_ == kind && condition.status == value);
        NamespaceCondition {
            type_: kind.to_owned(),
            status: value.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: same.and_then(|c| c.last_transition_time.clone()).or(Some(Time(whole_seconds(now)))),
        }
    };
    NamespaceStatus { phase: Some("Terminating".to_owned()), conditions: Some(conditions.map(condition).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_answer_is_a_failure_of_discovery_and_holds_the_namespace() {
        let failed = undiscovered(&[GroupVersion::parse("b.example.com/v1"), GroupVersion::parse("a.example.com/v2")]);
        let remaining = Remaining { undiscovered: failed, ..Remaining::default() };
        assert!(!remaining.is_nothing() && !remaining.has_content());
        let status = with(&NamespaceStatus::default(), &remaining, Timestamp::UNIX_EPOCH);
        let all = status.conditions.expect("conditions");
        let told = |kind: &str| {
            let found = all.iter().find(|condition| condition.type_ == kind).expect("is told");
            (found.status.as_str(), found.reason.as_deref().unwrap_or(""), found.message.as_deref().unwrap_or(""))
        };
        assert_eq!(
            told("NamespaceDeletionDiscoveryFailure"),
            (
                "True",
                "DiscoveryFailed",
                "Discovery failed for some groups, 2 failing: unable to retrieve the complete list of server APIs: \
                 a.example.com/v2: stale GroupVersion discovery: a.example.com/v2, \
                 b.example.com/v1: stale GroupVersion discovery: b.example.com/v1"
            )
        );
        assert_eq!(told("NamespaceDeletionContentFailure").0, "False");
        assert_eq!(undiscovered(&[]), None);
    }
}
