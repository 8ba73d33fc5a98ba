//! Documents as values of expressions, typed by their schema.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Value as Cel};
use mizzen_api::validate::CEL_RESERVED;
use serde_json::Value;

use super::build::call;
use super::names::escape;
use crate::schema::{Structural, Type};

/// Of an object's metadata, rules see the name.
const METADATA: [&str; 2] = ["name", "generateName"];

/// `is_resource`: the root of a document or an embedded one, which has `apiVersion`, `kind` and `metadata`.
pub(super) fn to_cel(schema: Option<&Structural>, value: &Value, is_resource: bool) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => match (schema.map(|schema| schema.kind), number.as_i64()) {
            (Some(Type::Number), _) | (_, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
            (_, Some(number)) => Cel::Int(number),
        },
        Value::String(string) => text(schema, string),
        Value::Array(items) => {
            let schema = schema.and_then(|schema| schema.items.as_deref());
            let embedded = schema.is_some_and(|schema| schema.embedded);
            Cel::List(Arc::new(items.iter().map(|item| to_cel(schema, item, embedded)).collect()))
        }
        Value::Object(object) => {
            let mut map = HashMap::with_capacity(object.len());
            let is_map = schema.is_some_and(|schema| schema.additional.is_some());
            for (name, value) in object {
                let value = match name.as_str() {
                    "metadata" if is_resource => metadata(value),
                    "apiVersion" | "kind" if is_resource => to_cel(None, value, false),
                    _ => {
                        let schema = schema.and_then(|schema| schema.field(name));
                        to_cel(schema, value, schema.is_some_and(|schema| schema.embedded))
                    }
                };
                // Keys of a map are data, not names. A word of the language names a field with and without its escape.
                let escaped = if is_map { Cow::Borrowed(name.as_str()) } else { escape(name) };
                if !is_map && CEL_RESERVED.contains(&name.as_str()) {
                    map.insert(Key::String(Arc::new(name.clone())), value.clone());
                }
                map.insert(Key::String(Arc::new(escaped.into_owned())), value);
            }
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

/// A document as it is: without a schema there are no types but JSON's, and every name is data.
pub(super) fn plain(value: &Value) -> Cel {
    match value {
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(plain).collect())),
        Value::Object(object) => {
            let map = object.iter().map(|(name, value)| (Key::String(Arc::new(name.clone())), plain(value))).collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
        scalar => to_cel(None, scalar, false),
    }
}

/// What an expression built, as a document.
///
/// # Errors
/// When a value has no form in JSON.
pub(super) fn to_json(value: &Cel) -> Result<Value, String> {
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(flag) => Value::Bool(*flag),
        Cel::Int(number) => Value::from(*number),
        Cel::UInt(number) => Value::from(*number),
        Cel::Float(number) => Value::from(*number),
        Cel::String(text) => Value::String(text.to_string()),
        Cel::List(items) => Value::Array(items.iter().map(to_json).collect::<Result<_, _>>()?),
        Cel::Map(map) => {
            let mut object = serde_json::Map::with_capacity(map.map.len());
            for (key, value) in map.map.iter() {
                let Key::String(key) = key else { return Err("a key of an object is not a string".to_owned()) };
                object.insert(key.to_string(), to_json(value)?);
            }
            Value::Object(object)
        }
        _ => return Err("a value has no form in JSON".to_owned()),
    })
}

fn metadata(value: &Value) -> Cel {
    let fields = METADATA.iter().filter_map(|field| {
        let text = value.get(field)?.as_str()?;
        Some((Key::String(Arc::new((*field).to_owned())), Cel::String(Arc::new(text.to_owned()))))
    });
    Cel::Map(Map { map: Arc::new(fields.collect()) })
}

fn text(schema: Option<&Structural>, string: &str) -> Cel {
    let typed = match schema.and_then(|schema| schema.limits.format.as_deref()) {
        Some("date-time" | "datetime") => construct("timestamp", string),
        Some("date") => construct("timestamp", &format!("{string}T00:00:00Z")),
        Some("duration") => construct("duration", string),
        Some("byte") => mizzen_api::validate::base64(string).ok().map(|bytes| Cel::Bytes(Arc::new(bytes))),
        _ => None,
    };
    // What is not of its format is told by the schema's own checks.
    typed.unwrap_or_else(|| Cel::String(Arc::new(string.to_owned())))
}

fn construct(constructor: &str, string: &str) -> Option<Cel> {
    thread_local! {
        static CONSTRUCTORS: Context<'static> = Context::default();
    }
    let call = call(constructor, vec![super::build::text(string)]);
    CONSTRUCTORS.with(|context| context.resolve(&call)).ok()
}
