//! One step of a field path, with the order and the text that Kubernetes gives it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// How a child is chosen from what contains it; names and values are most often those of a document. The order of the variants
/// is the order in a [`super::FieldSet`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathElement<'a> {
    /// A field of a struct or a key of a map (`f:`).
    Field(Cow<'a, str>),
    /// The element of an associative list with these key fields, sorted by name (`k:`).
    Key(Vec<(Cow<'a, str>, Scalar<'a>)>),
    /// The element of a set with this value (`v:`).
    Value(Scalar<'a>),
    /// The element at this place of a list (`i:`).
    Index(i64),
}

impl<'a> PathElement<'a> {
    pub(super) fn field(name: &'a str) -> Self {
        Self::Field(Cow::Borrowed(name))
    }

    /// The same without the document.
    pub(super) fn into_owned(self) -> PathElement<'static> {
        match self {
            Self::Field(name) => PathElement::Field(Cow::Owned(name.into_owned())),
            Self::Key(fields) => {
                let owned = |(name, value): (Cow<'_, str>, Scalar<'_>)| (Cow::Owned(name.into_owned()), value.into_owned());
                PathElement::Key(fields.into_iter().map(owned).collect())
            }
            Self::Value(value) => PathElement::Value(value.into_owned()),
            Self::Index(index) => PathElement::Index(index),
        }
    }
}

impl fmt::Display for PathElement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "," };
                    write!(f, "{separator}{name}={value}")?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A value inside a path, with a total order: numbers, strings, booleans, lists, objects, null.
#[derive(Clone, Debug)]
pub struct Scalar<'a>(pub Cow<'a, Value>);

impl Scalar<'_> {
    fn into_owned(self) -> Scalar<'static> {
        Scalar(Cow::Owned(self.0.into_owned()))
    }
}

impl From<Value> for Scalar<'_> {
    fn from(value: Value) -> Self {
        Self(Cow::Owned(value))
    }
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Value::String(text) => write!(f, "{text:?}"),
            other => write!(f, "{other}"),
        }
    }
}

impl PartialEq for Scalar<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar<'_> {}

impl PartialOrd for Scalar<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scalar<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (integer(left), integer(right)) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => left.as_f64().unwrap_or_default().total_cmp(&right.as_f64().unwrap_or_default()),
        },
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => left.to_string().cmp(&right.to_string()),
        _ => rank(left).cmp(&rank(right)),
    }
}

fn integer(number: &serde_json::Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}
