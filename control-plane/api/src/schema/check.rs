//! Does a document have the shape that its schema says: unknown fields and wrong types.

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::{Schema, SchemaSet, Shape};

/// What strict decoding has to say of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Path of a field that the schema does not know, such as `spec.containers[0].imge`.
    Unknown(String),
    /// Path of a field that stands twice.
    Duplicate(String),
    /// A value of the wrong type, which no `fieldValidation` lets pass.
    Type { path: String, message: String },
}

impl Problem {
    /// Whether the document cannot be taken at all, whatever `fieldValidation` asks.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Type { .. })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(path) => write!(f, "unknown field \"{path}\""),
            Self::Duplicate(path) => write!(f, "duplicate field \"{path}\""),
            Self::Type { message, .. } => f.write_str(message),
        }
    }
}

/// Every unknown field and wrong type of a document that should be a `name`, in document order.
pub fn check(set: &SchemaSet, name: &str, value: &Value) -> Vec<Problem> {
    let mut walk = Walk { set, path: String::new(), problems: Vec::new() };
    if let Some(schema) = set.get(name) {
        walk.value(schema, value, short(name));
    }
    walk.problems
}

struct Walk<'a> {
    set: &'a SchemaSet,
    path: String,
    problems: Vec<Problem>,
}

impl<'a> Walk<'a> {
    /// `owner` is the struct that holds the value, as the message names it.
    fn value(&mut self, schema: &'a Schema, value: &Value, owner: &str) {
        let named = match &schema.shape {
            Shape::Ref(name) => Some(short(name)),
            _ => None,
        };
        let shape = &self.set.resolve(schema).shape;
        match (shape, value) {
            // To Kubernetes a null is an absent field.
            (_, Value::Null) | (Shape::Any, _) => {}
            (Shape::Object(shape), Value::Object(object)) => {
                for (key, child) in object {
                    let length = self.push(key);
                    match shape.fields.get(key.as_str()) {
                        Some(field) => self.value(&field.schema, child, named.unwrap_or(owner)),
                        None if shape.preserve_unknown => {}
                        None => self.problems.push(Problem::Unknown(self.path.clone())),
                    }
                    self.path.truncate(length);
                }
            }
            (Shape::Map { values, .. }, Value::Object(object)) => {
                for (key, child) in object {
                    let length = self.push(key);
                    self.value(values, child, owner);
                    self.path.truncate(length);
                }
            }
            (Shape::List { items, .. }, Value::Array(list)) => {
                for (index, child) in list.iter().enumerate() {
                    let length = self.path.len();
                    // Writing to a String cannot fail.
                    let _ = write!(self.path, "[{index}]");
                    self.value(items, child, owner);
                    self.path.truncate(length);
                }
            }
            (Shape::String { format, .. }, Value::String(text)) => self.text(format.as_deref(), text),
            (Shape::Integer { format }, Value::Number(number)) => {
                let fits = match format.as_deref() {
                    Some("int32") => number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
                    _ => number.as_i64().is_some(),
                };
                if !fits {
                    self.wrong(&format!("number {number}"), shape, named, owner);
                }
            }
            (Shape::Number { .. }, Value::Number(_)) | (Shape::Boolean, Value::Bool(_)) => {}
            (Shape::IntOrString, Value::String(_)) => {}
            (Shape::IntOrString, Value::Number(number)) => {
                if number.as_i64().is_none_or(|n| i32::try_from(n).is_err()) {
                    self.wrong(&format!("number {number}"), shape, named, owner);
                }
            }
            (Shape::Quantity, Value::String(text)) => self.quantity(text),
            (Shape::Quantity, Value::Number(number)) => self.quantity(&number.to_string()),
            (shape, value) => self.wrong(json_type(value), shape, named, owner),
        }
    }

    fn push(&mut self, key: &str) -> usize {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        length
    }

    fn text(&mut self, format: Option<&str>, text: &str) {
        let message = match format {
            Some("date-time") if text.parse::<jiff::Timestamp>().is_err() => {
                format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as RFC 3339")
            }
            Some("byte") => match crate::validate::base64(text) {
                Ok(_) => return,
                Err(at) => format!("illegal base64 data at input byte {at}"),
            },
            _ => return,
        };
        self.problems.push(Problem::Type { path: self.path.clone(), message });
    }

    fn quantity(&mut self, text: &str) {
        if let Err(error) = text.parse::<crate::quantity::Quantity>() {
            self.problems.push(Problem::Type { path: self.path.clone(), message: error.to_string() });
        }
    }

    fn wrong(&mut self, found: &str, shape: &Shape, named: Option<&str>, owner: &str) {
        let wanted = go_type(shape, named);
        let message = match self.path.is_empty() {
            true => format!("json: cannot unmarshal {found} into Go value of type v1.{wanted}"),
            false => {
                // The wording has field names only, without the places in lists.
                let mut fields = String::new();
                let mut in_index = false;
                for c in self.path.chars() {
                    match c {
                        '[' => in_index = true,
                        ']' => in_index = false,
                        c if !in_index => fields.push(c),
                        _ => {}
                    }
                }
                format!("json: cannot unmarshal {found} into Go struct field {owner}.{fields} of type {wanted}")
            }
        };
        self.problems.push(Problem::Type { path: self.path.clone(), message });
    }
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn go_type(shape: &Shape, named: Option<&str>) -> String {
    match (shape, named) {
        (Shape::Ref(name), _) => format!("v1.{}", short(name)),
        (_, Some(name)) => format!("v1.{name}"),
        (Shape::Map { values, .. }, _) => format!("map[string]{}", go_type(&values.shape, None)),
        (Shape::List { items, .. }, _) => format!("[]{}", go_type(&items.shape, None)),
        (Shape::String { .. }, _) => "string".to_owned(),
        (Shape::Integer { format } | Shape::Number { format }, _) => {
            format.as_deref().unwrap_or("int64").replace("double", "float64")
        }
        (Shape::Boolean, _) => "bool".to_owned(),
        _ => "object".to_owned(),
    }
}
