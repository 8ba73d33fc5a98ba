//! What a body says, in whatever form; notes fields that were given twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::room::Room;

/// Reads a value. Paths of fields that appear more than once are noted among `duplicates`; the last one counts.
///
/// # Errors
/// Those of the decoder, and when there is more in it than there is `room`, which is used up then.
pub(super) fn read<'de, D: Deserializer<'de>>(
    decoder: D,
    duplicates: &mut Vec<String>,
    room: &mut Room,
) -> Result<Value, D::Error> {
    Node { place: Place::Root, duplicates, room }.deserialize(decoder)
}

/// Where a value stands: most documents have no field that is told of, and no path needs writing.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(above, name) => write!(f, "{above}.{name}"),
            Self::Item(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}

/// Builds the value of a place.
struct Node<'a> {
    place: Place<'a>,
    duplicates: &'a mut Vec<String>,
    room: &'a mut Room,
}

const USED_UP: &str = "too many values";

impl Node<'_> {
    fn leaf<E: serde::de::Error>(&mut self, value: Value) -> Result<Value, E> {
        if self.room.take(false) { Ok(value) } else { Err(self.used_up()) }
    }

    fn used_up<E: serde::de::Error>(&mut self) -> E {
        self.room.use_up();
        E::custom(USED_UP)
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(mut self) -> Result<Value, E> {
        self.leaf(Value::Null)
    }

    fn visit_none<E: serde::de::Error>(mut self) -> Result<Value, E> {
        self.leaf(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E: serde::de::Error>(mut self, value: bool) -> Result<Value, E> {
        self.leaf(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(mut self, value: i64) -> Result<Value, E> {
        self.leaf(value.into())
    }

    fn visit_u64<E: serde::de::Error>(mut self, value: u64) -> Result<Value, E> {
        self.leaf(value.into())
    }

    fn visit_f64<E: serde::de::Error>(mut self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
        self.leaf(Value::Number(number))
    }

    fn visit_str<E: serde::de::Error>(mut self, value: &str) -> Result<Value, E> {
        self.leaf(Value::String(value.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(mut self, value: String) -> Result<Value, E> {
        self.leaf(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        if !self.room.take(true) {
            return Err(self.used_up());
        }
        let mut list = Vec::new();
        loop {
            let place = Place::Item(&self.place, list.len());
            match items.next_element_seed(Node { place, duplicates: self.duplicates, room: self.room })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        if !self.room.take(true) {
            return Err(self.used_up());
        }
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let place = Place::Field(&self.place, &key);
            let value = entries.next_value_seed(Node { place, duplicates: self.duplicates, room: self.room })?;
            match map.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) => {
                    let place = Place::Field(&self.place, entry.key());
                    mizzen_api::schema::note(self.duplicates, &place);
                    entry.insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}
