//! `fieldsV1`: a field set as JSON. Every key is a path element with its kind as prefix, `.` stands for the element
//! itself where something below it is owned too.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::fieldset::{FieldSet, Item};
use super::path::{PathElement, Scalar};
use crate::bounds;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("decoding fieldsV1: {reason}")]
pub struct DecodeError {
    reason: String,
}

fn bad(reason: impl Into<String>) -> DecodeError {
    DecodeError { reason: reason.into() }
}

impl<'a> FieldSet<'a> {
    /// The set as `fieldsV1`.
    pub fn to_json(&self) -> Value {
        Value::Object(self.encode(false))
    }

    /// `itself`: the element that holds the set is a member.
    fn encode(&self, itself: bool) -> Map<String, Value> {
        let mut object = Map::new();
        if itself {
            object.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for Item { element, is_member, below } in self.items() {
            let below = if below.is_empty() { Map::new() } else { below.encode(*is_member) };
            object.insert(encode_element(element), Value::Object(below));
        }
        object
    }

    /// Whether `fields` is what [`to_json`](Self::to_json) gives; sometimes `false` although it is.
    pub(super) fn is_written(&self, fields: &Value) -> bool {
        fields.as_object().is_some_and(|fields| self.is_in(false, fields))
    }

    fn is_in(&self, itself: bool, fields: &Map<String, Value>) -> bool {
        let mut keys = fields.iter();
        if itself && keys.next().is_none_or(|(key, _)| key != ".") {
            return false;
        }
        fields.len() == self.items().len() + usize::from(itself)
            && self.items().iter().zip(keys).all(|(Item { element, is_member, below }, (key, value))| {
                let is_key = match element {
                    PathElement::Field(name) => key.strip_prefix("f:") == Some(&**name),
                    other => *key == encode_element(other),
                };
                let Value::Object(value) = value else { return false };
                is_key && if below.is_empty() { value.is_empty() } else { below.is_in(*is_member, value) }
            })
    }

    /// Reads `fieldsV1`. Elements of a kind that is not known are skipped, as a later version may have written them.
    ///
    /// # Errors
    /// When it is not an object of objects, or a key is malformed.
    pub fn from_json(fields: &'a Value) -> Result<Self, DecodeError> {
        bounds::check_depth(fields).map_err(|error| bad(error.to_string()))?;
        Ok(decode(fields)?.1)
    }
}

/// Whether the element that holds this object is a member, and what is below it.
fn decode(fields: &Value) -> Result<(bool, FieldSet<'_>), DecodeError> {
    let Value::Object(fields) = fields else { return Err(bad("a set of fields is an object")) };
    let mut items = Vec::with_capacity(fields.len());
    let mut member = fields.is_empty();
    for (key, below) in fields {
        if key == "." {
            member = true;
        } else if let Some(element) = decode_element(key)? {
            let (is_member, below) = decode(below)?;
            items.push(Item { element, is_member, below });
        }
    }
    Ok((member, FieldSet::of_items(items)))
}

fn encode_element(element: &PathElement<'_>) -> String {
    match element {
        PathElement::Field(name) => ["f:", name].concat(),
        PathElement::Key(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{}:{}", quote(name), json(value))).collect();
            format!("k:{{{}}}", fields.join(","))
        }
        PathElement::Value(value) => format!("v:{}", json(value)),
        PathElement::Index(index) => format!("i:{index}"),
    }
}

fn quote(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// JSON as Go writes it, which escapes what could close a script element.
fn json(value: &Scalar<'_>) -> String {
    let text = value.0.to_string();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    text.chars()
        .map(|letter| match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => format!("\\u{:04x}", u32::from(letter)),
            other => other.to_string(),
        })
        .collect()
}

pub(super) fn decode_element(key: &str) -> Result<Option<PathElement<'_>>, DecodeError> {
    let Some((kind, content)) = key.split_at_checked(2).filter(|(kind, _)| kind.ends_with(':')) else {
        return Err(bad(format!("{key:?} has no kind of path element")));
    };
    let wrong = |error: serde_json::Error| bad(format!("{key:?}: {error}"));
    Ok(Some(match kind {
        "f:" => PathElement::field(content),
        "k:" => {
            let fields: Map<String, Value> = serde_json::from_str(content).map_err(wrong)?;
            // In the order of their names, as the map has them.
            PathElement::Key(fields.into_iter().map(|(name, value)| (Cow::Owned(name), Scalar::from(value))).collect())
        }
        "v:" => PathElement::Value(Scalar::from(serde_json::from_str::<Value>(content).map_err(wrong)?)),
        "i:" => PathElement::Index(content.parse().map_err(|_| bad(format!("{key:?} has no index")))?),
        _ => return Ok(None),
    }))
}
