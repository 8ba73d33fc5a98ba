//! `ComponentStatus`: how the parts of the control plane are. Nothing is stored; the API server tells.

use serde_json::Value;

use super::builder::{Describe, resource};
use super::value::{list, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy, Verb};

struct ComponentStatus;

pub(super) fn descriptor() -> ResourceDescriptor {
    let mut descriptor = resource("", "ComponentStatus", "componentstatuses", Scope::Cluster, ComponentStatus).short("cs");
    descriptor.verbs = &[Verb::Get, Verb::List];
    descriptor
}

const COLUMNS: &[Column] = &[
    Column::text("Status", "Whether the component is healthy."),
    Column::text("Message", "What it says of itself."),
    Column::text("Error", "Why nothing is known of it."),
];

impl Strategy for ComponentStatus {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, _context: Context) -> Vec<Value> {
        let healthy = list(object, "/conditions").iter().find(|condition| text(condition, "/type") == "Healthy");
        let word = match healthy.map(|condition| text(condition, "/status")) {
            Some("True") => "Healthy",
            Some("False") => "Unhealthy",
            _ => "Unknown",
        };
        let of = |field: &str| healthy.map_or("", |condition| text(condition, field));
        vec![word.into(), of("/message").into(), of("/error").into()]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_component_is_healthy_or_says_why_not() {
        let cells = |status: &str| {
            let object = json!({"conditions": [{"type": "Healthy", "status": status, "message": "ok"}]});
            ComponentStatus.cells(&object, Context { now: jiff::Timestamp::UNIX_EPOCH })
        };
        assert_eq!(cells("True"), ["Healthy", "ok", ""]);
        assert_eq!(cells("False")[0], "Unhealthy");
    }
}
