//! `IPAddress`: an address that is taken, named by itself.

use serde_json::Value;

use super::super::builder::{Describe, resource};
use super::super::value::{absent, text};
use super::GROUP;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::status::Cause;
use crate::validate::{NameRule, Path, complaints, dns1123_subdomain, immutable, path_segment, required};

struct IpAddress;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "IPAddress", "ipaddresses", Scope::Cluster, IpAddress).short("ip")
}

const COLUMNS: &[Column] = &[Column::text("ParentRef", "What has the address.")];

/// What tells parents apart.
const PARTS: [&str; 4] = ["group", "resource", "namespace", "name"];

impl Strategy for IpAddress {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let at = Path::root("spec.parentRef");
        let Some(parent) = object.pointer("/spec/parentRef").filter(|parent| !parent.is_null()) else {
            return vec![required(at, "")];
        };
        let group = text(parent, "/group");
        if !group.is_empty() {
            causes.extend(complaints(at.field("group"), group, dns1123_subdomain(group)));
        }
        for field in ["resource", "name"] {
            match text(parent, &format!("/{field}")) {
                "" => causes.push(required(at.field(field), "")),
                name => causes.extend(complaints(at.field(field), name, path_segment(name))),
            }
        }
        if !absent(parent, "/namespace") {
            let namespace = text(parent, "/namespace");
            causes.extend(complaints(at.field("namespace"), namespace, path_segment(namespace)));
        }
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let parent = |object: &Value| PARTS.map(|field| text(object, &format!("/spec/parentRef/{field}")).to_owned());
        if parent(object) == parent(old) {
            // Clients leave out what is empty, whoever wrote it.
            return Vec::new();
        }
        let pointer = "/spec/parentRef";
        immutable("spec.parentRef", object.pointer(pointer), old.pointer(pointer)).into_iter().collect()
    }

    fn name_rule(&self) -> NameRule {
        NameRule::IpAddress
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, _context: Context) -> Vec<Value> {
        let parts = ["resource", "namespace", "name"].map(|field| text(object, &format!("/spec/parentRef/{field}")));
        let resource = match text(object, "/spec/parentRef/group") {
            "" => parts[0].to_owned(),
            group => format!("{}.{group}", parts[0]),
        };
        let named = parts[1..].iter().filter(|part| !part.is_empty()).copied();
        vec![std::iter::once(resource.as_str()).chain(named).collect::<Vec<_>>().join("/").into()]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_has_one_parent() {
        let right = json!({"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "kubernetes"}}});
        assert_eq!(IpAddress.validate(&right), []);
        assert_eq!(IpAddress.cells(&right, Context { now: jiff::Timestamp::UNIX_EPOCH }), ["services/default/kubernetes"]);
        let none = json!({"spec": {}});
        assert_eq!(IpAddress.validate(&none)[0].field, "spec.parentRef");
        assert_eq!(IpAddress.validate_update(&none, &right)[0].field, "spec.parentRef");
        let mut grouped = right.clone();
        grouped["spec"]["parentRef"]["group"] = json!("");
        assert_eq!(IpAddress.validate_update(&right, &grouped), []);
    }
}
