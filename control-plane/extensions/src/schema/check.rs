//! Whether a schema is structural, and what else a definition's schema may not be (`apiextensions-apiserver`,
//! `apiserver/schema/validation.go` and `apis/apiextensions/validation`).

use mizzen_api::status::Cause;
use mizzen_api::validate::{forbidden, invalid, invalid_text, required};
use serde_json::{Value, json};

use super::parse::compile_pattern;
use super::structural::Structural;
use crate::cel::{self, MAX_RULE_COST, MAX_TOTAL_COST};

/// Where in a schema a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Root,
    Field,
    Item,
}

/// Everything that is wrong with `openAPIV3Schema` at `path`, sorted by field.
pub fn check(path: &str, schema: &Value) -> Vec<Cause> {
    let mut walk = Walk { causes: Vec::new(), cost: 0 };
    walk.node(path, schema, Level::Root, 1);
    if walk.cost > MAX_TOTAL_COST && !walk.causes.iter().any(|cause| cause.message.contains("cost")) {
        walk.causes.push(forbidden(
            path,
            "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more \
             than 1x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and \
             strings are declared)",
        ));
    }
    walk.causes.sort_by(|left, right| left.field.cmp(&right.field).then_with(|| left.message.cmp(&right.message)));
    walk.causes
}

struct Walk {
    causes: Vec<Cause>,
    /// Of all rules together.
    cost: u64,
}

fn is_set(schema: &Value, key: &str) -> bool {
    match schema.get(key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(object)) => !object.is_empty() || matches!(key, "items" | "not" | "additionalProperties"),
        Some(_) => true,
    }
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or("")
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn array<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

impl Walk {
    /// `runs`: how often the node can stand in one document, which multiplies what its rules cost.
    fn node(&mut self, path: &str, schema: &Value, level: Level, runs: u64) {
        self.forbidden_keywords(path, schema);
        self.types(path, schema, level);
        self.extensions(path, schema);
        self.metadata(path, schema, level);
        self.value_validation(path, schema, int_or_string_pattern(schema));
        self.completeness(path, schema);
        self.rules(path, schema, level, runs);
        if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
            self.default(path, schema, default, level);
        }
        if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
            let most = schema.get("maxItems").and_then(Value::as_u64).unwrap_or(1);
            self.node(&format!("{path}.items"), items, Level::Item, runs.saturating_mul(most));
        }
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if level == Level::Root && name == "metadata" {
                continue;
            }
            self.node(&format!("{path}.properties[{name}]"), property, Level::Field, runs);
        }
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
            let most = schema.get("maxProperties").and_then(Value::as_u64).unwrap_or(1);
            self.node(&format!("{path}.additionalProperties"), values, Level::Field, runs.saturating_mul(most));
        }
    }

    fn forbidden_keywords(&mut self, path: &str, schema: &Value) {
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
            Some(Value::Object(_)) if is_set(schema, "properties") => {
                let why = "additionalProperties and properties are mutual exclusive";
                self.causes.push(forbidden(format!("{path}.additionalProperties"), why));
            }
            _ => {}
        }
        if schema.get("items").is_some_and(Value::is_array) {
            self.causes.push(forbidden(format!("{path}.items"), "items must be a schema object and not an array"));
        }
    }

    fn types(&mut self, path: &str, schema: &Value, level: Level) {
        const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
        let kind = text(schema, "type");
        let field = format!("{path}.type");
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        let preserves = flag(schema, "x-kubernetes-preserve-unknown-fields");
        if !kind.is_empty() && !TYPES.contains(&kind) {
            self.causes.push(mizzen_api::validate::not_supported(&field, kind, &TYPES));
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
        if flag(schema, "x-kubernetes-int-or-string") && !kind.is_empty() {
            let why = "must be empty if x-kubernetes-int-or-string is true";
            self.causes.push(invalid_text(&field, kind, why));
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

    fn extensions(&mut self, path: &str, schema: &Value) {
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
                self.causes.push(mizzen_api::validate::not_supported(&name, map_type, &["atomic", "granular"]));
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
                let cause = mizzen_api::validate::not_supported(field("x-kubernetes-list-type"), list_type, &supported);
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
        let mut seen = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let name = key.as_str().unwrap_or("");
            let field = field(&format!("x-kubernetes-list-map-keys[{index}]"));
            if seen.contains(&name) {
                self.causes.push(mizzen_api::validate::duplicate(&field, key));
            }
            seen.push(name);
            match items.get("properties").and_then(|properties| properties.get(name)) {
                None => self.causes.push(invalid_text(&field, name, "entries must all be names of item properties")),
                Some(property) if matches!(text(property, "type"), "object" | "array") => {
                    let field = format!("{path}.items.properties[{name}].type");
                    let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    self.causes.push(invalid_text(field, text(property, "type"), why));
                }
                Some(property) => {
                    let is_required = array(items, "required").iter().any(|required| required == key);
                    if !is_required && property.get("default").is_none() {
                        let field = format!("{path}.items.properties[{name}].default");
                        let why =
                            "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                        self.causes.push(required(field, why));
                    }
                }
            }
        }
    }

    /// Of metadata, only the names can be restricted.
    fn metadata(&mut self, path: &str, schema: &Value, level: Level) {
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

    fn value_validation(&mut self, path: &str, schema: &Value, skip_any_of: bool) {
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
            let field = format!("{path}.properties[{name}]");
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
    fn completeness(&mut self, path: &str, schema: &Value) {
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
            let (field, nested_field) = (format!("{path}.properties[{name}]"), format!("{nested_path}.properties[{name}]"));
            match schema.get("properties").and_then(|properties| properties.get(name)) {
                Some(present) => self.complete(&field, present, &nested_field, property),
                None => self.causes.push(required(field, &format!("because it is defined in {nested_field}"))),
            }
        }
    }

    fn rules(&mut self, path: &str, schema: &Value, level: Level, runs: u64) {
        let rules = array(schema, "x-kubernetes-validations");
        if rules.is_empty() {
            return;
        }
        let structural = Structural::parse(schema);
        let is_resource = level == Level::Root || structural.embedded;
        for (index, rule) in rules.iter().enumerate() {
            let field = |name: &str| format!("{path}.x-kubernetes-validations[{index}].{name}");
            let source = text(rule, "rule");
            if source.trim().is_empty() {
                self.causes.push(required(field("rule"), "rule is not specified"));
                continue;
            }
            for name in ["rule", "messageExpression"] {
                let source = text(rule, name);
                if source.trim().is_empty() {
                    continue;
                }
                let checked = cel::compile(source)
                    .map_err(|error| format!("compilation failed: {error}"))
                    .and_then(|program| cel::check_rules(&structural, &program, is_resource));
                match checked {
                    Err(why) => self.causes.push(invalid_text(field(name), source, why)),
                    Ok(cost) => self.cost_of(&field(name), cost.saturating_mul(runs)),
                }
            }
            self.rule_texts(rule, &structural, is_resource, &field);
        }
    }

    fn cost_of(&mut self, field: &str, cost: u64) {
        self.cost = self.cost.saturating_add(cost);
        if cost > MAX_RULE_COST {
            let factor = match cost / MAX_RULE_COST {
                0..100 => format!("{:.1}x", cost as f64 / MAX_RULE_COST as f64),
                _ => "more than 100x".to_owned(),
            };
            let why = format!(
                "estimated rule cost exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, \
                 maxProperties, and maxLength where arrays, maps, and strings are declared)"
            );
            self.causes.push(forbidden(field, &why));
        }
    }

    fn rule_texts(&mut self, rule: &Value, schema: &Structural, is_resource: bool, field: &dyn Fn(&str) -> String) {
        const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
        const MAX_MESSAGE: usize = 2048;
        if let Some(message) = rule.get("message").and_then(Value::as_str) {
            if message.len() > MAX_MESSAGE {
                let why = format!("message must have a maximum length of {MAX_MESSAGE} characters");
                self.causes.push(invalid_text(field("message"), &message[..32.min(message.len())], why));
            }
            if message.trim().contains('\n') {
                self.causes.push(invalid_text(field("message"), message, "message must not contain line breaks"));
            }
        }
        let (source, message) = (text(rule, "rule"), text(rule, "message").trim());
        if source.trim().contains('\n') && message.is_empty() {
            self.causes.push(required(field("message"), "message must be specified if rule contains line breaks"));
        }
        let reason = text(rule, "reason");
        if !reason.is_empty() && !REASONS.contains(&reason) {
            self.causes.push(mizzen_api::validate::not_supported(field("reason"), reason, &REASONS));
        }
        let path = text(rule, "fieldPath");
        if !path.is_empty() && !has_field(schema, path, is_resource) {
            self.causes.push(invalid_text(
                field("fieldPath"),
                path,
                "fieldPath must be a valid path: does not refer to a valid field",
            ));
        }
    }

    fn default(&mut self, path: &str, schema: &Value, default: &Value, level: Level) {
        let field = format!("{path}.default");
        if level == Level::Root {
            return self.causes.push(forbidden(&field, "must not be set at the root"));
        }
        let structural = Structural::parse(schema);
        let mut pruned = default.clone();
        super::prune(&structural, &mut pruned);
        if pruned != *default && !structural.embedded {
            self.causes.push(invalid(&field, default, "must not have unknown fields"));
        }
        // The root of a default is a value like any other.
        let wrapped = Structural { properties: [("default".to_owned(), structural)].into(), ..Structural::default() };
        let document = json!({"default": default});
        let mut wrong = super::validate(&wrapped, &document, None);
        wrong.extend(cel::validate_rules(&wrapped, &document, None));
        for mut cause in wrong {
            cause.field = format!("{path}.{}", cause.field);
            self.causes.push(cause);
        }
    }
}

/// Whether a path such as `.spec.name` or `['a-b']` leads to a field of the schema.
fn has_field(schema: &Structural, path: &str, is_resource: bool) -> bool {
    let mut schema = schema;
    let normal = path.replace("['", ".").replace("']", "");
    let Some(names) = normal.strip_prefix('.') else { return false };
    for (index, name) in names.split('.').enumerate() {
        if index == 0 && is_resource && name == "metadata" {
            return true;
        }
        schema = match schema.field(name) {
            Some(field) => field,
            None => return false,
        };
    }
    true
}

fn is_int_or_string(any_of: &[Value]) -> bool {
    any_of == [json!({"type": "integer"}), json!({"type": "string"})]
}

fn int_or_string_pattern(schema: &Value) -> bool {
    flag(schema, "x-kubernetes-int-or-string") && is_int_or_string(array(schema, "anyOf"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(schema: Value) -> Vec<String> {
        check("s", &schema).iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    fn in_spec(spec: Value) -> Value {
        json!({"type": "object", "properties": {"spec": spec}})
    }

    #[test]
    fn what_is_not_structural_is_told_as_kubernetes_tells_it() {
        for (schema, wrong) in [
            (json!({}), "s.type: Required value: must not be empty at the root"),
            (
                json!({"type": "array", "items": {"type": "string"}}),
                "s.type: Invalid value: \"array\": must be object at the root",
            ),
            (in_spec(json!({})), "s.properties[spec].type: Required value: must not be empty for specified object fields"),
            (in_spec(json!({"type": "array"})), "s.properties[spec].items: Required value: must be specified"),
            (
                in_spec(json!({"type": "array", "items": {}})),
                "s.properties[spec].items.type: Required value: must not be empty for specified array items",
            ),
            (
                in_spec(json!({"type": "object", "anyOf": [{"type": "object"}]})),
                "s.properties[spec].anyOf[0].type: Forbidden: must be empty to be structural",
            ),
            (
                in_spec(json!({"type": "object", "oneOf": [{"properties": {"a": {}}}]})),
                "s.properties[spec].properties[a]: Required value: because it is defined in s.properties[spec].oneOf[0].properties[a]",
            ),
            (
                in_spec(
                    json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
                ),
                "s.properties[spec].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ),
            (
                in_spec(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false})),
                "s.properties[spec].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
            ),
            (
                in_spec(json!({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}})),
                "s.properties[spec].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
            ),
            (in_spec(json!({"type": "string", "pattern": "("})), "must be a valid regular expression"),
            (in_spec(json!({"type": "integer", "default": "a"})), "spec].default: Invalid value: \"string\""),
            (
                in_spec(json!({"type": "object", "properties": {"a": {"type": "string"}}, "default": {"b": 1}})),
                "s.properties[spec].default: Invalid value: {\"b\":1}: must not have unknown fields",
            ),
            (
                in_spec(json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.x > 1"}]})),
                "s.properties[spec].x-kubernetes-validations[0].rule: Invalid value: \"self.x > 1\": compilation failed: ERROR: <input>: undefined field 'x'",
            ),
            (
                in_spec(json!({"type": "string", "uniqueItems": true})),
                "s.properties[spec].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ),
            (
                json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
                "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ),
            (
                json!({"type": "object", "x-kubernetes-validations": [{"rule": "true", "reason": "Because"}]}),
                "s.x-kubernetes-validations[0].reason: Unsupported value: \"Because\"",
            ),
        ] {
            let told = told(schema.clone());
            assert!(told.iter().any(|line| line.contains(wrong)), "{schema}: {told:?}");
        }
    }

    #[test]
    fn structural_schemas_pass() {
        for spec in [
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": "^[0-9]+%?$"}),
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}}),
            json!({"type": "object", "properties": {"a": {"type": "string", "default": "x"}}, "default": {"a": "y"},
                "oneOf": [{"required": ["a"]}, {"properties": {"a": {"minLength": 2}}}]}),
            json!({"type": "object", "properties": {"a": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.a > 0", "fieldPath": ".a", "messageExpression": "'a is ' + string(self.a)"}]}),
        ] {
            assert_eq!(told(in_spec(spec)), [""; 0]);
        }
        assert_eq!(
            told(
                json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}}}})
            ),
            [""; 0]
        );
    }
}
