//! Documents to messages. What a message has no field for is left out: protobuf cannot carry it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::layout::{self, Entry, Kind, Layouts, Union};
use super::wire::{put_bytes, put_double, put_integer, put_message};

/// The message of a document, without its envelope.
pub(super) fn message(index: usize, document: &Map<String, Value>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    Encoder { layouts: layout::builtin() }.fields(&mut out, index, document);
    out
}

struct Encoder {
    layouts: &'static Layouts,
}

impl Encoder {
    fn fields(&self, out: &mut Vec<u8>, index: usize, object: &Map<String, Value>) {
        for entry in self.layouts.message(index).entries() {
            match entry {
                Entry::Field(field) => {
                    if let Some(value) = object.get(field.name) {
                        self.field(out, field.number, &field.kind, value);
                    }
                }
                Entry::Inline { number, message } => put_message(out, *number, |out| self.fields(out, *message, object)),
            }
        }
    }

    fn field(&self, out: &mut Vec<u8>, number: u32, kind: &Kind, value: &Value) {
        match (kind, value) {
            (_, Value::Null) => {}
            (Kind::List(items), Value::Array(list)) => list.iter().for_each(|item| self.field(out, number, items, item)),
            (Kind::Map(values), Value::Object(map)) => {
                for (key, value) in map {
                    put_message(out, number, |out| {
                        put_bytes(out, 1, key.as_bytes());
                        match &**values {
                            // A map keeps a key whose value is none.
                            Kind::Time { .. } | Kind::Message(_) if value.is_null() => put_bytes(out, 2, &[]),
                            // A list as the value of a map is a message of its own.
                            Kind::List(_) => put_message(out, 2, |out| self.field(out, 1, values, value)),
                            values => self.field(out, 2, values, value),
                        }
                    });
                }
            }
            (Kind::Text, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
            (Kind::Bytes, Value::String(text)) => put_bytes(out, number, &STANDARD.decode(text).unwrap_or_default()),
            (Kind::Integer, Value::Number(value)) => {
                // Numbers that are whole may be written with a fraction of zero.
                let value = value.as_i64().or_else(|| value.as_f64().map(|value| value as i64)).unwrap_or_default();
                put_integer(out, number, value.cast_unsigned());
            }
            (Kind::Boolean, Value::Bool(value)) => put_integer(out, number, u64::from(*value)),
            (Kind::Double, Value::Number(value)) => put_double(out, number, value.as_f64().unwrap_or_default()),
            (Kind::Quantity, Value::String(text)) => put_message(out, number, |out| put_bytes(out, 1, text.as_bytes())),
            (Kind::Quantity, Value::Number(value)) => {
                put_message(out, number, |out| put_bytes(out, 1, value.to_string().as_bytes()));
            }
            (Kind::IntOrString, value) => put_message(out, number, |out| int_or_string(out, value)),
            (Kind::Time { micro }, Value::String(text)) => put_message(out, number, |out| time(out, text, *micro)),
            (Kind::Raw, value) => put_message(out, number, |out| put_bytes(out, 1, value.to_string().as_bytes())),
            (Kind::Message(index), Value::Object(object)) => put_message(out, number, |out| self.fields(out, *index, object)),
            (Kind::Union(union), value) => put_message(out, number, |out| self.union(out, union, value)),
            // Of another type than the schema says, which is not stored.
            _ => {}
        }
    }

    fn union(&self, out: &mut Vec<u8>, union: &Union, value: &Value) {
        if let Some(flag) = union.flag {
            put_integer(out, flag, u64::from(value != &Value::Bool(false)));
        }
        match (value, &union.list) {
            (Value::Object(_), _) => self.field(out, union.schema, &union.message, value),
            (Value::Array(list), Some((number, items))) => list.iter().for_each(|item| self.field(out, *number, items, item)),
            _ => {}
        }
    }
}

fn int_or_string(out: &mut Vec<u8>, value: &Value) {
    let text = value.as_str();
    put_integer(out, 1, u64::from(text.is_some()));
    put_integer(out, 2, value.as_i64().unwrap_or_default().cast_unsigned());
    put_bytes(out, 3, text.unwrap_or_default().as_bytes());
}

/// A time that is none is left empty, as a time that nobody set.
fn time(out: &mut Vec<u8>, text: &str, micro: bool) {
    let Ok(time) = text.parse::<jiff::Timestamp>() else { return };
    let nanos = if micro { time.subsec_nanosecond() / 1000 * 1000 } else { 0 };
    put_integer(out, 1, time.as_second().cast_unsigned());
    put_integer(out, 2, i64::from(nanos).cast_unsigned());
}
