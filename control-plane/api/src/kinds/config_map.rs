//! `ConfigMap`.

use std::collections::HashSet;

use serde_json::Value;

use super::builder::{Describe, resource};
use super::value::{entries, flag};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, complaints, config_map_key, forbidden, invalid_text, too_long};

struct ConfigMap;

/// What one ConfigMap or Secret may hold, in bytes.
pub(super) const MAX_SIZE: usize = 1024 * 1024;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "ConfigMap", "configmaps", Scope::Namespaced, ConfigMap).short("cm")
}

const COLUMNS: &[Column] = &[Column::text("Data", "How many keys it has."), Column::AGE];

/// Refuses changes of data once `immutable` is set, and of `immutable` itself.
pub(super) fn check_immutable(object: &Value, old: &Value, fields: &[&str]) -> Vec<Cause> {
    if !flag(old, "/immutable") {
        return Vec::new();
    }
    let mut causes = Vec::new();
    if !flag(object, "/immutable") {
        causes.push(forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for field in fields {
        if object.get(field) != old.get(field) {
            causes.push(forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
    causes
}

impl Strategy for ConfigMap {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let mut size = 0;
        let texts: HashSet<&String> = entries(object, "/data").map(|(key, _)| key).collect();
        for field in ["data", "binaryData"] {
            let path = Path::root(field);
            for (key, value) in entries(object, &format!("/{field}")) {
                causes.extend(complaints(path.key(key), key, config_map_key(key)));
                if field == "binaryData" && texts.contains(key) {
                    causes.push(invalid_text(path.key(key), key, "duplicate of key present in data"));
                }
                let length = value.as_str().map_or(0, str::len);
                size += key.len() + if field == "data" { length } else { length / 4 * 3 };
            }
        }
        if size > MAX_SIZE {
            causes.push(too_long("", MAX_SIZE));
        }
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        check_immutable(object, old, &["data", "binaryData"])
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let count = entries(object, "/data").count() + entries(object, "/binaryData").count();
        vec![count.into(), age(object, context.now).into()]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_checked_in_data_and_binary_data() {
        let causes = ConfigMap.validate(&json!({"data": {"a/b": "", "ok.x": ""}, "binaryData": {"ok.x": "", "..": ""}}));
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["data[a/b]", "binaryData[..]", "binaryData[ok.x]"]);
    }

    #[test]
    fn too_much_data_is_refused() {
        assert_eq!(ConfigMap.validate(&json!({"data": {"a": "x".repeat(MAX_SIZE)}}))[0].reason, "FieldValueTooLong");
    }

    #[test]
    fn an_immutable_config_map_stays_as_it_is() {
        let old = json!({"immutable": true, "data": {"a": "b"}});
        assert_eq!(ConfigMap.validate_update(&old, &old), []);
        let causes = ConfigMap.validate_update(&json!({"data": {"a": "c"}}), &old);
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["immutable", "data"]);
        assert_eq!(ConfigMap.validate_update(&json!({"data": {}}), &json!({"data": {"a": "b"}})), []);
    }
}
