//! Label and field selectors of one request.

use memchr::memmem::Finder;
use mizzen_api::selector::{FieldSelector, LabelSelector};
use mizzen_api::{Object, ResourceDescriptor, Status};
use serde_json::Value;

/// What a list or watch is narrowed to.
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// Some field selected is not in the metadata.
    needs_document: bool,
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
        let mut needs_document = false;
        for requirement in fields.requirements() {
            match requirement.path.as_str() {
                "metadata.name" | "metadata.namespace" => {}
                path if descriptor.strategy.is_selectable(path) => needs_document = true,
                path => return Err(Status::bad_request(format!("field label not supported: {path}"))),
            }
        }
        let held = held(&fields);
        Ok(Self { labels, fields, needs_document, held })
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
        let document = if self.needs_document { object.value().unwrap_or(Value::Null) } else { Value::Null };
        self.fields.matches(|path| match path {
            "metadata.name" => Some(head.name.clone()),
            "metadata.namespace" => Some(head.namespace.clone()),
            path => descriptor.strategy.selectable(&document, path),
        })
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
