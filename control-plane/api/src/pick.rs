//! Some fields of a document, decoded without the rest: who looks at every change of every object looks at little of it.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Which fields are wanted: all that is below a place that is named. Lists are looked through: `/spec/containers/image` wants
/// the image of every container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pick {
    /// Everything, when there are none.
    below: Vec<(Box<str>, Pick)>,
}

impl Pick {
    /// Places are named as `/spec/nodeName`; an empty one, or none at all, wants the whole document.
    pub fn of<'a>(places: impl IntoIterator<Item = &'a str>) -> Self {
        Self::below(places.into_iter().map(|place| place.strip_prefix('/').unwrap_or(place)).collect())
    }

    fn below(places: Vec<&str>) -> Self {
        if places.contains(&"") {
            return Self::default();
        }
        let mut names: Vec<&str> = places.iter().map(|place| place.split('/').next().unwrap_or_default()).collect();
        names.sort_unstable();
        names.dedup();
        let below = |name: &str| Self::below(places.iter().filter_map(|place| rest(place.strip_prefix(name)?)).collect());
        Self { below: names.into_iter().map(|name| (name.into(), below(name))).collect() }
    }

    /// # Errors
    /// When the bytes are not JSON.
    pub fn from_slice(&self, bytes: &[u8]) -> Result<Value, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let picked = self.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(picked)
    }
}

/// What follows a step of a place; `None` when it was only the beginning of a longer name.
fn rest(after: &str) -> Option<&str> {
    if after.is_empty() { Some(after) } else { after.strip_prefix('/') }
}

impl<'de> DeserializeSeed<'de> for &Pick {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.below.is_empty() { Value::deserialize(deserializer) } else { deserializer.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for &Pick {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut picked = Map::new();
        while let Some(wanted) = access.next_key_seed(Wanted(&self.below))? {
            match wanted {
                Some((name, pick)) => {
                    picked.insert(String::from(&**name), access.next_value_seed(pick)?);
                }
                None => {
                    access.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(picked))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
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
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// Finds a key among the wanted ones, without a copy of those that are not.
struct Wanted<'a>(&'a [(Box<str>, Pick)]);

impl<'de, 'a> DeserializeSeed<'de> for Wanted<'a> {
    type Value = Option<&'a (Box<str>, Pick)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Wanted<'a> {
    type Value = Option<&'a (Box<str>, Pick)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|(name, _)| **name == *key))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn picked(places: &[&str], document: &Value) -> Value {
        Pick::of(places.iter().copied()).from_slice(document.to_string().as_bytes()).expect("is JSON")
    }

    #[test]
    fn only_what_is_wanted_is_there() {
        let document = json!({
            "spec": {"nodeName": "n", "nodeNames": 1, "containers": [{"name": "a", "image": "i"}, {"name": "b"}, 3]},
            "status": {"phase": "Running", "count": -2, "share": 0.5}, "kind": null,
        });
        assert_eq!(picked(&["/spec/nodeName"], &document), json!({"spec": {"nodeName": "n"}}));
        assert_eq!(picked(&["/spec/containers/image"], &document), json!({"spec": {"containers": [{"image": "i"}, {}, 3]}}));
        assert_eq!(picked(&["/status", "/kind/x", "/none"], &document), json!({"status": document["status"], "kind": null}));
        assert_eq!(picked(&["/status/phase", "/status"], &document), json!({"status": document["status"]}), "the wider one");
        assert_eq!(picked(&[""], &document), document);
    }

    #[test]
    fn bytes_that_are_no_document_are_refused() {
        let pick = Pick::of(["/a"]);
        for bytes in ["", "{", r#"{"a":1}x"#, r#"{"b":}"#] {
            assert!(pick.from_slice(bytes.as_bytes()).is_err(), "{bytes}");
        }
    }
}
