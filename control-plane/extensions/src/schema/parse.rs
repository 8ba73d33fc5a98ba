//! From `JSONSchemaProps` to [`Structural`]. What does not fit is left out: [`super::check`] tells of it first.

use regex::RegexBuilder;
use serde_json::Value;

use super::structural::{Limits, ListType, Rule, Structural, Type};
use crate::{cel, go_regex};

/// Compiled patterns may not take more memory than this, in bytes.
const PATTERN_BYTES: usize = 1 << 20;

impl Structural {
    pub fn parse(schema: &Value) -> Self {
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or(false);
        let additional = match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => Some(Box::new(Self::default())),
            Some(values @ Value::Object(_)) => Some(Box::new(Self::parse(values))),
            _ => None,
        };
        Self {
            kind: kind(text("type")),
            description: text("description").map(Into::into),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            properties: schema
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .map(|(name, schema)| (name.clone(), Self::parse(schema)))
                .collect(),
            additional,
            items: schema.get("items").filter(|items| items.is_object()).map(|items| Box::new(Self::parse(items))),
            default: schema.get("default").filter(|default| !default.is_null()).cloned(),
            list_type: match text("x-kubernetes-list-type") {
                Some("set") => ListType::Set,
                Some("map") => ListType::Map(texts(schema, "x-kubernetes-list-map-keys")),
                _ => ListType::Atomic,
            },
            atomic_map: text("x-kubernetes-map-type") == Some("atomic"),
            limits: limits(schema).into(),
            rules: array(schema, "x-kubernetes-validations").iter().map(rule).collect(),
        }
    }
}

fn kind(name: Option<&str>) -> Type {
    match name {
        Some("object") => Type::Object,
        Some("array") => Type::Array,
        Some("string") => Type::String,
        Some("integer") => Type::Integer,
        Some("number") => Type::Number,
        Some("boolean") => Type::Boolean,
        _ => Type::Any,
    }
}

fn array<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(schema: &Value, key: &str) -> Vec<String> {
    array(schema, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn limits(schema: &Value) -> Limits {
    let count = |key: &str| schema.get(key).and_then(Value::as_u64);
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or(false);
    let text = |key: &str| schema.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let schemas = |key: &str| array(schema, key).iter().map(Structural::parse).collect();
    Limits {
        enumeration: array(schema, "enum").to_vec(),
        pattern: text("pattern").map(|pattern| (pattern.to_owned(), compile_pattern(pattern).ok())),
        format: text("format").map(str::to_owned),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        minimum: number("minimum"),
        maximum: number("maximum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        required: texts(schema, "required"),
        all_of: schemas("allOf"),
        any_of: schemas("anyOf"),
        one_of: schemas("oneOf"),
        not: schema.get("not").filter(|not| not.is_object()).map(|not| Box::new(Structural::parse(not))),
    }
}

/// # Errors
/// What is wrong with the regular expression.
pub(super) fn compile_pattern(pattern: &str) -> Result<regex::Regex, String> {
    RegexBuilder::new(&go_regex::translate(pattern)).size_limit(PATTERN_BYTES).build().map_err(|error| error.to_string())
}

fn rule(rule: &Value) -> Rule {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let source = text("rule").unwrap_or_default();
    Rule {
        program: cel::compile(&source).map_err(|error| error.to_string()),
        message_program: text("messageExpression").and_then(|source| cel::compile(&source).ok()),
        message: text("message"),
        reason: text("reason"),
        field_path: text("fieldPath"),
        optional_old_self: rule.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or(false),
        rule: source,
    }
}
