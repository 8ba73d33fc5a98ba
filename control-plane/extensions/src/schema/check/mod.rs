//! Whether a schema is structural, and what else a definition's schema may not be (`apiextensions-apiserver`,
//! `apiserver/schema/validation.go` and `apis/apiextensions/validation`).

mod junctors;
mod lists;
mod rules;
mod types;

use mizzen_api::status::Cause;
use mizzen_api::validate::{forbidden, invalid};
use serde_json::{Value, json};

use self::junctors::int_or_string_pattern;
use super::structural::Structural;
use crate::cel::{self, MAX_TOTAL_COST};

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
    walk.node(path, schema, Level::Root, Place { runs: 1, within: None });
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

/// So many wrong fields are looked for; a schema with more is refused as it is.
const MOST: usize = 1000;
/// Characters of a name that stand in a path at most: every node below has the path, and a name may be as long as a body.
const LONGEST_NAME: usize = 256;

fn property_path(path: &str, name: &str) -> String {
    let end = name.char_indices().nth(LONGEST_NAME).map_or(name.len(), |(end, _)| end);
    format!("{path}.properties[{}]", &name[..end])
}

/// Where in documents a node can stand.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// How often in one document, which multiplies what its rules cost.
    runs: u64,
    /// The list whose items cannot be told apart from one document to the next.
    within: Option<&'a str>,
}

impl Place<'_> {
    fn times(self, most: u64) -> Self {
        Self { runs: self.runs.saturating_mul(most), ..self }
    }
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
    fn node(&mut self, path: &str, schema: &Value, level: Level, place: Place<'_>) {
        if self.causes.len() >= MOST {
            return;
        }
        self.forbidden_keywords(path, schema);
        self.types(path, schema, level);
        self.extensions(path, schema);
        self.metadata(path, schema, level);
        self.value_validation(path, schema, int_or_string_pattern(schema));
        self.completeness(path, schema);
        self.rules(path, schema, level, place);
        if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
            self.default(path, schema, default, level);
        }
        if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
            let most = schema.get("maxItems").and_then(Value::as_u64).unwrap_or(1);
            let is_map = text(schema, "x-kubernetes-list-type") == "map";
            let within = place.within.or((!is_map).then_some(path));
            self.node(&format!("{path}.items"), items, Level::Item, Place { within, ..place.times(most) });
        }
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if level == Level::Root && name == "metadata" {
                continue;
            }
            self.node(&property_path(path, name), property, Level::Field, place);
        }
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
            let most = schema.get("maxProperties").and_then(Value::as_u64).unwrap_or(1);
            self.node(&format!("{path}.additionalProperties"), values, Level::Field, place.times(most));
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
                in_spec(json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": true})),
                "s.properties[spec].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ),
            (
                in_spec(json!({"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 3,
                    "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}})),
                "s.properties[spec].items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within s.properties[spec]",
            ),
            (
                in_spec(json!({"type": "string", "x-kubernetes-validations": [{"rule": "self != ''", "optionalOldSelf": true}]})),
                "s.properties[spec].x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule",
            ),
            (
                in_spec(json!({"type": "string", "x-kubernetes-validations": [{"rule": "self.x == 1"}]})),
                "type 'string' does not support field selection",
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
            json!({"x-kubernetes-int-or-string": true, "type": "integer"}),
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            json!({"type": "array", "maxItems": 3, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string", "maxLength": 3,
                    "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}}),
            json!({"type": "string", "maxLength": 9, "x-kubernetes-validations": [
                {"rule": "oldSelf.orValue('') != self", "optionalOldSelf": true}]}),
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
