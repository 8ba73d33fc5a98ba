//! `ServiceCIDR`: a range that service addresses come from.

use serde_json::{Value, json};

use super::super::builder::{Describe, resource};
use super::super::value::{list, set};
use super::GROUP;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, cidr, complaints, immutable, invalid, required};

struct ServiceCidr;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "ServiceCIDR", "servicecidrs", Scope::Cluster, ServiceCidr).status()
}

const COLUMNS: &[Column] = &[Column::text("CIDRs", "The address ranges."), Column::AGE];

impl Strategy for ServiceCidr {
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let at = Path::root("spec.cidrs");
        let ranges = list(object, "/spec/cidrs");
        if ranges.is_empty() {
            return vec![required(at, "at least one CIDR required")];
        }
        if ranges.len() > 2 {
            return vec![invalid(at, &ranges.into(), "may only hold up to 2 values")];
        }
        let mut causes = Vec::new();
        for (index, range) in ranges.iter().enumerate() {
            let range = range.as_str().unwrap_or("");
            causes.extend(complaints(at.index(index), range, cidr(range)));
        }
        let is_v6 = |range: &Value| range.as_str().is_some_and(|range| range.contains(':'));
        if causes.is_empty() && ranges.len() == 2 && is_v6(&ranges[0]) == is_v6(&ranges[1]) {
            let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            causes.push(invalid(at, &ranges.into(), why));
        }
        causes
    }

    /// A cluster may gain a second family, nothing else.
    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let (new, before) = (list(object, "/spec/cidrs"), list(old, "/spec/cidrs"));
        if before.len() == 1 && new.len() == 2 && new[0] == before[0] {
            return Vec::new();
        }
        if before.len() == 1 && new.len() == 2 {
            return immutable("spec.cidrs[0]", new.first(), before.first()).into_iter().collect();
        }
        immutable("spec.cidrs", object.pointer("/spec/cidrs"), old.pointer("/spec/cidrs")).into_iter().collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let ranges: Vec<&str> = list(object, "/spec/cidrs").iter().filter_map(Value::as_str).collect();
        vec![ranges.join(",").into(), age(object, context.now).into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(ranges: Value) -> Value {
        json!({"spec": {"cidrs": ranges}})
    }

    #[test]
    fn a_range_may_only_gain_the_other_family() {
        let (v4, both) = (ranges(json!(["10.0.0.0/16"])), ranges(json!(["10.0.0.0/16", "fd00::/112"])));
        assert_eq!((ServiceCidr.validate(&v4), ServiceCidr.validate(&both)), (vec![], vec![]));
        assert_eq!(ServiceCidr.validate_update(&both, &v4), []);
        assert_eq!(ServiceCidr.validate_update(&v4, &both)[0].field, "spec.cidrs");
        assert_eq!(ServiceCidr.validate(&ranges(json!(["10.0.0.0/16", "10.1.0.0/16"])))[0].field, "spec.cidrs");
        assert_eq!(ServiceCidr.validate(&ranges(json!(["x"])))[0].field, "spec.cidrs[0]");
    }
}
