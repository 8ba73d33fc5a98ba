//! Kinds that are served in other forms than the stored one: requests become the stored form as they come in, answers take
//! the client's form as they go out. All between works on what is stored.

use std::borrow::Cow;
use std::sync::Arc;

use mizzen_api::forms::OtherForm;
use mizzen_api::schema;
use mizzen_api::{GroupVersion, Object, Status};
use serde_json::Value;

use super::Pipeline;
use super::target::Target;
use super::write::{decoded, unstored};
use crate::errors;

impl Target {
    /// The client's form, where it is not the stored one.
    pub(super) fn form(&self) -> Option<&OtherForm> {
        self.descriptor.other_form(&self.version)
    }

    /// The name of the schema of the client's documents.
    pub(super) fn schema(&self) -> &Arc<str> {
        self.descriptor.schema_of(&self.version)
    }

    /// Turns a stored document into the client's form.
    pub(super) fn show_form(&self, object: &mut Value) {
        if let Some(other) = self.form() {
            other.form.show(object);
            self.name_kind(object);
        }
    }

    /// A stored object in the client's form.
    ///
    /// # Errors
    /// When stored bytes are not JSON, which the store never holds.
    pub(super) fn shown(&self, object: Arc<Object>) -> Result<Arc<Object>, Status> {
        if self.form().is_none() {
            return Ok(object);
        }
        let mut value = decoded(&object)?;
        self.show_form(&mut value);
        Ok(Arc::new(Object::new(unstored(&value)?.bytes().clone(), object.revision())))
    }

    fn name_kind(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            object.insert("apiVersion".to_owned(), self.api_version().into());
            object.insert("kind".to_owned(), Value::String(self.descriptor.kind.to_string()));
        }
    }
}

impl Pipeline {
    /// The same object as the store has it.
    pub(super) fn stored_target<'a>(&self, target: &'a Target) -> Result<Cow<'a, Target>, Status> {
        if target.form().is_none() {
            return Ok(Cow::Borrowed(target));
        }
        let descriptor = match &target.descriptor.stored_as {
            None => target.descriptor.clone(),
            Some(stored) => {
                self.registry.by_resource(&stored.group, &stored.version, &stored.resource).ok_or_else(errors::no_such_path)?
            }
        };
        let version = descriptor.storage_version().clone();
        let spoken = Some(GroupVersion::new(target.descriptor.group.clone(), target.version.clone()));
        Ok(Cow::Owned(Target { descriptor, version, spoken, ..target.clone() }))
    }

    /// What only the client's version says of a new object.
    ///
    /// # Errors
    /// `Invalid` with every wrong field.
    pub(super) fn check_new_form(&self, target: &Target, object: &Value) -> Result<(), Status> {
        let causes = target.form().map(|other| other.form.validate_new(object)).unwrap_or_default();
        match causes.is_empty() {
            true => Ok(()),
            false => Err(errors::invalid(&target.descriptor, super::metadata::text(object, "name"), causes)),
        }
    }

    /// Turns a client's document into the stored form; `stored` is what [`Pipeline::stored_target`] gives.
    ///
    /// # Errors
    /// `BadRequest` when the outcome has not the stored form's types: a form may keep parts of it as text.
    pub(super) fn store_form(&self, target: &Target, stored: &Target, object: &mut Value) -> Result<(), Status> {
        let Some(other) = target.form() else { return Ok(()) };
        let schemas = self.registry.schemas();
        schema::apply_defaults(&schemas, &other.schema, object);
        other.form.store(object);
        stored.name_kind(object);
        match schema::check(&schemas, &stored.descriptor.schema, object).iter().find(|problem| problem.is_fatal()) {
            Some(fatal) => Err(super::schema::unreadable(target, &fatal.to_string())),
            None => Ok(()),
        }
    }
}
