//! The versions of a custom kind: schema, subresources, columns and selectable fields of each.

use mizzen_api::status::Cause;
use mizzen_api::validate::{dns1035_label, invalid, invalid_text, not_supported, required, too_many};
use serde_json::Value;

use super::validate::{check_schema, hoisted};
use super::{list, text};
use crate::schema::{Structural, Type};

const MAX_SELECTABLE: usize = 8;

pub(super) fn validate(object: &Value) -> Vec<Cause> {
    let versions = list(object, "/spec/versions");
    let all = object.pointer("/spec/versions").unwrap_or(&Value::Null);
    let mut causes = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let name = text(version, "/name");
        let wrong = dns1035_label(name);
        if !wrong.is_empty() {
            causes.push(invalid_text(format!("spec.versions[{index}].name"), name, wrong.join(",")));
        }
        if seen.contains(&name) {
            causes.push(invalid("spec.versions", all, "must contain unique version names"));
        }
        seen.push(name);
        causes.extend(check_schema(object, index, version));
        causes.extend(subresources(object, index, version));
        causes.extend(columns(object, index, version));
        causes.extend(selectable_fields(index, version));
        let warning = text(version, "/deprecationWarning");
        if !warning.is_empty() && version["deprecated"] != true {
            let field = format!("spec.versions[{index}].deprecationWarning");
            causes.push(invalid_text(field, warning, "can only be set for deprecated versions"));
        }
    }
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        causes.push(invalid("spec.versions", all, "must have exactly one version marked as storage version"));
    }
    causes
}

fn place(object: &Value, index: usize, field: &str) -> Option<String> {
    match hoisted(object, &format!("/{field}")) {
        true if index > 0 => None,
        true => Some(format!("spec.{field}")),
        false => Some(format!("spec.versions[{index}].{field}")),
    }
}

fn subresources(object: &Value, index: usize, version: &Value) -> Vec<Cause> {
    let Some(scale) = version.pointer("/subresources/scale").filter(|scale| scale.is_object()) else { return Vec::new() };
    let Some(path) = place(object, index, "subresources") else { return Vec::new() };
    let mut causes = Vec::new();
    for (field, root) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status."), ("labelSelectorPath", "")] {
        let given = text(scale, &format!("/{field}"));
        let place = format!("{path}.scale.{field}");
        if given.is_empty() {
            if field != "labelSelectorPath" {
                causes.push(required(place, ""));
            }
        } else if !is_plain(given) {
            let why = "should be a json path without array notation";
            causes.push(invalid_text(place, given, why));
        } else if !given.starts_with(root) {
            causes.push(invalid_text(place, given, format!("should be a json path under {}", root.trim_end_matches('.'))));
        } else if field == "labelSelectorPath" && !given.starts_with(".spec.") && !given.starts_with(".status.") {
            causes.push(invalid_text(place, given, "should be a json path under either .spec or .status"));
        }
    }
    causes
}

/// Only fields, one below the other.
fn is_plain(path: &str) -> bool {
    path.starts_with('.') && !path.contains(['[', ']', '*', '?', '@', '(', ')']) && !path.contains("..") && !path.ends_with('.')
}

fn columns(object: &Value, index: usize, version: &Value) -> Vec<Cause> {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 9] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password", "name"];
    let Some(path) = place(object, index, "additionalPrinterColumns") else { return Vec::new() };
    let mut causes = Vec::new();
    for (index, column) in list(version, "/additionalPrinterColumns").iter().enumerate() {
        let field = |name: &str| format!("{path}[{index}].{name}");
        let (name, kind, format) = (text(column, "/name"), text(column, "/type"), text(column, "/format"));
        if name.is_empty() {
            causes.push(required(field("name"), ""));
        }
        match kind {
            "" => causes.push(required(field("type"), &format!("must be one of {}", TYPES.join(",")))),
            kind if !TYPES.contains(&kind) => {
                causes.push(invalid_text(field("type"), kind, format!("must be one of {}", TYPES.join(","))));
            }
            _ => {}
        }
        if !format.is_empty() && !FORMATS.contains(&format) {
            causes.push(not_supported(field("format"), format, &FORMATS));
        }
        let json_path = text(column, "/jsonPath");
        if json_path.is_empty() {
            causes.push(required(field("JSONPath"), ""));
        } else if !json_path.starts_with('.') {
            let why = "must be a simple json path starting with .";
            causes.push(invalid_text(field("JSONPath"), json_path, why));
        }
    }
    causes
}

fn selectable_fields(index: usize, version: &Value) -> Vec<Cause> {
    let fields = list(version, "/selectableFields");
    let path = format!("spec.versions[{index}].selectableFields");
    let mut causes = Vec::new();
    if fields.is_empty() {
        return causes;
    }
    if fields.len() > MAX_SELECTABLE {
        causes.push(too_many(&path, fields.len(), MAX_SELECTABLE));
    }
    let schema = Structural::parse(version.pointer("/schema/openAPIV3Schema").unwrap_or(&Value::Null));
    let mut seen = Vec::new();
    for (index, selectable) in fields.iter().enumerate() {
        let (given, field) = (text(selectable, "/jsonPath"), format!("{path}[{index}].jsonPath"));
        if given.is_empty() {
            causes.push(required(field, ""));
            continue;
        }
        if seen.contains(&given) {
            causes.push(mizzen_api::validate::duplicate(&field, &given.into()));
        }
        seen.push(given);
        if !is_plain(given) {
            causes.push(invalid_text(field, given, "is an invalid path: array notation is not allowed"));
            continue;
        }
        let mut node = Some(&schema);
        for name in given.trim_start_matches('.').split('.') {
            node = node.and_then(|node| node.properties.get(name));
        }
        match node {
            None => causes.push(invalid_text(field, given, "is an invalid path: does not refer to a valid field")),
            Some(_) if given.starts_with(".metadata") => {
                causes.push(invalid_text(field, given, "must not point to fields in metadata"));
            }
            Some(node) if !matches!(node.kind, Type::Boolean | Type::Integer | Type::String) => {
                let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                causes.push(invalid_text(field, given, why));
            }
            Some(_) => {}
        }
    }
    causes
}
