//! Label and field selectors of one request.

use memchr::memmem::Finder;
use mizzen_api::pick::Pick;
use mizzen_api::selector::{FieldSelector, LabelSelector};
use mizzen_api::{Object, ResourceDescriptor, Status};
use serde_json::Value;

/// What a list or watch is narrowed to.
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// What has to be decoded, where some field selected is not in the metadata.
    needed: Option<Needed>,
    /// What the bytes of every match hold.
    held: Vec<Finder<'static>>,
}

impl Selection {
    /// # Errors
    /// `BadRequest` for selectors that do not parse or name fields that the kind has not.
    pub(crate) fn parse(descriptor: &ResourceDescriptor, labels: &str, fields: &str) -> Result<Self, Status> {
        let labels =
            LabelSelector::parse(labels).map_err(|error| Status::bad_request(format!("unable to parse requirement: {error}")))?;
        let fields = FieldSelector::parse(fields)
            .map_err(|error| Status::bad_request(format!("unable to parse field selector: {error}")))?;
        let mut needed = Vec::new();
        for requirement in fields.requirements() {
            match requirement.path.as_str() {
                "metadata.name" | "metadata.namespace" => {}
                path if descriptor.strategy.is_selectable(path) => needed.push(place(path)),
                path => return Err(Status::bad_request(format!("field label not supported: {path}"))),
            }
        }
        let needed = (!needed.is_empty()).then(|| Needed::of(&needed));
        let held = held(&fields);
        Ok(Self { labels, fields, needed, held })
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// The only name that can match, when the selector says so.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    pub(crate) fn fields(&self) -> &FieldSelector {
        &self.fields
    }

    pub(crate) fn matches(&self, descriptor: &ResourceDescriptor, object: &Object) -> bool {
        if self.is_everything() {
            return true;
        }
        // The search comes first: what it passes over needs no parsing at all.
        if !self.held.iter().all(|value| value.find(object.bytes()).is_some()) {
            return false;
        }
        let head = object.head();
        if !self.labels.matches(&head.labels) {
            return false;
        }
        if self.fields.is_everything() {
            return true;
        }
        let document = self.needed.as_ref().map_or(Value::Null, |needed| needed.decode(object));
        self.fields.matches(|path| match path {
            "metadata.name" => Some(head.name.clone()),
            "metadata.namespace" => Some(head.namespace.clone()),
            path => descriptor.strategy.selectable(&document, path),
        })
    }
}

/// What of a document is decoded.
struct Needed {
    pick: Pick,
    /// The last names of what is picked, as documents have them: where there is none of them, nothing would be picked.
    names: Vec<Finder<'static>>,
}

impl Needed {
    fn of(places: &[String]) -> Self {
        let name = |place: &String| Finder::new(&format!("\"{}\":", place.rsplit('/').next().unwrap_or_default())).into_owned();
        // A field of the spec that is not there is as an empty one; of the others a kind may think differently.
        let are_plain = places.iter().all(|place| place.starts_with("/spec/"));
        let names = if are_plain { places.iter().map(name).collect() } else { Vec::new() };
        Self { pick: Pick::of(places.iter().map(String::as_str)), names }
    }

    fn decode(&self, object: &Object) -> Value {
        let is_there = self.names.is_empty() || self.names.iter().any(|name| name.find(object.bytes()).is_some());
        if is_there { object.pick(&self.pick).unwrap_or(Value::Null) } else { Value::Null }
    }
}

/// What a kind looks at to say what a field is: fields of the spec are where their path says, those of the status may be taken
/// from others (a job's `status.successful`), and others from anywhere (an event's `source` and `regarding.kind`).
fn place(path: &str) -> String {
    match path.split_once('.') {
        Some(("spec", _)) => format!("/{}", path.replace('.', "/")),
        Some(("status", _)) => "/status".to_owned(),
        _ => String::new(),
    }
}

/// The values that fields of the spec are selected for, where a document that has them holds them as they are written:
/// most objects that a node's watch passes over do not even hold its name, and need no decoding.
fn held(fields: &FieldSelector) -> Vec<Finder<'static>> {
    let plain =
        |value: &str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    fields
        .requirements()
        .iter()
        .filter(|requirement| requirement.path.starts_with("spec.") && !requirement.negated && plain(&requirement.value))
        .filter(|requirement| !matches!(requirement.value.as_str(), "true" | "false"))
        .map(|requirement| Finder::new(requirement.value.as_bytes()).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use mizzen_api::Registry;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_decoded_of_an_object_says_what_all_of_it_says() {
        let full = json!({
            "metadata": {"name": "a", "namespace": "b"}, "name": "x", "type": "Normal", "reason": "r", "reportingComponent": "c",
            "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "s"},
            "spec": {"nodeName": "n", "hostNetwork": true, "unschedulable": true, "signerName": "s", "driver": "d"},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "succeeded": 3, "replicas": 2},
        });
        let objects = [full, json!({"metadata": {"name": "a"}}), json!({"metadata": {"name": "\"nodeName\":"}, "spec": {}})];
        let mut seen = 0;
        for descriptor in Registry::builtin().iter() {
            for path in descriptor.strategy.selectable_fields() {
                let needed = Needed::of(&[place(path)]);
                for document in &objects {
                    let object = Object::new(serde_json::to_vec(document).expect("encodes"), 0);
                    let (picked, whole) = (needed.decode(&object), object.value().expect("is JSON"));
                    let said = |of: &Value| descriptor.strategy.selectable(of, path);
                    assert_eq!(said(&picked), said(&whole), "{path} of {}", descriptor.kind);
                    seen += 1;
                }
            }
        }
        assert!(seen > 60, "{seen}");
    }
}
