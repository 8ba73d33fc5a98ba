//! On which line of a YAML document a key stands for the second time.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

/// The first key that stands twice, as Go's decoder tells it.
pub(super) fn first(yaml: &[u8]) -> Option<String> {
    let error = Unique.deserialize(serde_yaml_ng::Deserializer::from_slice(yaml)).err()?;
    let line = error.location()?.line();
    // The decoder adds the place to the text.
    let text = error.to_string();
    let key = text.split(MARK).nth(1)?;
    Some(format!("line {line}: key {key:?} already set in map"))
}

/// Around the key in the error's text.
const MARK: char = '\u{1}';

/// Any value whose maps have each key once.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E>(self, _value: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _value: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _value: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _value: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _value: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Unique)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while entries.next_key_seed(Key { seen: &mut seen })?.is_some() {
            entries.next_value_seed(Unique)?;
        }
        Ok(())
    }
}

/// A key; the error of a second one has the key's own place.
struct Key<'a> {
    seen: &'a mut HashSet<String>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<(), E> {
        match self.seen.insert(key.to_owned()) {
            true => Ok(()),
            false => Err(E::custom(format!("{MARK}{key}{MARK}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_second_key_is_told() {
        let yaml = b"\na: 1\nspec:\n  foo: x\n  bar: y\n  foo: z\n";
        assert_eq!(first(yaml).as_deref(), Some("line 6: key \"foo\" already set in map"));
        assert_eq!(first(b"a: 1\nb: {a: 1}\n"), None);
    }
}
