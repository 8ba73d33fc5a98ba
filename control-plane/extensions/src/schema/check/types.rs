//! What a node of a schema is: its type, the keywords that no structural schema has, and the metadata of a resource.

use mizzen_api::validate::{forbidden, invalid_text, not_supported, required};
use serde_json::Value;

use super::{Level, Walk, flag, is_set, text};

impl Walk {
    pub(super) fn forbidden_keywords(&mut self, path: &str, schema: &Value) {
        for (key, label) in [
            ("$ref", "$ref"),
            ("definitions", "definitions"),
            ("dependencies", "dependencies"),
            ("id", "id"),
            ("patternProperties", "patternProperties"),
            ("additionalItems", "additionalItems"),
            ("$schema", "$schema"),
        ] {
            if is_set(schema, key) {
                self.causes.push(forbidden(format!("{path}.{label}"), &format!("{label} is not supported")));
            }
        }
        if flag(schema, "uniqueItems") {
            let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.causes.push(forbidden(format!("{path}.uniqueItems"), why));
        }
        match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => {
                let why = "additionalProperties cannot be set to false";
                self.causes.push(forbidden(format!("{path}.additionalProperties"), why));
            }
            Some(Value::Object(_) | Value::Bool(true)) if is_set(schema, "properties") => {
                let why = "additionalProperties and properties are mutual exclusive";
                self.causes.push(forbidden(format!("{path}.additionalProperties"), why));
            }
            _ => {}
        }
        if schema.get("items").is_some_and(Value::is_array) {
            self.causes.push(forbidden(format!("{path}.items"), "items must be a schema object and not an array"));
        }
    }

    pub(super) fn types(&mut self, path: &str, schema: &Value, level: Level) {
        const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
        let kind = text(schema, "type");
        let field = format!("{path}.type");
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        let preserves = flag(schema, "x-kubernetes-preserve-unknown-fields");
        if !kind.is_empty() && !TYPES.contains(&kind) {
            self.causes.push(not_supported(&field, kind, &TYPES));
        }
        if embedded && kind != "object" {
            let why = "must be object if x-kubernetes-embedded-resource is true";
            self.causes.push(if kind.is_empty() { required(&field, why) } else { invalid_text(&field, kind, why) });
        } else if kind.is_empty() && !flag(schema, "x-kubernetes-int-or-string") && !preserves {
            let why = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            };
            self.causes.push(required(&field, why));
        }
        if level == Level::Root && !kind.is_empty() && kind != "object" {
            self.causes.push(invalid_text(&field, kind, "must be object at the root"));
        }
        if kind == "array" && schema.get("items").is_none_or(Value::is_null) {
            self.causes.push(required(format!("{path}.items"), "must be specified"));
        }
        if is_set(schema, "additionalProperties") {
            let field = format!("{path}.additionalProperties");
            if level == Level::Root {
                self.causes.push(forbidden(&field, "must not be used at the root"));
            }
            if embedded {
                self.causes.push(forbidden(&field, "must not be used if x-kubernetes-embedded-resource is set"));
            }
        }
        if embedded && !preserves && !is_set(schema, "properties") {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            self.causes.push(required(format!("{path}.properties"), why));
        }
        if flag(schema, "nullable") && flag(schema, "x-kubernetes-int-or-string") && level == Level::Root {
            self.causes.push(forbidden(format!("{path}.nullable"), "nullable cannot be true at the root"));
        }
        if level == Level::Root && flag(schema, "nullable") {
            self.causes.push(forbidden(format!("{path}.nullable"), "nullable cannot be true at the root"));
        }
    }

    /// Of metadata, only the names can be restricted.
    pub(super) fn metadata(&mut self, path: &str, schema: &Value, level: Level) {
        let is_resource = level == Level::Root || flag(schema, "x-kubernetes-embedded-resource");
        let properties = schema.get("properties").unwrap_or(&Value::Null);
        if !is_resource {
            return;
        }
        for name in ["kind", "apiVersion"] {
            if let Some(property) = properties.get(name).filter(|property| text(property, "type") != "string") {
                let field = format!("{path}.properties[{name}].type");
                self.causes.push(invalid_text(field, text(property, "type"), "must be string"));
            }
        }
        let Some(metadata) = properties.get("metadata") else { return };
        let field = format!("{path}.properties[metadata]");
        if text(metadata, "type") != "object" {
            self.causes.push(invalid_text(format!("{field}.type"), text(metadata, "type"), "must be object"));
        }
        let only_names = |metadata: &Value| {
            metadata.as_object().into_iter().flatten().all(|(key, value)| match key.as_str() {
                "type" | "description" => true,
                "properties" => {
                    value.as_object().is_some_and(|names| names.keys().all(|name| ["name", "generateName"].contains(&&**name)))
                }
                _ => !is_set(metadata, key),
            })
        };
        if level == Level::Root && !only_names(metadata) {
            let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            self.causes.push(forbidden(field, why));
        }
    }
}
