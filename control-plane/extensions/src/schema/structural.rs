//! The parsed form of a structural schema.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use regex::Regex;
use serde_json::Value;

use crate::cel::Compiled;

/// `type`; `Any` where the schema names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Type {
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    /// Whether a value that is not null is of this type. A number without a fraction is an integer.
    pub fn holds(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::String => value.is_string(),
            Self::Integer => value.as_i64().is_some() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
        }
    }
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    #[default]
    Atomic,
    Set,
    /// `x-kubernetes-list-map-keys`.
    Map(Vec<String>),
}

/// One entry of `x-kubernetes-validations`.
#[derive(Debug)]
pub struct Rule {
    pub rule: String,
    pub message: Option<String>,
    pub reason: Option<String>,
    pub field_path: Option<String>,
    pub optional_old_self: bool,
    /// Why it does not compile; the definition's own checks let no such rule pass.
    pub program: Result<Compiled, String>,
    pub message_program: Option<Compiled>,
}

/// What JSON Schema says of values beyond their structure.
#[derive(Debug, Default)]
pub struct Limits {
    pub enumeration: Vec<Value>,
    pub pattern: Option<(String, Option<Regex>)>,
    pub format: Option<String>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub exclusive_minimum: bool,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    pub required: Vec<String>,
    pub all_of: Vec<Structural>,
    pub any_of: Vec<Structural>,
    pub one_of: Vec<Structural>,
    pub not: Option<Box<Structural>>,
}

/// The limits of a node. Most nodes have none, and those take no memory: a large definition has ten thousands of nodes.
#[derive(Debug, Default)]
pub struct Bounds(Option<Box<Limits>>);

impl From<Limits> for Bounds {
    fn from(limits: Limits) -> Self {
        Self((!limits.is_empty()).then(|| Box::new(limits)))
    }
}

impl Deref for Bounds {
    type Target = Limits;

    fn deref(&self) -> &Limits {
        static NONE: LazyLock<Limits> = LazyLock::new(Limits::default);
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl Limits {
    fn is_empty(&self) -> bool {
        let counts = [self.min_length, self.max_length, self.min_items, self.max_items, self.min_properties, self.max_properties];
        let junctors = [&self.all_of, &self.any_of, &self.one_of];
        self.enumeration.is_empty()
            && self.pattern.is_none()
            && self.format.is_none()
            && counts.iter().all(Option::is_none)
            && [self.minimum, self.maximum, self.multiple_of].iter().all(Option::is_none)
            && self.required.is_empty()
            && junctors.iter().all(|schemas| schemas.is_empty())
            && self.not.is_none()
    }
}

/// One node of a structural schema.
#[derive(Debug, Default)]
pub struct Structural {
    pub kind: Type,
    pub description: Option<Arc<str>>,
    pub nullable: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded: bool,
    pub properties: BTreeMap<String, Structural>,
    /// `additionalProperties`; `true` is a schema that allows anything.
    pub additional: Option<Box<Structural>>,
    pub items: Option<Box<Structural>>,
    pub default: Option<Value>,
    pub list_type: ListType,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic_map: bool,
    pub limits: Bounds,
    pub rules: Vec<Rule>,
}

impl Structural {
    /// The schema of a field of an object, declared or not.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    /// Whether any node has validation rules.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
            || self.properties.values().any(Self::has_rules)
            || self.items.as_deref().is_some_and(Self::has_rules)
            || self.additional.as_deref().is_some_and(Self::has_rules)
    }

    /// The type in words, as messages of rules quote a value.
    pub fn type_name(&self) -> &'static str {
        self.kind.as_str()
    }
}
