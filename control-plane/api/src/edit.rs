//! A change of few places of a stored document, made in its bytes: the rest is neither decoded nor encoded again.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::object::{Encoded, Object, revision_member};

/// What is to change of a document.
pub struct Edit<'a> {
    object: &'a Object,
    fields: BTreeMap<String, &'a RawValue>,
    changes: Vec<(Range<usize>, Vec<u8>)>,
}

impl<'a> Edit<'a> {
    /// # Errors
    /// When the bytes are not a JSON object, which the API never stores.
    pub fn of(object: &'a Object) -> Result<Self, serde_json::Error> {
        Ok(Self { object, fields: serde_json::from_slice(object.bytes())?, changes: Vec::new() })
    }

    /// Where a field's value is in the document.
    fn range(&self, name: &str) -> Option<Range<usize>> {
        let text = self.fields.get(name)?.get();
        let start = text.as_ptr().addr().checked_sub(self.object.bytes().as_ptr().addr())?;
        Some(start..start + text.len())
    }

    /// Gives a field of the document another value, or the document such a field.
    pub fn set(&mut self, name: &str, value: &Value) {
        match self.range(name) {
            Some(range) => self.changes.push((range, value.to_string().into_bytes())),
            None => {
                let end = self.object.bytes().iter().rposition(|byte| *byte == b'}').unwrap_or(0);
                self.changes.push((end..end, format!(",{}:{value}", Value::from(name)).into_bytes()));
            }
        }
    }

    /// Gives a field's value, an object that has none of the name, a member. Nothing happens where there is no such field.
    pub fn add(&mut self, field: &str, name: &str, value: &Value) {
        let Some(text) = self.fields.get(field).map(|value| value.get()) else { return };
        let Some((start, rest)) = self.range(field).zip(text.strip_prefix('{')) else { return };
        let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
        let at = start.start + 1;
        self.changes.push((at..at, format!("{}:{value}{comma}", Value::from(name)).into_bytes()));
    }

    /// The changed document, for the store. `None` when it has no metadata, which the API never stores.
    pub fn encoded(mut self) -> Option<Encoded> {
        let bytes = self.object.bytes();
        let metadata = self.range("metadata")?.start + 1;
        let revision = revision_member(self.object.revision());
        let is_first = bytes.get(metadata..)?.starts_with(revision.as_bytes());
        if is_first {
            self.changes.push((metadata..metadata + revision.len(), Vec::new()));
        }
        self.changes.sort_by_key(|(range, _)| range.start);
        let mut changed = Vec::with_capacity(bytes.len() + 256);
        let (mut from, mut splice_at) = (0, None);
        for (range, text) in &self.changes {
            changed.extend_from_slice(bytes.get(from..range.start)?);
            if range.start == metadata {
                splice_at = Some(changed.len());
            }
            changed.extend_from_slice(text);
            from = range.end;
        }
        changed.extend_from_slice(bytes.get(from..)?);
        match splice_at.filter(|_| is_first) {
            Some(at) => Some(Encoded { bytes: changed.into(), splice_at: u32::try_from(at).ok()? }),
            // The store has not written the revision itself.
            None => Encoded::from_value(serde_json::from_slice(&changed).ok()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(document: Value) -> Object {
        Object::new(Encoded::from_value(document).expect("encodes").at_revision(7), 7)
    }

    fn edited(object: &Object, change: impl FnOnce(&mut Edit<'_>)) -> Value {
        let mut edit = Edit::of(object).expect("is an object");
        change(&mut edit);
        let encoded = edit.encoded().expect("has metadata");
        let value = Object::new(encoded.at_revision(8), 8).value().expect("is JSON");
        let again = Encoded::from_value(value.clone()).expect("encodes").at_revision(8);
        assert_eq!(encoded.at_revision(8).len(), again.len(), "nothing is there twice");
        value
    }

    #[test]
    fn what_is_changed_is_as_if_it_were_decoded_and_encoded() {
        let document = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "annotations": {"spec": "{\"status\":{}}"}},
            "spec": {"containers": [{"name": "ä\"}"}]}, "status": {"phase": "Pending"},
        });
        let pod = stored(document.clone());
        let changed = edited(&pod, |edit| {
            edit.set("status", &json!({"phase": "Running"}));
            edit.add("spec", "nodeName", &json!("n\"1"));
        });
        let mut wanted = document;
        wanted["spec"]["nodeName"] = json!("n\"1");
        wanted["status"]["phase"] = json!("Running");
        wanted["metadata"]["resourceVersion"] = json!("8");
        assert_eq!(changed, wanted);
    }

    #[test]
    fn fields_that_are_not_there_come_and_empty_ones_fill() {
        let changed = edited(&stored(json!({"metadata": {"name": "a"}, "spec": {}})), |edit| {
            edit.add("spec", "nodeName", &json!("n"));
            edit.add("none", "nodeName", &json!("n"));
            edit.set("status", &json!({}));
        });
        assert_eq!(changed, json!({"metadata": {"name": "a", "resourceVersion": "8"}, "spec": {"nodeName": "n"}, "status": {}}));
    }

    #[test]
    fn a_revision_that_stands_elsewhere_is_replaced_all_the_same() {
        let object = Object::new(r#"{"metadata": {"name": "a", "resourceVersion": "7"}, "spec": {"a": 1}}"#, 7);
        let changed = edited(&object, |edit| edit.add("spec", "b", &json!(2)));
        assert_eq!(changed, json!({"metadata": {"name": "a", "resourceVersion": "8"}, "spec": {"a": 1, "b": 2}}));
    }
}
