//! Decoding a request body, noting keys that stand twice (RFC 8259 leaves them open; Kubernetes warns or refuses).

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Problem;

#[derive(Debug, thiserror::Error)]
#[error("decode the document: {0}")]
pub struct DecodeError(#[from] serde_json::Error);

/// Parses JSON; of a key that stands twice in one object the last value wins, and the key is a [`Problem::Duplicate`].
///
/// # Errors
/// When `bytes` are not one JSON document.
pub fn decode(bytes: &[u8]) -> Result<(Value, Vec<Problem>), DecodeError> {
    let state = State::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed(&state).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, state.duplicates.into_inner()))
}

#[derive(Default)]
struct State {
    path: RefCell<String>,
    duplicates: RefCell<Vec<Problem>>,
}

#[derive(Clone, Copy)]
struct Seed<'a>(&'a State);

impl Seed<'_> {
    fn at<T>(self, step: &str, run: impl FnOnce() -> T) -> T {
        let length = self.0.path.borrow().len();
        {
            let mut path = self.0.path.borrow_mut();
            if length > 0 && !step.starts_with('[') {
                path.push('.');
            }
            path.push_str(step);
        }
        let result = run();
        self.0.path.borrow_mut().truncate(length);
        result
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = self.at(&format!("[{}]", list.len()), || sequence.next_element_seed(self))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = self.at(&key, || {
                let value = entries.next_value_seed(self);
                if object.contains_key(&key) {
                    let problem = Problem::Duplicate(self.0.path.borrow().clone());
                    let mut duplicates = self.0.duplicates.borrow_mut();
                    if !duplicates.contains(&problem) {
                        duplicates.push(problem);
                    }
                }
                value
            })?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_named_with_its_path_and_the_last_wins() {
        let (value, problems) = decode(br#"{"spec":{"a":[{"b":1},{"b":2,"b":3,"b":4}]},"spec2":1.5,"n":null}"#).expect("decodes");
        assert_eq!(value, json!({"spec": {"a": [{"b": 1}, {"b": 4}]}, "spec2": 1.5, "n": null}));
        assert_eq!(problems, [Problem::Duplicate("spec.a[1].b".into())]);
        assert_eq!(problems[0].to_string(), "duplicate field \"spec.a[1].b\"");
    }

    #[test]
    fn what_is_not_one_document_is_an_error() {
        for bad in ["", "{", "{} {}", "nul", "{\"a\":}"] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
