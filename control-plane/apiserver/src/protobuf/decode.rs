//! Messages to documents: field numbers come from the table, types from the schemas.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mizzen_api::schema::{Schema, SchemaSet, Shape};
use serde_json::{Map, Value, json};

use super::ProtobufError;
use super::fields::{self, Entry};
use super::wire::{Fields, Wire};

/// As deep as JSON bodies may be.
const MAX_DEPTH: usize = 120;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// One message of the schema `name`.
pub(super) fn message(schemas: &SchemaSet, name: &str, bytes: &[u8]) -> Result<Value, ProtobufError> {
    let mut object = Map::new();
    Decoder { schemas, depth: 0 }.fields(name, name, bytes, &mut object)?;
    Ok(Value::Object(object))
}

struct Decoder<'a> {
    schemas: &'a SchemaSet,
    depth: usize,
}

impl Decoder<'_> {
    /// Reads the message `layout` into an object of the schema `name`; they differ for inline messages.
    fn fields(&mut self, name: &str, layout: &str, bytes: &[u8], object: &mut Map<String, Value>) -> Result<(), ProtobufError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ProtobufError::TooDeep);
        }
        let schemas = self.schemas;
        let shape = match schemas.get(name).map(|schema| &schemas.resolve(schema).shape) {
            Some(Shape::Object(shape)) => shape,
            _ => return Ok(()),
        };
        let package = layout.rsplit_once('.').map_or("", |(package, _)| package);
        let Some(numbers) = fields::message(layout) else { return Ok(()) };
        for field in Fields::new(bytes) {
            let (number, wire) = field?;
            match numbers.get(&number) {
                Some(Entry::Field { zero_is_absent: true, .. }) if wire == Wire::Varint(0) => {}
                Some(Entry::Field { name: key, .. }) => {
                    if let Some(field) = shape.fields.get(*key) {
                        self.field(key, &field.schema, wire, object)?;
                    }
                }
                Some(Entry::Inline(inline)) => {
                    self.fields(name, &format!("{package}.{inline}"), wire.bytes(inline)?, object)?;
                }
                // A field newer than the table: as with JSON, what is not known is left out.
                None => {}
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn field(
        &mut self,
        key: &str,
        schema: &Schema,
        wire: Wire<'_>,
        object: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        let schemas = self.schemas;
        match &schemas.resolve(schema).shape {
            Shape::List { items, .. } => {
                let item = self.value(key, items, wire)?;
                if let Some(list) = object.entry(key).or_insert_with(|| json!([])).as_array_mut() {
                    list.push(item);
                }
            }
            Shape::Map { values, .. } => {
                let (mut name, mut value) = (String::new(), None);
                for field in Fields::new(wire.bytes(key)?) {
                    match field? {
                        (1, wire) => name = wire.text(key)?.to_owned(),
                        (2, wire) => value = Some(self.map_value(key, values, wire)?),
                        _ => {}
                    }
                }
                let value = match value {
                    Some(value) => value,
                    None => self.map_value(key, values, Wire::Bytes(&[]))?,
                };
                if let Some(map) = object.entry(key).or_insert_with(|| json!({})).as_object_mut() {
                    map.insert(name, value);
                }
            }
            shape => {
                let value = self.value(key, schema, wire)?;
                // gogo writes fields that are not pointers even when they are empty; to JSON those are absent.
                let empty = match (&value, shape) {
                    // An empty storage class is a choice of its own: no dynamic provisioning.
                    (Value::String(text), _) => text.is_empty() && key != "storageClassName",
                    (Value::Null, _) => true,
                    (Value::Object(fields), Shape::Object(_)) => fields.is_empty() && is_dropped_when_empty(key),
                    _ => false,
                };
                if !empty {
                    object.insert(key.to_owned(), value);
                }
            }
        }
        Ok(())
    }

    /// A list as the value of a map is a message of its own, with the items as its first field.
    fn map_value(&mut self, key: &str, schema: &Schema, wire: Wire<'_>) -> Result<Value, ProtobufError> {
        let schemas = self.schemas;
        let Shape::List { items, .. } = &schemas.resolve(schema).shape else { return self.value(key, schema, wire) };
        let mut list = Vec::new();
        for field in Fields::new(wire.bytes(key)?) {
            if let (1, wire) = field? {
                list.push(self.value(key, items, wire)?);
            }
        }
        Ok(Value::Array(list))
    }

    fn value(&mut self, key: &str, schema: &Schema, wire: Wire<'_>) -> Result<Value, ProtobufError> {
        let schemas = self.schemas;
        if let Shape::Ref(name) = &schema.shape {
            match name.strip_prefix(META) {
                Some(".Time") => return time(key, wire, false),
                Some(".MicroTime") => return time(key, wire, true),
                _ => {}
            }
            if let Some(resolved) = schemas.get(name)
                && matches!(resolved.shape, Shape::Object(_))
            {
                let mut object = Map::new();
                self.fields(name, name, wire.bytes(key)?, &mut object)?;
                return Ok(Value::Object(object));
            }
        }
        match &schemas.resolve(schema).shape {
            Shape::String { format: Some(format), .. } if &**format == "byte" => {
                Ok(Value::String(STANDARD.encode(wire.bytes(key)?)))
            }
            Shape::String { .. } => Ok(Value::String(wire.text(key)?.to_owned())),
            Shape::Integer { .. } => Ok(json!(wire.integer(key)?)),
            Shape::Boolean => Ok(Value::Bool(wire.integer(key)? != 0)),
            Shape::Number { .. } => match wire {
                Wire::Fixed64(bits) => Ok(json!(f64::from_bits(bits))),
                Wire::Fixed32(bits) => Ok(json!(f32::from_bits(bits))),
                _ => Err(ProtobufError::Malformed { what: key.to_owned(), wanted: "a number" }),
            },
            Shape::Quantity => Ok(first(wire, key)?
                .map_or(Ok(Value::String("0".to_owned())), |wire| wire.text(key).map(|text| Value::String(text.to_owned())))?),
            Shape::IntOrString => int_or_string(key, wire),
            Shape::Any => match first(wire, key)? {
                Some(raw) => {
                    let malformed = |_| ProtobufError::Malformed { what: key.to_owned(), wanted: "a JSON document" };
                    serde_json::from_slice(raw.bytes(key)?).map_err(malformed)
                }
                None => Ok(Value::Null),
            },
            Shape::Object(shape) => {
                // A struct that a field says more of stands in the field itself; its message is that of the same fields.
                let same = |candidate: &Schema| matches!(&candidate.shape, Shape::Object(other) if other.fields.keys().eq(shape.fields.keys()));
                let Some((name, _)) = schemas.iter().find(|(_, candidate)| same(candidate)) else {
                    return Err(ProtobufError::Malformed { what: key.to_owned(), wanted: "of a shape that protobuf has" });
                };
                let mut object = Map::new();
                self.fields(name, name, wire.bytes(key)?, &mut object)?;
                Ok(Value::Object(object))
            }
            Shape::List { .. } | Shape::Map { .. } | Shape::Ref(_) => {
                Err(ProtobufError::Malformed { what: key.to_owned(), wanted: "of a shape that protobuf has" })
            }
        }
    }
}

/// A status or metadata that nobody filled in.
fn is_dropped_when_empty(key: &str) -> bool {
    matches!(key, "status" | "metadata" | "resources" | "strategy" | "loadBalancer" | "updateStrategy")
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
