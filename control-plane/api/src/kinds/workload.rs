//! What workloads have in common.

use serde_json::Value;

use super::value::{list, text};
use crate::Pointed as _;
use crate::descriptor::Column;
use crate::print::or_none;
use crate::selector::LabelSelector;
use crate::status::Cause;
use crate::validate::{Path, invalid_text, non_negative};

pub(super) const CONTAINERS: Column = Column::wide("Containers", "Names of each container in the template.");
pub(super) const IMAGES: Column = Column::wide("Images", "Images referenced by each container in the template.");
pub(super) const SELECTOR: Column = Column::wide("Selector", "The label selector of the workload's pods.");

/// The cells of [`CONTAINERS`] and [`IMAGES`] for the containers at a pointer.
pub(super) fn container_cells(object: &Value, containers: &str) -> [Value; 2] {
    ["/name", "/image"].map(|pointer| {
        let parts: Vec<&str> = list(object, containers).iter().map(|container| text(container, pointer)).collect();
        Value::String(parts.join(","))
    })
}

/// The cells of [`CONTAINERS`], [`IMAGES`] and [`SELECTOR`].
pub(super) fn template_cells(object: &Value) -> [Value; 3] {
    let [containers, images] = container_cells(object, "/spec/template/spec/containers");
    let selector = LabelSelector::from_document(object.at("/spec/selector")).map(|s| s.to_string()).unwrap_or_default();
    [containers, images, or_none(&selector).into()]
}

/// A count or a percentage.
pub(super) fn check_amount(value: &Value, at: &Path, at_most_all: bool, causes: &mut Vec<Cause>) {
    match value {
        Value::String(percent) => match percent
            .strip_suffix('%')
            .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        {
            None => causes.push(invalid_text(
                at,
                percent,
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for \
                 validation is '[0-9]+%')",
            )),
            Some(digits) if at_most_all && digits.parse::<u64>().is_ok_and(|percent| percent > 100) => {
                causes.push(invalid_text(at, percent, "must not be greater than 100%"));
            }
            Some(_) => {}
        },
        number => causes.extend(non_negative(at, Some(number))),
    }
}

/// Whether a count or percentage means nothing at all.
pub(super) fn is_zero(amount: Option<&Value>) -> bool {
    match amount {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text == "0%",
        Some(number) => number.as_i64() == Some(0),
    }
}
