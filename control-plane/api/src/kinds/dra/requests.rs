//! What a claim asks for.

use std::collections::HashSet;

use serde_json::Value;

use super::super::value::{absent, fill, int, list, list_mut, set, text};
use super::{check_configs, check_selectors};
use crate::status::Cause;
use crate::validate::{
    Path, complaints, dns1123_label, dns1123_subdomain, duplicate, invalid, not_found, required, required_one_of, too_many,
};

const MOST: usize = 32;
const MAX_ALTERNATIVES: usize = 8;

/// A request is for one device unless told otherwise; `spec` is a claim's.
pub(super) fn default_requests(spec: &mut Value) {
    for request in list_mut(spec, "/devices/requests") {
        if let Some(exact) = request.get_mut("exactly").filter(|exact| exact.is_object()) {
            default_request(exact);
        }
        list_mut(request, "/firstAvailable").for_each(default_request);
    }
}

fn default_request(request: &mut Value) {
    fill(request, "allocationMode", "ExactCount");
    if text(request, "/allocationMode") == "ExactCount" && int(request, "/count").unwrap_or(0) == 0 {
        set(request, "count", 1);
    }
    list_mut(request, "/tolerations").for_each(|toleration| fill(toleration, "operator", "Equal"));
}

/// Checks a claim's spec.
pub(super) fn check_requests(spec: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let at = at.field("devices");
    let (requests, path) = (list(spec, "/devices/requests"), at.field("requests"));
    if requests.len() > MOST {
        causes.push(too_many(path, requests.len(), MOST));
    }
    let mut names = HashSet::new();
    for (index, request) in requests.iter().enumerate() {
        let (at, name) = (path.index(index), text(request, "/name"));
        check_name(name, &at.field("name"), causes);
        if !names.insert(name.to_owned()) {
            causes.push(duplicate(at.field("name"), &name.into()));
        }
        let alternatives = list(request, "/firstAvailable");
        match (absent(request, "/exactly"), alternatives.is_empty()) {
            (true, true) => causes.push(required(at, "exactly one of `exactly` or `firstAvailable` is required")),
            (false, false) => {
                causes.push(invalid(
                    at,
                    request,
                    "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
                ));
            }
            (false, true) => check_exact(&request["exactly"], &at.field("exactly"), causes),
            (true, false) => {
                let path = at.field("firstAvailable");
                if alternatives.len() > MAX_ALTERNATIVES {
                    causes.push(too_many(path, alternatives.len(), MAX_ALTERNATIVES));
                }
                for (index, alternative) in alternatives.iter().enumerate() {
                    let at = path.index(index);
                    check_name(text(alternative, "/name"), &at.field("name"), causes);
                    names.insert(format!("{name}/{}", text(alternative, "/name")));
                    check_exact(alternative, &at, causes);
                }
            }
        }
    }
    let devices = spec.get("devices").unwrap_or(&Value::Null);
    for field in ["constraints", "config"] {
        let path = at.field(field);
        for (index, holder) in list(devices, &format!("/{field}")).iter().enumerate() {
            let at = path.index(index);
            let path = at.field("requests");
            for (index, name) in list(holder, "/requests").iter().filter_map(Value::as_str).enumerate() {
                if !names.contains(name) {
                    causes.push(not_found(path.index(index), name));
                }
            }
        }
    }
    check_configs(devices, &at, causes);
}

fn check_name(name: &str, at: &Path, causes: &mut Vec<Cause>) {
    match name {
        "" => causes.push(required(at, "")),
        name => causes.extend(complaints(at, name, dns1123_label(name))),
    }
}

fn check_exact(request: &Value, at: &Path, causes: &mut Vec<Cause>) {
    match text(request, "/deviceClassName") {
        "" => causes.push(required(at.field("deviceClassName"), "")),
        class => causes.extend(complaints(at.field("deviceClassName"), class, dns1123_subdomain(class))),
    }
    check_selectors(request, at, causes);
    let (mode, count) = (text(request, "/allocationMode"), int(request, "/count").unwrap_or(0));
    causes.extend(required_one_of(at.field("allocationMode"), mode, &["All", "ExactCount"]));
    if mode == "ExactCount" && count <= 0 {
        causes.push(invalid(at.field("count"), &count.into(), "must be greater than zero"));
    } else if mode == "All" && count != 0 {
        causes.push(invalid(at.field("count"), &count.into(), "must not be specified when allocationMode is 'All'"));
    }
}
