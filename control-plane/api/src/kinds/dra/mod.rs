//! The kinds of `resource.k8s.io`: devices, who has them and who wants them.

mod claim;
mod device_class;
mod requests;
mod slice;

use serde_json::Value;

use super::value::{list, text};
use crate::descriptor::ResourceDescriptor;
use crate::status::Cause;
use crate::validate::{Path, complaints, dns1123_subdomain, required, too_long, too_many};

const GROUP: &str = "resource.k8s.io";
const MAX_SELECTORS: usize = 32;
const MAX_CONFIGS: usize = 32;

pub(super) fn descriptors() -> Vec<ResourceDescriptor> {
    vec![device_class::descriptor(), claim::descriptor(), claim::template(), slice::descriptor()]
}

/// CEL expressions that choose devices.
fn check_selectors(holder: &Value, at: &Path, causes: &mut Vec<Cause>) {
    const MAX_EXPRESSION: usize = 10 * 1024;
    let (selectors, path) = (list(holder, "/selectors"), at.field("selectors"));
    if selectors.len() > MAX_SELECTORS {
        causes.push(too_many(path, selectors.len(), MAX_SELECTORS));
    }
    for (index, selector) in selectors.iter().enumerate() {
        let at = path.index(index);
        let cel = at.field("cel");
        match selector.get("cel").filter(|cel| cel.is_object()) {
            None => causes.push(required(cel, "")),
            Some(source) => match text(source, "/expression").len() {
                0 => causes.push(required(cel.field("expression"), "")),
                length if length > MAX_EXPRESSION => causes.push(too_long(cel.field("expression"), MAX_EXPRESSION)),
                _ => {}
            },
        }
    }
}

/// What drivers are told.
fn check_configs(holder: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let (configs, path) = (list(holder, "/config"), at.field("config"));
    if configs.len() > MAX_CONFIGS {
        causes.push(too_many(path, configs.len(), MAX_CONFIGS));
    }
    for (index, config) in configs.iter().enumerate() {
        let at = path.index(index);
        let opaque = at.field("opaque");
        let Some(source) = config.get("opaque").filter(|opaque| opaque.is_object()) else {
            causes.push(required(opaque, ""));
            continue;
        };
        check_driver(text(source, "/driver"), &opaque.field("driver"), causes);
        if source.get("parameters").is_none_or(Value::is_null) {
            causes.push(required(opaque.field("parameters"), ""));
        }
    }
}

fn check_driver(name: &str, at: &Path, causes: &mut Vec<Cause>) {
    match name {
        "" => causes.push(required(at, "")),
        name if name.len() > 63 => causes.push(too_long(at, 63)),
        name => causes.extend(complaints(at, name, dns1123_subdomain(name))),
    }
}
