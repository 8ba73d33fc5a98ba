//! A part of a JSON document, found without reading the rest of it: what comes before is skipped, what comes after is not
//! looked at.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What stands at a JSON pointer (RFC 6901) as a `T`; none where nothing does, or something else.
pub(crate) fn seek<T: DeserializeOwned>(json: &str, pointer: &str) -> Option<T> {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return None;
    }
    let mut found = None;
    // It ends with an error as soon as it is found.
    let _ = Seek { pointer, found: &mut found }.deserialize(&mut serde_json::Deserializer::from_str(json));
    found
}

struct Seek<'a, T> {
    /// From here.
    pointer: &'a str,
    found: &'a mut Option<T>,
}

impl<'a, T> Seek<'a, T> {
    /// The first step, and the pointer from there.
    fn step(&self) -> (&'a str, &'a str) {
        let path = &self.pointer[1..];
        path.split_at(path.find('/').unwrap_or(path.len()))
    }
}

fn enough<E: Error>() -> E {
    E::custom("enough")
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Seek<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.pointer.is_empty() {
            return deserializer.deserialize_any(self);
        }
        *self.found = Some(T::deserialize(deserializer)?);
        Err(enough())
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Seek<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (step, pointer) = self.step();
        while let Some(is_next) = map.next_key_seed(Is(step))? {
            if is_next {
                return map.next_value_seed(Seek { pointer, found: self.found });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Err(enough())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let (step, pointer) = self.step();
        let Ok(at) = step.parse::<usize>() else { return Err(enough()) };
        for _ in 0..at {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return Err(enough());
            }
        }
        list.next_element_seed(Seek { pointer, found: self.found })?;
        Err(enough())
    }
}

/// Whether a key is this one, which is written as in a pointer.
struct Is<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(match self.0.contains('~') {
            true => key == self.0.replace("~1", "/").replace("~0", "~"),
            false => key == self.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_stands_at_a_pointer_is_found_as_a_parser_of_all_finds_it() {
        let document = json!({"a": {"b/c": {"d~e": [1, {"f": "g\n\"h\""}]}, "": 2}, "data": "x,\"}{", "null": null, "list": []});
        let text = document.to_string();
        for pointer in [
            "",
            "/a",
            "/a/b~1c",
            "/a/b~1c/d~0e",
            "/a/b~1c/d~0e/0",
            "/a/b~1c/d~0e/1/f",
            "/a/",
            "/data",
            "/null",
            "/list",
            "/a/b~1c/d~0e/2",
            "/a/b~1c/d~0e/1/f/g",
            "/a/b",
            "/list/0",
            "/null/a",
            "/nothing",
            "a",
            "/a/b~1c/d~0e/first",
        ] {
            assert_eq!(seek::<Value>(&text, pointer).as_ref(), document.pointer(pointer), "{pointer:?}");
        }
    }

    #[test]
    fn what_has_another_type_is_not_found() {
        assert_eq!(seek::<String>(r#"{"a": 1}"#, "/a"), None);
        assert_eq!(seek::<u8>(r#"{"a": 1}"#, "/a"), Some(1));
    }

    #[test]
    fn nothing_after_it_is_looked_at() {
        assert_eq!(seek::<u8>(r#"{"a": {"b": 1, "c": "#, "/a/b"), Some(1));
        assert_eq!(seek::<u8>(r#"{"a": "#, "/a/b"), None);
    }
}
