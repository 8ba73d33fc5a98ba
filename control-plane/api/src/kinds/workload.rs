//! What Deployments and ReplicaSets (and later other workloads) have in common.

use serde_json::Value;

use super::value::{list, text};
use crate::descriptor::Column;
use crate::print::or_none;
use crate::selector::LabelSelector;

pub(super) const CONTAINERS: Column = Column::wide("Containers", "Names of each container in the template.");
pub(super) const IMAGES: Column = Column::wide("Images", "Images referenced by each container in the template.");
pub(super) const SELECTOR: Column = Column::wide("Selector", "The label selector of the workload's pods.");

/// The cells of [`CONTAINERS`], [`IMAGES`] and [`SELECTOR`].
pub(super) fn template_cells(object: &Value) -> [Value; 3] {
    let of_containers = |pointer: &str| {
        let parts: Vec<&str> = list(object, "/spec/template/spec/containers").iter().map(|c| text(c, pointer)).collect();
        Value::String(parts.join(","))
    };
    let selector = LabelSelector::from_document(object.pointer("/spec/selector")).map(|s| s.to_string()).unwrap_or_default();
    [of_containers("/name"), of_containers("/image"), or_none(&selector).into()]
}
