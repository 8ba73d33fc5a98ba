//! Finds and replaces `metadata.resourceVersion` in encoded documents, without decoding them.

use std::sync::Arc;

use bytes::Bytes;
use mizzen_api::Object;

/// The byte range of the revision's digits in a stored document; `None` when the document does not start its metadata
/// with `resourceVersion`, as every stored document does.
fn revision_range(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    const METADATA: &[u8] = b"\"metadata\":{\"resourceVersion\":\"";
    let mut depth = 0_u32;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                if depth == 1 && bytes[at..].starts_with(METADATA) {
                    let start = at + METADATA.len();
                    let length = bytes[start..].iter().position(|byte| *byte == b'"')?;
                    return Some(start..start + length);
                }
                at = end_of_string(bytes, at)?;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The offset of the quote that closes the string opened at `open`.
fn end_of_string(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at),
            _ => at += 1,
        }
    }
}

/// The same document at another revision: what a deletion shows is the last state with the deletion's revision.
pub(crate) fn at_revision(object: &Object, revision: u64) -> Arc<Object> {
    let bytes = object.bytes();
    let Some(range) = revision_range(bytes) else {
        return Arc::new(Object::new(bytes.clone(), revision));
    };
    let digits = revision.to_string();
    let mut copy = Vec::with_capacity(bytes.len() + digits.len());
    copy.extend_from_slice(&bytes[..range.start]);
    copy.extend_from_slice(digits.as_bytes());
    copy.extend_from_slice(&bytes[range.end..]);
    Arc::new(Object::new(Bytes::from(copy), revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documents_own_revision_is_replaced() {
        let text = r#"{"a":{"metadata":{"resourceVersion":"1","x":1}},"b":"\"metadata\":{","metadata":{"resourceVersion":"7","name":"n"}}"#;
        let object = at_revision(&Object::new(text.as_bytes().to_vec(), 7), 123);
        assert_eq!(object.head().resource_version, "123");
        assert_eq!(object.value().expect("JSON")["a"]["metadata"]["resourceVersion"], "1");
    }
}
