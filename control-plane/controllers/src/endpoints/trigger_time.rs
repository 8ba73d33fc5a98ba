//! The annotation that says which change the last write followed, for measuring how long programming the network takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::ServiceView;
use crate::pod_view::PodView;

pub(super) const LAST_CHANGE: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// The newest change of the service or of one of its pods.
pub(super) fn newest(service: &ServiceView, pods: &[Arc<PodView>]) -> Option<Timestamp> {
    pods.iter().filter_map(|pod| pod.ready_since).chain(service.created).max()
}

/// The annotations with the trigger time where it is newer than the one they have, and without one otherwise.
pub(super) fn annotate(
    mut annotations: BTreeMap<String, String>,
    present: Option<&BTreeMap<String, String>>,
    newest: Option<Timestamp>,
) -> BTreeMap<String, String> {
    let known = present.and_then(|present| present.get(LAST_CHANGE)).and_then(|text| text.parse::<Timestamp>().ok());
    if let Some(newest) = newest.filter(|newest| known.is_none_or(|known| known < *newest)) {
        annotations.insert(LAST_CHANGE.to_owned(), newest.to_string());
    }
    annotations
}

/// What somebody other than this annotation has to say.
pub(super) fn others(annotations: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    annotations
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != LAST_CHANGE)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
