//! The extensions of Kubernetes that say what lists and maps are.

use std::collections::HashSet;

use mizzen_api::validate::{duplicate, forbidden, invalid, invalid_text, not_supported, required};
use serde_json::{Value, json};

use super::{MOST, Walk, array, flag, property_path, text};

impl Walk {
    pub(super) fn extensions(&mut self, path: &str, schema: &Value) {
        let field = |name: &str| format!("{path}.{name}");
        if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(false)) {
            let name = field("x-kubernetes-preserve-unknown-fields");
            self.causes.push(invalid(name, &json!(false), "must be true or undefined"));
        }
        if flag(schema, "x-kubernetes-int-or-string") {
            for name in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
                if flag(schema, name) {
                    let why = "must be false if x-kubernetes-int-or-string is true";
                    self.causes.push(invalid(field(name), &json!(true), why));
                }
            }
        }
        let map_type = text(schema, "x-kubernetes-map-type");
        if !map_type.is_empty() {
            let name = field("x-kubernetes-map-type");
            if !["atomic", "granular"].contains(&map_type) {
                self.causes.push(not_supported(&name, map_type, &["atomic", "granular"]));
            }
            if text(schema, "type") != "object" {
                let why = "must be object if x-kubernetes-map-type is specified";
                self.causes.push(invalid_text(field("type"), text(schema, "type"), why));
            }
        }
        self.list_type(path, schema);
    }

    fn list_type(&mut self, path: &str, schema: &Value) {
        let list_type = text(schema, "x-kubernetes-list-type");
        let keys = array(schema, "x-kubernetes-list-map-keys");
        let field = |name: &str| format!("{path}.{name}");
        if !list_type.is_empty() {
            let supported = ["atomic", "map", "set"];
            if !supported.contains(&list_type) {
                let cause = not_supported(field("x-kubernetes-list-type"), list_type, &supported);
                return self.causes.push(cause);
            }
            if text(schema, "type") != "array" {
                let why = "must be array if x-kubernetes-list-type is specified";
                let kind = text(schema, "type");
                let cause = if kind.is_empty() { required(field("type"), why) } else { invalid_text(field("type"), kind, why) };
                self.causes.push(cause);
            }
        }
        if !keys.is_empty() && list_type != "map" {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            let name = field("x-kubernetes-list-type");
            self.causes.push(if list_type.is_empty() { required(name, why) } else { invalid_text(name, list_type, why) });
        }
        let items = schema.get("items").unwrap_or(&Value::Null);
        match list_type {
            "map" => self.list_map(path, keys, items),
            "set" => {
                let (kind, name) = (text(items, "type"), field("items"));
                if flag(items, "nullable") {
                    self.causes
                        .push(forbidden(format!("{name}.nullable"), "cannot be nullable when x-kubernetes-list-type is set"));
                }
                let why = match kind {
                    "object" if text(items, "x-kubernetes-map-type") != "atomic" => {
                        Some(("x-kubernetes-map-type", "must be atomic as item of a list with x-kubernetes-list-type=set"))
                    }
                    "array" if !matches!(text(items, "x-kubernetes-list-type"), "" | "atomic") => {
                        Some(("x-kubernetes-list-type", "must be atomic as item of a list with x-kubernetes-list-type=set"))
                    }
                    _ => None,
                };
                if let Some((key, why)) = why {
                    self.causes.push(invalid_text(format!("{name}.{key}"), text(items, key), why));
                }
            }
            _ => {}
        }
    }

    fn list_map(&mut self, path: &str, keys: &[Value], items: &Value) {
        let field = |name: &str| format!("{path}.{name}");
        if keys.is_empty() {
            let why = "must not be empty if x-kubernetes-list-type is map";
            self.causes.push(required(field("x-kubernetes-list-map-keys"), why));
        }
        if text(items, "type") != "object" {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            self.causes.push(invalid_text(field("items.type"), text(items, "type"), why));
        }
        let items_path = field("items");
        let required_names: HashSet<&str> = array(items, "required").iter().filter_map(Value::as_str).collect();
        let mut seen = HashSet::new();
        for (index, key) in keys.iter().enumerate().take(MOST) {
            let name = key.as_str().unwrap_or("");
            let field = field(&format!("x-kubernetes-list-map-keys[{index}]"));
            if !seen.insert(name) {
                self.causes.push(duplicate(&field, key));
            }
            match items.get("properties").and_then(|properties| properties.get(name)) {
                None => self.causes.push(invalid_text(&field, name, "entries must all be names of item properties")),
                Some(property) if matches!(text(property, "type"), "object" | "array") => {
                    let field = format!("{}.type", property_path(&items_path, name));
                    let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    self.causes.push(invalid_text(field, text(property, "type"), why));
                }
                Some(property) => {
                    if !required_names.contains(name) && property.get("default").is_none() {
                        let field = format!("{}.default", property_path(&items_path, name));
                        let why =
                            "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                        self.causes.push(required(field, why));
                    }
                }
            }
        }
    }
}
