//! Value validations, and what stands below `allOf`, `anyOf`, `oneOf` and `not`.

use mizzen_api::validate::{forbidden, invalid_text, required};
use serde_json::{Value, json};

use super::{Walk, array, flag, is_set, property_path, text};
use crate::schema::parse::compile_pattern;

impl Walk {
    pub(super) fn value_validation(&mut self, path: &str, schema: &Value, skip_any_of: bool) {
        let pattern = text(schema, "pattern");
        if !pattern.is_empty()
            && let Err(error) = compile_pattern(pattern)
        {
            let why = format!("must be a valid regular expression, but isn't: {error}");
            self.causes.push(invalid_text(format!("{path}.pattern"), pattern, why));
        }
        for junctor in ["anyOf", "allOf", "oneOf"] {
            if junctor == "anyOf" && skip_any_of {
                continue;
            }
            for (index, nested) in array(schema, junctor).iter().enumerate() {
                // An int-or-string may say what it is in the first of all.
                let first = junctor == "allOf" && index == 0 && flag(schema, "x-kubernetes-int-or-string");
                self.nested(&format!("{path}.{junctor}[{index}]"), nested, first && is_int_or_string(array(nested, "anyOf")));
            }
        }
        if let Some(not) = schema.get("not").filter(|not| not.is_object()) {
            self.nested(&format!("{path}.not"), not, false);
        }
    }

    /// Below a junctor stand only value validations.
    fn nested(&mut self, path: &str, schema: &Value, skip_any_of: bool) {
        self.value_validation(path, schema, skip_any_of);
        for (key, why) in [
            ("type", "must be empty to be structural"),
            ("additionalProperties", "must be undefined to be structural"),
            ("default", "must be undefined to be structural"),
            ("title", "must be empty to be structural"),
            ("description", "must be empty to be structural"),
            ("nullable", "must be false to be structural"),
            ("externalDocs", "must be undefined to be structural"),
            ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
            ("x-kubernetes-embedded-resource", "must be false to be structural"),
            ("x-kubernetes-int-or-string", "must be false to be structural"),
            ("x-kubernetes-list-map-keys", "must be empty to be structural"),
            ("x-kubernetes-list-type", "must be undefined to be structural"),
            ("x-kubernetes-map-type", "must be undefined to be structural"),
            ("x-kubernetes-validations", "must be empty to be structural"),
        ] {
            if is_set(schema, key) {
                self.causes.push(forbidden(format!("{path}.{key}"), why));
            }
        }
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let field = property_path(path, name);
            if name == "metadata" {
                self.causes.push(forbidden(&field, "must not be specified in a nested context"));
            }
            self.nested(&field, property, false);
        }
        if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
            self.nested(&format!("{path}.items"), items, false);
        }
    }

    /// What is named below a junctor must stand in the schema itself.
    pub(super) fn completeness(&mut self, path: &str, schema: &Value) {
        for junctor in ["anyOf", "allOf", "oneOf"] {
            for (index, nested) in array(schema, junctor).iter().enumerate() {
                self.complete(path, schema, &format!("{path}.{junctor}[{index}]"), nested);
            }
        }
        if let Some(not) = schema.get("not").filter(|not| not.is_object()) {
            self.complete(path, schema, &format!("{path}.not"), not);
        }
    }

    fn complete(&mut self, path: &str, schema: &Value, nested_path: &str, nested: &Value) {
        if let Some(items) = nested.get("items").filter(|items| items.is_object()) {
            match schema.get("items") {
                Some(present) => self.complete(&format!("{path}.items"), present, &format!("{nested_path}.items"), items),
                None => {
                    let why = format!("because it is defined in {nested_path}.items");
                    self.causes.push(required(format!("{path}.items"), &why));
                }
            }
        }
        for (name, property) in nested.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let (field, nested_field) = (property_path(path, name), property_path(nested_path, name));
            match schema.get("properties").and_then(|properties| properties.get(name)) {
                Some(present) => self.complete(&field, present, &nested_field, property),
                None => self.causes.push(required(field, &format!("because it is defined in {nested_field}"))),
            }
        }
    }
}

fn is_int_or_string(any_of: &[Value]) -> bool {
    any_of == [json!({"type": "integer"}), json!({"type": "string"})]
}

pub(super) fn int_or_string_pattern(schema: &Value) -> bool {
    flag(schema, "x-kubernetes-int-or-string") && is_int_or_string(array(schema, "anyOf"))
}
