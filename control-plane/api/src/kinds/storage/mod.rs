//! The kinds of `storage.k8s.io`.

mod attachment;
mod attributes_class;
mod capacity;
mod class;
mod driver;
mod node;

use serde_json::Value;

use super::value::entries;
use crate::descriptor::ResourceDescriptor;
use crate::status::Cause;
use crate::validate::{Path, complaints, dns1123_subdomain, invalid_text, required, too_long};

const GROUP: &str = "storage.k8s.io";

pub(super) fn descriptors() -> Vec<ResourceDescriptor> {
    vec![
        driver::descriptor(),
        node::descriptor(),
        capacity::descriptor(),
        class::descriptor(),
        attachment::descriptor(),
        attributes_class::descriptor(),
    ]
}

/// The name of a CSI driver: a domain of at most 63 characters.
fn check_driver_name(name: &str, at: &Path, causes: &mut Vec<Cause>) {
    if name.is_empty() {
        causes.push(required(at, ""));
        return;
    }
    if name.len() > 63 {
        causes.push(too_long(at, 63));
    }
    let lower = name.to_lowercase();
    causes.extend(complaints(at, name, dns1123_subdomain(&lower)));
}

/// Opaque parameters for a driver: bounded, and no key empty.
fn check_parameters(object: &Value, causes: &mut Vec<Cause>) {
    const MOST: usize = 512;
    const MAX_SIZE: usize = 256 * 1024;
    let at = Path::root("parameters");
    let mut size = 0;
    let mut count = 0;
    for (key, value) in entries(object, "/parameters") {
        if key.is_empty() {
            causes.push(invalid_text(at, key, "field can not be empty."));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
        count += 1;
    }
    if count > MOST {
        causes.push(too_long(at, MOST));
    } else if size > MAX_SIZE {
        causes.push(too_long(at, MAX_SIZE));
    }
}
