//! Messages to documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::ProtobufError;
use super::layout::{self, Entry, Field, Kind, Layouts, Union};
use super::wire::{Fields, Wire};

/// As deep as JSON bodies may be.
const MAX_DEPTH: usize = 120;

/// One message as a document.
pub(super) fn message(index: usize, bytes: &[u8]) -> Result<Value, ProtobufError> {
    Decoder { layouts: layout::builtin(), depth: 0 }.object(index, bytes)
}

struct Decoder {
    layouts: &'static Layouts,
    depth: usize,
}

impl Decoder {
    fn object(&mut self, index: usize, bytes: &[u8]) -> Result<Value, ProtobufError> {
        let mut object = Map::new();
        self.fields(index, bytes, &mut object)?;
        Ok(Value::Object(object))
    }

    fn fields(&mut self, index: usize, bytes: &[u8], object: &mut Map<String, Value>) -> Result<(), ProtobufError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ProtobufError::TooDeep);
        }
        let message = self.layouts.message(index);
        for field in Fields::new(bytes) {
            let (number, wire) = field?;
            match message.entry(number) {
                Some(Entry::Field(field)) => self.field(field, wire, object)?,
                Some(Entry::Inline { message, .. }) => self.fields(*message, wire.bytes("an inline message")?, object)?,
                // A field newer than the table: as with JSON, what is not known is left out.
                None => {}
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn field(&mut self, field: &Field, wire: Wire<'_>, object: &mut Map<String, Value>) -> Result<(), ProtobufError> {
        let key = field.name;
        match &field.kind {
            Kind::List(items) => {
                let item = self.value(key, items, wire)?;
                if let Some(list) = object.entry(key).or_insert_with(|| json!([])).as_array_mut() {
                    list.push(item);
                }
            }
            Kind::Map(values) => {
                let (mut name, mut value) = (String::new(), None);
                for part in Fields::new(wire.bytes(key)?) {
                    match part? {
                        (1, wire) => name = wire.text(key)?.to_owned(),
                        (2, wire) => value = Some(self.map_value(key, values, wire)?),
                        _ => {}
                    }
                }
                let value = match value {
                    Some(value) => value,
                    None => self.map_value(key, values, zero_of(values))?,
                };
                if let Some(map) = object.entry(key).or_insert_with(|| json!({})).as_object_mut() {
                    map.insert(name, value);
                }
            }
            kind => {
                let value = self.value(key, kind, wire)?;
                if !value.is_null() && (field.kept || !is_zero(kind, &value)) {
                    object.insert(key.to_owned(), value);
                }
            }
        }
        Ok(())
    }

    /// A list as the value of a map is a message of its own, with the items as its first field.
    fn map_value(&mut self, key: &str, kind: &Kind, wire: Wire<'_>) -> Result<Value, ProtobufError> {
        let Kind::List(items) = kind else { return self.value(key, kind, wire) };
        let mut list = Vec::new();
        for field in Fields::new(wire.bytes(key)?) {
            if let (1, wire) = field? {
                list.push(self.value(key, items, wire)?);
            }
        }
        Ok(Value::Array(list))
    }

    fn value(&mut self, key: &str, kind: &Kind, wire: Wire<'_>) -> Result<Value, ProtobufError> {
        let malformed = |wanted| ProtobufError::Malformed { what: key.to_owned(), wanted };
        match kind {
            Kind::Text => Ok(Value::String(wire.text(key)?.to_owned())),
            Kind::Bytes => Ok(Value::String(STANDARD.encode(wire.bytes(key)?))),
            Kind::Integer => Ok(json!(wire.integer(key)?)),
            Kind::Boolean => Ok(Value::Bool(wire.integer(key)? != 0)),
            Kind::Double => match wire {
                Wire::Fixed64(bits) => Ok(json!(f64::from_bits(bits))),
                Wire::Fixed32(bits) => Ok(json!(f32::from_bits(bits))),
                _ => Err(malformed("a number")),
            },
            Kind::Quantity => match first(wire, key)? {
                Some(wire) => Ok(Value::String(wire.text(key)?.to_owned())),
                None => Ok(Value::String("0".to_owned())),
            },
            Kind::IntOrString => int_or_string(key, wire),
            Kind::Time { micro } => time(key, wire, *micro),
            Kind::Raw => match first(wire, key)? {
                Some(raw) => serde_json::from_slice(raw.bytes(key)?).map_err(|_| malformed("a JSON document")),
                None => Ok(Value::Null),
            },
            Kind::Message(index) => self.object(*index, wire.bytes(key)?),
            Kind::Union(union) => self.union(key, union, wire),
            Kind::List(_) | Kind::Map(_) => Err(malformed("of a shape that protobuf has")),
        }
    }

    fn union(&mut self, key: &str, union: &Union, wire: Wire<'_>) -> Result<Value, ProtobufError> {
        let (mut schema, mut list, mut allowed) = (None, Vec::new(), false);
        for field in Fields::new(wire.bytes(key)?) {
            let (number, wire) = field?;
            match &union.list {
                _ if number == union.schema => schema = Some(self.value(key, &union.message, wire)?),
                Some((known, items)) if number == *known => list.push(self.value(key, items, wire)?),
                None if Some(number) == union.flag => allowed = wire.integer(key)? != 0,
                _ => {}
            }
        }
        Ok(match (schema, union.flag) {
            (Some(schema), _) => schema,
            (None, Some(_)) => Value::Bool(allowed),
            (None, None) => Value::Array(list),
        })
    }
}

/// What stands for a map's value that is left out.
fn zero_of(kind: &Kind) -> Wire<'static> {
    match kind {
        Kind::Integer | Kind::Boolean => Wire::Varint(0),
        Kind::Double => Wire::Fixed64(0),
        _ => Wire::Bytes(&[]),
    }
}

/// What a field holds that nobody set, and that cannot be left out.
fn is_zero(kind: &Kind, value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty() && matches!(kind, Kind::Message(_)),
        Value::Null | Value::Array(_) => false,
    }
}

/// The first field of a message that wraps one value.
fn first<'a>(wire: Wire<'a>, key: &str) -> Result<Option<Wire<'a>>, ProtobufError> {
    for field in Fields::new(wire.bytes(key)?) {
        if let (1, wire) = field? {
            return Ok(Some(wire));
        }
    }
    Ok(None)
}

fn time(key: &str, wire: Wire<'_>, micro: bool) -> Result<Value, ProtobufError> {
    let (mut seconds, mut nanos) = (0, 0);
    let bytes = wire.bytes(key)?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    for field in Fields::new(bytes) {
        match field? {
            (1, wire) => seconds = wire.integer(key)?,
            (2, wire) => nanos = wire.integer(key)?,
            _ => {}
        }
    }
    let malformed = || ProtobufError::Malformed { what: key.to_owned(), wanted: "a time" };
    let nanos = i32::try_from(nanos).map_err(|_| malformed())?;
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| malformed())?;
    let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(Value::String(time.strftime(format).to_string()))
}

fn int_or_string(key: &str, wire: Wire<'_>) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut text) = (false, 0, "");
    for field in Fields::new(wire.bytes(key)?) {
        match field? {
            (1, wire) => is_text = wire.integer(key)? == 1,
            (2, wire) => number = wire.integer(key)?,
            (3, wire) => text = wire.text(key)?,
            _ => {}
        }
    }
    Ok(if is_text { json!(text) } else { json!(number) })
}
