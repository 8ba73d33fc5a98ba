//! `fieldsV1`: a field set as JSON. Every key is a path element with its kind as prefix, `.` stands for the element
//! itself where something below it is owned too.

use serde_json::{Map, Value};

use super::fieldset::FieldSet;
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

impl FieldSet {
    /// The set as `fieldsV1`.
    pub fn to_json(&self) -> Value {
        Value::Object(self.encode())
    }

    fn encode(&self) -> Map<String, Value> {
        let mut object = Map::new();
        let mut members = self.members.iter().peekable();
        for (element, child) in &self.children {
            while let Some(member) = members.next_if(|member| *member < element) {
                object.insert(encode_element(member), Value::Object(Map::new()));
            }
            let mut below = Map::new();
            if members.next_if(|member| *member == element).is_some() {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            below.extend(child.encode());
            object.insert(encode_element(element), Value::Object(below));
        }
        object.extend(members.map(|member| (encode_element(member), Value::Object(Map::new()))));
        object
    }

    /// Reads `fieldsV1`. Elements of a kind that is not known are skipped, as a later version may have written them.
    ///
    /// # Errors
    /// When it is not an object of objects, or a key is malformed.
    pub fn from_json(fields: &Value) -> Result<Self, DecodeError> {
        bounds::check_depth(fields).map_err(|error| bad(error.to_string()))?;
        Ok(decode(fields)?.1)
    }
}

/// Whether the element that holds this object is a member, and what is below it.
fn decode(fields: &Value) -> Result<(bool, FieldSet), DecodeError> {
    let Value::Object(fields) = fields else { return Err(bad("a set of fields is an object")) };
    let mut set = FieldSet::default();
    let mut member = fields.is_empty();
    for (key, below) in fields {
        if key == "." {
            member = true;
        } else if let Some(element) = decode_element(key)? {
            let (member, below) = decode(below)?;
            set.graft(element, member, below);
        }
    }
    Ok((member, set))
}

fn encode_element(element: &PathElement) -> String {
    match element {
        PathElement::Field(name) => format!("f:{name}"),
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
fn json(value: &Scalar) -> String {
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

fn decode_element(key: &str) -> Result<Option<PathElement>, DecodeError> {
    let Some((kind, content)) = key.split_at_checked(2).filter(|(kind, _)| kind.ends_with(':')) else {
        return Err(bad(format!("{key:?} has no kind of path element")));
    };
    let wrong = |error: serde_json::Error| bad(format!("{key:?}: {error}"));
    Ok(Some(match kind {
        "f:" => PathElement::Field(content.to_owned()),
        "k:" => {
            let fields: Map<String, Value> = serde_json::from_str(content).map_err(wrong)?;
            let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, Scalar(value))).collect();
            fields.sort_by(|left, right| left.0.cmp(&right.0));
            PathElement::Key(fields)
        }
        "v:" => PathElement::Value(Scalar(serde_json::from_str(content).map_err(wrong)?)),
        "i:" => PathElement::Index(content.parse().map_err(|_| bad(format!("{key:?} has no index")))?),
        _ => return Ok(None),
    }))
}
