//! The `pod-template-hash`: a short name for a template, the same wherever it is computed.

use serde_json::Value;

/// Letters and digits that spell no words.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash of a normalized template; `collisions` tells apart templates that happened to hash alike.
pub(crate) fn template_hash(template: &Value, collisions: i32) -> String {
    let mut hash = Fnv(0x811c_9dc5);
    hash.value(template);
    if collisions > 0 {
        hash.bytes(&collisions.to_le_bytes());
    }
    hash.0.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

/// FNV-1a, 32 bits.
struct Fnv(u32);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    /// Keys in order, and every part preceded by its kind and length, so that no two documents read alike.
    fn value(&mut self, value: &Value) {
        let length = |hash: &mut Self, kind: u8, length: usize| {
            hash.bytes(&[kind]);
            hash.bytes(&length.to_le_bytes());
        };
        match value {
            Value::Object(map) => {
                length(self, b'{', map.len());
                let mut keys: Vec<_> = map.keys().collect();
                keys.sort_unstable();
                for key in keys {
                    length(self, b'k', key.len());
                    self.bytes(key.as_bytes());
                    self.value(&map[key]);
                }
            }
            Value::Array(items) => {
                length(self, b'[', items.len());
                items.iter().for_each(|item| self.value(item));
            }
            Value::String(text) => {
                length(self, b's', text.len());
                self.bytes(text.as_bytes());
            }
            other => {
                let text = other.to_string();
                length(self, b'v', text.len());
                self.bytes(text.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_hash_depends_on_the_content_only() {
        let a: Value = serde_json::from_str(r#"{"a":1,"b":["x","y"]}"#).expect("is JSON");
        let b: Value = serde_json::from_str(r#"{"b":["x","y"],"a":1}"#).expect("is JSON");
        assert_eq!(template_hash(&a, 0), template_hash(&b, 0));
        assert_ne!(template_hash(&a, 0), template_hash(&json!({"a": 1, "b": ["xy", ""]}), 0));
        assert_ne!(template_hash(&a, 0), template_hash(&a, 1));
        assert!(template_hash(&a, 0).bytes().all(|byte| ALPHABET.contains(&byte)));
    }
}
