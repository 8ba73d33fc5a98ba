//! CBOR (RFC 8949) as Kubernetes speaks it (KEP-4222): every document begins with the tag that says what it is, text goes out as
//! byte strings and comes in as either, and what JSON cannot say is refused.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value as Cbor;
use serde_json::{Map, Number, Value};

pub(crate) const MEDIA_TYPE: &str = "application/cbor";
/// The answers to watches: one document after the other.
pub(crate) const SEQUENCE: &str = "application/cbor-seq";

/// The head of tag 55799 (RFC 8949, section 3.4.6).
const SELF_DESCRIBED: [u8; 3] = [0xd9, 0xd9, 0xf7];
/// Bytes that stand for their base64 text (section 3.4.5.2).
const EXPECTED_BASE64: u64 = 22;
/// As deep as Kubernetes reads.
const MAX_DEPTH: usize = 64;

const MAP: u8 = 0xa0;
const ARRAY: u8 = 0x80;
const BYTES: u8 = 0x40;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CborError {
    #[error("decode CBOR: {0}")]
    Decode(String),
    #[error("encode CBOR: {0}")]
    Encode(String),
}

/// # Errors
/// When the bytes are not one item, or one that no JSON document can be.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value, CborError> {
    let mut rest = bytes;
    let item: Cbor = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH)
        .map_err(|error| CborError::Decode(error.to_string()))?;
    match rest.is_empty() {
        true => value_of(item).map_err(CborError::Decode),
        false => Err(CborError::Decode(format!("{} bytes of extraneous data", rest.len()))),
    }
}

fn value_of(item: Cbor) -> Result<Value, String> {
    Ok(match item {
        Cbor::Null => Value::Null,
        Cbor::Bool(value) => Value::Bool(value),
        Cbor::Integer(number) => {
            let number = i64::try_from(number).map_err(|_| format!("{number:?} overflows int64"))?;
            Value::Number(number.into())
        }
        Cbor::Float(number) => Value::Number(Number::from_f64(number).ok_or_else(|| "a number must be finite".to_owned())?),
        Cbor::Text(text) => Value::String(text),
        Cbor::Bytes(bytes) => Value::String(text_of(bytes)?),
        Cbor::Array(items) => Value::Array(items.into_iter().map(value_of).collect::<Result<_, _>>()?),
        Cbor::Map(entries) => {
            let mut map = Map::new();
            let mut seen = HashSet::new();
            for (key, value) in entries {
                let key = match key {
                    Cbor::Text(text) => text,
                    Cbor::Bytes(bytes) => text_of(bytes)?,
                    _ => return Err("a map's key must be text".to_owned()),
                };
                if !seen.insert(key.clone()) {
                    return Err(format!("found duplicate map key {key:?}"));
                }
                map.insert(key, value_of(value)?);
            }
            Value::Object(map)
        }
        Cbor::Tag(EXPECTED_BASE64, content) => match *content {
            Cbor::Bytes(bytes) => Value::String(STANDARD.encode(bytes)),
            other => value_of(other)?,
        },
        // What other tags add to their content, JSON cannot say.
        Cbor::Tag(_, content) => value_of(*content)?,
        _ => return Err("an item has no place in a document".to_owned()),
    })
}

fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| "a string is not UTF-8".to_owned())
}

/// A whole document, with its tag.
///
/// # Errors
/// Never for documents of the API: their numbers have a place in CBOR.
pub(crate) fn encode(value: &Value) -> Result<Vec<u8>, CborError> {
    let mut out = SELF_DESCRIBED.to_vec();
    put(&mut out, value)?;
    Ok(out)
}

/// Appends a value without a tag.
pub(crate) fn put(out: &mut Vec<u8>, value: &Value) -> Result<(), CborError> {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(false) => out.push(0xf4),
        Value::Bool(true) => out.push(0xf5),
        Value::Number(number) => {
            let item = match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(number), ..) => Cbor::from(number),
                (_, Some(number), _) => Cbor::from(number),
                (.., number) => Cbor::from(number.unwrap_or_default()),
            };
            ciborium::into_writer(&item, out).map_err(|error| CborError::Encode(error.to_string()))?;
        }
        Value::String(text) => put_text(out, text),
        Value::Array(items) => {
            put_head(out, ARRAY, items.len());
            for item in items {
                put(out, item)?;
            }
        }
        Value::Object(fields) => {
            put_head(out, MAP, fields.len());
            for (key, value) in fields {
                put_text(out, key);
                put(out, value)?;
            }
        }
    }
    Ok(())
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, BYTES, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Major type and length, as short as they can be.
fn put_head(out: &mut Vec<u8>, kind: u8, length: usize) {
    let length = length as u64;
    match length {
        0..24 => out.push(kind | length as u8),
        24..0x100 => out.extend_from_slice(&[kind | 24, length as u8]),
        0x100..0x1_0000 => {
            out.push(kind | 25);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(kind | 26);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            out.push(kind | 27);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// Appends an event of a watch; `object` is a whole document.
pub(crate) fn frame(out: &mut Vec<u8>, kind: &str, object: &[u8]) {
    out.extend_from_slice(&SELF_DESCRIBED);
    put_head(out, MAP, 2);
    put_text(out, "type");
    put_text(out, kind);
    put_text(out, "object");
    out.extend_from_slice(object);
}

/// What a list begins with; its items follow, each without a tag.
pub(crate) fn list_head(kind: &str, api_version: &str, metadata: &Value, items: usize) -> Result<Vec<u8>, CborError> {
    let mut out = SELF_DESCRIBED.to_vec();
    put_head(&mut out, MAP, 4);
    for (key, text) in [("kind", kind), ("apiVersion", api_version)] {
        put_text(&mut out, key);
        put_text(&mut out, text);
    }
    put_text(&mut out, "metadata");
    put(&mut out, metadata)?;
    put_text(&mut out, "items");
    put_head(&mut out, ARRAY, items);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn text_goes_out_as_bytes_after_the_tag() {
        let bytes = encode(&json!({"a": "b", "n": [1, -1, 1.5, true, null]})).expect("is encoded");
        let wanted = b"\xd9\xd9\xf7\xa2\x41a\x41b\x41n\x85\x01\x20\xf9\x3e\x00\xf5\xf6";
        assert_eq!(bytes, wanted);
    }

    #[test]
    fn both_kinds_of_strings_come_in() {
        // {"a": h'62', h'63': 22(h'0102'), "d": 0("2026-01-01T00:00:00Z")}
        let mut bytes = b"\xa3\x61a\x41b\x41c\xd6\x42\x01\x02\x61d\xc0\x74".to_vec();
        bytes.extend_from_slice(b"2026-01-01T00:00:00Z");
        let wanted = json!({"a": "b", "c": "AQI=", "d": "2026-01-01T00:00:00Z"});
        assert_eq!(decode(&bytes).expect("is read"), wanted);
        let open_ended = b"\xbf\x61a\x9f\x01\xff\xff";
        assert_eq!(decode(open_ended).expect("is read"), json!({"a": [1]}));
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        for (bytes, why) in [
            (&b"\xa2\x61a\x01\x61a\x02"[..], "duplicate map key \"a\""),
            (b"\xa1\x01\x02", "key must be text"),
            (b"\xf9\x7e\x00", "finite"),
            (b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", "overflows int64"),
            (b"\x41\xff", "UTF-8"),
            (b"\x01\x02", "extraneous"),
            (b"\x42a", "decode CBOR"),
            (&[0x81; 100], "decode CBOR"),
        ] {
            let error = decode(bytes).map(|value| format!("{value} was read")).expect_err("is refused").to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|number| json!(number)),
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| json!(number)),
            ".{0,40}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..30).prop_map(Value::Array),
                prop::collection::btree_map(".{0,30}", inner, 0..30).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn documents_come_back_as_they_were(value in any_value()) {
            prop_assert_eq!(decode(&encode(&value).expect("is encoded")).expect("is read"), value);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
