//! Values against their schema, in the words of Kubernetes' validator (`kube-openapi/pkg/validation/validate`).

use std::fmt::Write as _;

use mizzen_api::status::Cause;
use mizzen_api::validate::{duplicate, invalid, required};
use serde_json::{Map, Value};

use super::list_type;
use super::structural::{ListType, Structural, Type};
use super::{Limits, format};

/// So many wrong fields are told, in so many bytes; a document with more is no more readable for it.
const MOST: usize = 100;
const MOST_BYTES: usize = 64 * 1024;

/// Every wrong value of a document. What is the same as in `old` was accepted once and is not looked at again (CRD
/// validation ratcheting).
pub fn validate(schema: &Structural, value: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut walk = Walk { path: String::new(), causes: Vec::new() };
    walk.value(schema, value, old, true);
    walk.causes
}

struct Walk {
    path: String,
    causes: Vec<Cause>,
}

impl Walk {
    fn value(&mut self, schema: &Structural, value: &Value, old: Option<&Value>, is_root: bool) {
        if self.is_full() || (!is_root && old == Some(value)) {
            return;
        }
        if value.is_null() {
            if !schema.nullable && (schema.kind != Type::Any || schema.int_or_string) {
                self.wrong_type(schema, value);
            }
            return;
        }
        let fits = match schema.int_or_string {
            true => value.is_string() || Type::Integer.holds(value),
            false => schema.kind.holds(value),
        };
        if !fits {
            return self.wrong_type(schema, value);
        }
        self.limits(&schema.limits, value);
        match value {
            Value::Object(object) => self.object(schema, object, old, is_root),
            Value::Array(items) => self.array(schema, items, old),
            _ => {}
        }
    }

    fn object(&mut self, schema: &Structural, object: &Map<String, Value>, old: Option<&Value>, is_root: bool) {
        if schema.embedded {
            self.embedded(object);
        }
        for (key, value) in object {
            if (is_root || schema.embedded) && matches!(key.as_str(), "metadata" | "apiVersion" | "kind") {
                continue;
            }
            if let Some(schema) = schema.field(key) {
                let length = self.enter(key);
                let old = old.and_then(|old| old.get(key));
                self.value(schema, value, old, false);
                self.path.truncate(length);
            }
        }
    }

    /// A whole object inside another one says what it is.
    fn embedded(&mut self, object: &Map<String, Value>) {
        for field in ["apiVersion", "kind"] {
            if object.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
                let length = self.enter(field);
                self.causes.push(required(&self.path, "must not be empty"));
                self.path.truncate(length);
            }
        }
    }

    fn array(&mut self, schema: &Structural, items: &[Value], old: Option<&Value>) {
        for index in list_type::duplicates(schema, items) {
            let item = list_type::shown(&schema.list_type, &items[index]);
            self.causes.push(duplicate(format!("{}[{index}]", self.path), &item));
        }
        let Some(item_schema) = &schema.items else { return };
        let before = list_type::Correlated::new(&schema.list_type, old);
        for (index, item) in items.iter().enumerate() {
            let length = self.path.len();
            // Writing to a String cannot fail.
            let _ = write!(self.path, "[{index}]");
            let old = match schema.list_type {
                ListType::Map(_) => before.find(item),
                _ => None,
            };
            self.value(item_schema, item, old, false);
            self.path.truncate(length);
        }
    }

    fn limits(&mut self, limits: &Limits, value: &Value) {
        if !limits.enumeration.is_empty() && !limits.enumeration.iter().any(|allowed| same(allowed, value)) {
            let mut allowed: Vec<String> = limits.enumeration.iter().map(mizzen_api::validate::quoted).collect();
            allowed.sort_unstable();
            let quoted = mizzen_api::validate::quoted(value);
            let message = format!("Unsupported value: {quoted}: supported values: {}", allowed.join(", "));
            self.push("FieldValueNotSupported", message);
        }
        match value {
            Value::String(text) => self.text(limits, text),
            Value::Number(number) => self.number(limits, number.as_f64().unwrap_or(f64::NAN), value),
            Value::Array(items) => self.sizes("items", items.len(), limits.min_items, limits.max_items),
            Value::Object(object) => {
                self.sizes("properties", object.len(), limits.min_properties, limits.max_properties);
                for name in &limits.required {
                    if !object.contains_key(name) {
                        let length = self.enter(name);
                        self.causes.push(required(&self.path, ""));
                        self.path.truncate(length);
                    }
                }
            }
            _ => {}
        }
        self.junctors(limits, value);
    }

    fn text(&mut self, limits: &Limits, text: &str) {
        let length = text.chars().count() as u64;
        let value = Value::String(text.to_owned());
        if let Some(most) = limits.max_length.filter(|most| length > *most) {
            self.push("FieldValueTooLong", format!("Too long: may not be more than {most} bytes"));
        }
        if let Some(least) = limits.min_length.filter(|least| length < *least) {
            self.invalid(&value, &format!("should be at least {least} chars long"));
        }
        if let Some((pattern, Some(regex))) = &limits.pattern
            && !regex.is_match(text)
        {
            self.invalid(&value, &format!("should match '{pattern}'"));
        }
        if let Some(format) = limits.format.as_deref().filter(|format| !format::is_valid(format, text)) {
            self.invalid(&value, &format!("must be of type {format}: {text:?}"));
        }
    }

    fn number(&mut self, limits: &Limits, number: f64, value: &Value) {
        if let Some(most) = limits.maximum {
            match limits.exclusive_maximum {
                true if number >= most => self.invalid(value, &format!("should be less than {most}")),
                false if number > most => self.invalid(value, &format!("should be less than or equal to {most}")),
                _ => {}
            }
        }
        if let Some(least) = limits.minimum {
            match limits.exclusive_minimum {
                true if number <= least => self.invalid(value, &format!("should be greater than {least}")),
                false if number < least => self.invalid(value, &format!("should be greater than or equal to {least}")),
                _ => {}
            }
        }
        if let Some(step) = limits.multiple_of
            && step != 0.0
            && (number / step).fract().abs() > f64::EPSILON
        {
            self.invalid(value, &format!("should be a multiple of {step}"));
        }
    }

    fn sizes(&mut self, what: &str, count: usize, least: Option<u64>, most: Option<u64>) {
        let count = count as u64;
        if let Some(most) = most.filter(|most| count > *most) {
            self.push("FieldValueTooMany", format!("Too many: {count}: must have at most {most} items"));
        }
        if let Some(least) = least.filter(|least| count < *least) {
            self.invalid(&count.into(), &format!("should have at least {least} {what}"));
        }
    }

    fn junctors(&mut self, limits: &Limits, value: &Value) {
        if let Some((first, others)) = limits.any_of.split_first() {
            let causes = branch(&self.path, first, value);
            if !causes.is_empty() && !others.iter().any(|schema| branch(&self.path, schema, value).is_empty()) {
                self.invalid(&"".into(), "must validate at least one schema (anyOf)");
                self.causes.extend(causes);
            }
        }
        if !limits.one_of.is_empty() {
            let found = limits.one_of.iter().filter(|schema| branch(&self.path, schema, value).is_empty()).count();
            if found != 1 {
                let detail = match found {
                    0 => "Found none valid".to_owned(),
                    found => format!("Found {found} valid alternatives"),
                };
                self.invalid(&"".into(), &format!("must validate one and only one schema (oneOf). {detail}"));
            }
        }
        if limits.not.as_deref().is_some_and(|schema| branch(&self.path, schema, value).is_empty()) {
            self.invalid(&"".into(), "must not validate the schema (not)");
        }
        let before = self.causes.len();
        for schema in &limits.all_of {
            self.nested(schema, value);
        }
        if self.causes.len() > before {
            self.invalid(&"".into(), "must validate all the schemas (allOf)");
        }
    }

    /// What a schema below a junctor has to say; its types say nothing of null.
    fn nested(&mut self, schema: &Structural, value: &Value) {
        if self.is_full() {
            return;
        }
        if schema.kind != Type::Any && !schema.kind.holds(value) {
            return self.wrong_type(schema, value);
        }
        self.limits(&schema.limits, value);
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    if let Some(schema) = schema.field(key) {
                        let length = self.enter(key);
                        self.nested(schema, value);
                        self.path.truncate(length);
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = &schema.items else { return };
                for (index, item) in items.iter().enumerate() {
                    let length = self.path.len();
                    let _ = write!(self.path, "[{index}]");
                    self.nested(schema, item);
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn is_full(&self) -> bool {
        let bytes = || self.causes.iter().map(|cause| cause.field.len() + cause.message.len()).sum::<usize>();
        self.causes.len() >= MOST || (!self.causes.is_empty() && bytes() >= MOST_BYTES)
    }

    fn wrong_type(&mut self, schema: &Structural, value: &Value) {
        let found = type_of(value);
        let wanted = match (schema.int_or_string, schema.kind) {
            (true, _) => "integer,string".to_owned(),
            (_, kind) => kind.as_str().to_owned(),
        };
        let name = &self.path;
        let message = format!("Invalid value: {found:?}: {name} in body must be of type {wanted}: {found:?}");
        self.push("FieldValueTypeInvalid", message);
    }

    fn invalid(&mut self, value: &Value, detail: &str) {
        let detail = format!("{} in body {detail}", self.path);
        self.causes.push(invalid(self.field(), value, detail.trim_start()));
    }

    fn push(&mut self, reason: &str, message: String) {
        self.causes.push(Cause { reason: reason.to_owned(), message, field: self.field() });
    }

    fn field(&self) -> String {
        if self.path.is_empty() { "<nil>".to_owned() } else { self.path.clone() }
    }

    fn enter(&mut self, key: &str) -> usize {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        length
    }
}

/// What one branch of a junctor has to say. It is asked once: junctors nest, and to ask twice at each level would double
/// the work with every level.
fn branch(path: &str, schema: &Structural, value: &Value) -> Vec<Cause> {
    let mut walk = Walk { path: path.to_owned(), causes: Vec::new() };
    walk.nested(schema, value);
    walk.causes
}

/// Whether two values are the same: 1 and 1.0 are.
fn same(left: &Value, right: &Value) -> bool {
    left == right || matches!((left.as_f64(), right.as_f64()), (Some(left), Some(right)) if left == right)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: Value, value: Value) -> Vec<String> {
        let schema = Structural::parse(&json!({"type": "object", "properties": {"spec": schema}}));
        validate(&schema, &json!({"spec": value}), None)
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect()
    }

    #[test]
    fn wrong_values_are_told_as_kubernetes_tells_them() {
        for (schema, value, wrong) in [
            (
                json!({"type": "integer"}),
                json!("a"),
                "spec: Invalid value: \"string\": spec in body must be of type integer: \"string\"",
            ),
            (
                json!({"type": "integer", "minimum": 1}),
                json!(0),
                "spec: Invalid value: 0: spec in body should be greater than or equal to 1",
            ),
            (
                json!({"type": "integer", "maximum": 10, "exclusiveMaximum": true}),
                json!(10),
                "spec: Invalid value: 10: spec in body should be less than 10",
            ),
            (
                json!({"type": "string", "pattern": "^a+$"}),
                json!("b"),
                "spec: Invalid value: \"b\": spec in body should match '^a+$'",
            ),
            (
                json!({"type": "string", "enum": ["b", "a"]}),
                json!("c"),
                "spec: Unsupported value: \"c\": supported values: \"a\", \"b\"",
            ),
            (json!({"type": "string", "maxLength": 2}), json!("abc"), "spec: Too long: may not be more than 2 bytes"),
            (
                json!({"type": "string", "minLength": 1}),
                json!(""),
                "spec: Invalid value: \"\": spec in body should be at least 1 chars long",
            ),
            (
                json!({"type": "string", "format": "date-time"}),
                json!("x"),
                "spec: Invalid value: \"x\": spec in body must be of type date-time: \"x\"",
            ),
            (json!({"type": "object", "required": ["a"]}), json!({}), "spec.a: Required value"),
            (json!({"type": "array", "maxItems": 1}), json!([1, 2]), "spec: Too many: 2: must have at most 1 items"),
            (
                json!({"type": "array", "minItems": 1}),
                json!([]),
                "spec: Invalid value: 0: spec in body should have at least 1 items",
            ),
            (
                json!({"type": "number", "multipleOf": 0.5}),
                json!(0.7),
                "spec: Invalid value: 0.7: spec in body should be a multiple of 0.5",
            ),
            (
                json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
                json!(["a", "b", "a"]),
                "spec[2]: Duplicate value: \"a\"",
            ),
            (
                json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                       "items": {"type": "object", "properties": {"k": {"type": "string"}}}}),
                json!([{"k": "a", "v": 1}, {"k": "a"}]),
                "spec[1]: Duplicate value: {\"k\":\"a\"}",
            ),
            (
                json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
                json!({"a": 1, "b": 2}),
                "spec: Invalid value: \"\": spec in body must validate one and only one schema (oneOf). Found 2 valid alternatives",
            ),
            (
                json!({"type": "string", "not": {"enum": ["a"]}}),
                json!("a"),
                "spec: Invalid value: \"\": spec in body must not validate the schema (not)",
            ),
            (
                json!({"x-kubernetes-int-or-string": true}),
                json!(true),
                "spec: Invalid value: \"boolean\": spec in body must be of type integer,string: \"boolean\"",
            ),
            (
                json!({"type": "string"}),
                json!(null),
                "spec: Invalid value: \"null\": spec in body must be of type string: \"null\"",
            ),
        ] {
            assert_eq!(told(schema, value), [wrong]);
        }
    }

    #[test]
    fn right_values_pass() {
        for (schema, value) in [
            (json!({"type": "integer"}), json!(1.0)),
            (json!({"type": "string", "nullable": true}), json!(null)),
            (json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}), json!("25%")),
            (json!({"x-kubernetes-int-or-string": true, "type": "integer"}), json!("25%")),
            (json!({"type": "object", "additionalProperties": {"type": "integer"}}), json!({"a": 1})),
            (json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}), json!({"a": [null]})),
            (json!({"type": "string", "format": "no-such-format"}), json!("x")),
        ] {
            assert_eq!(told(schema, value), [""; 0]);
        }
    }

    #[test]
    fn nested_junctors_are_asked_once_each() {
        // To ask twice at each level would take 2^64 steps.
        for junctor in ["anyOf", "allOf"] {
            let nested = (0..64).fold(json!({"minimum": 1}), |inner, _| json!({junctor: [inner]}));
            let mut schema = nested;
            schema["type"] = json!("integer");
            let causes = told(schema.clone(), json!(0));
            assert_eq!(causes.len(), 65, "{causes:?}");
            assert_eq!(told(schema, json!(1)), [""; 0]);
        }
    }

    #[test]
    fn what_was_wrong_before_and_is_unchanged_is_let_be() {
        let schema = Structural::parse(&json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": 1},
            "b": {"type": "string", "maxLength": 1}}}));
        let old = json!({"a": "long", "b": "x"});
        assert!(validate(&schema, &json!({"a": "long", "b": "y"}), Some(&old)).is_empty());
        assert_eq!(validate(&schema, &json!({"a": "longer"}), Some(&old)).len(), 1);
    }
}
