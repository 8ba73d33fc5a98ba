//! `CSINode`: the drivers of one node.

use std::collections::HashSet;

use serde_json::Value;

use super::super::builder::resource;
use super::super::value::{int, list, text};
use super::{GROUP, check_driver_name};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, complaints, duplicate, invalid, label_key, required, too_long};

struct CsiNode;

const MAX_NODE_ID: usize = 192;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "CSINode", "csinodes", Scope::Cluster, CsiNode)
}

const COLUMNS: &[Column] = &[Column::number("Drivers", "How many drivers the node has."), Column::AGE];

impl Strategy for CsiNode {
    fn updates_unconditionally(&self) -> bool {
        false
    }

    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let (mut names, drivers) = (HashSet::new(), Path::root("spec.drivers"));
        for (index, driver) in list(object, "/spec/drivers").iter().enumerate() {
            let (at, name) = (drivers.index(index), text(driver, "/name"));
            check_driver_name(name, &at.field("name"), &mut causes);
            match text(driver, "/nodeID") {
                "" => causes.push(required(at.field("nodeID"), "")),
                id if id.len() > MAX_NODE_ID => causes.push(too_long(at.field("nodeID"), MAX_NODE_ID)),
                _ => {}
            }
            if let Some(count) = int(driver, "/allocatable/count").filter(|count| *count < 0) {
                let allocatable = at.field("allocatable");
                causes.push(invalid(allocatable.field("count"), &count.into(), "must be greater than or equal to 0"));
            }
            if !names.insert(name) {
                causes.push(duplicate(at.field("name"), &name.into()));
            }
            let mut keys = HashSet::new();
            let topology = at.field("topologyKeys");
            for key in list(driver, "/topologyKeys").iter().filter_map(Value::as_str) {
                if !keys.insert(key) {
                    causes.push(duplicate(topology, &key.into()));
                }
                causes.extend(complaints(topology, key, label_key(key)));
            }
        }
        causes
    }

    /// Drivers come and go, but one that stays keeps its id and topology.
    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let new = list(object, "/spec/drivers");
        let changed = |before: &&Value| {
            let now = new.iter().find(|driver| text(driver, "/name") == text(before, "/name"))?;
            ["nodeID", "topologyKeys"].iter().any(|field| now.get(field) != before.get(field)).then_some(now)
        };
        let changed = list(old, "/spec/drivers").iter().filter_map(|before| changed(&before));
        changed.map(|driver| invalid("CSINode.Spec.CSIDrivers", driver, "field is immutable")).collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        vec![list(object, "/spec/drivers").len().into(), age(object, context.now).into()]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_driver_of_a_node_keeps_its_id() {
        let node = |id: &str| json!({"spec": {"drivers": [{"name": "a.io", "nodeID": id, "topologyKeys": ["zone"]}]}});
        assert_eq!(CsiNode.validate(&node("n1")), []);
        assert_eq!(CsiNode.validate(&node(""))[0].field, "spec.drivers[0].nodeID");
        assert_eq!(CsiNode.validate_update(&node("n2"), &node("n1")).len(), 1);
        assert_eq!(CsiNode.validate_update(&json!({"spec": {"drivers": []}}), &node("n1")), []);
    }
}
