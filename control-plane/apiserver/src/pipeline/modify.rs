//! Changing a stored object: the common end of update, patch, apply and the subresources that write.

use std::sync::Arc;

use mizzen_api::{Object, Status};
use mizzen_client::WriteOptions;
use serde_json::{Value, json};

use super::metadata;
use super::owners::{Conversions, Unmade};
use super::target::Target;
use super::write::{Beside, decoded, unstored};
use super::{Pipeline, Written, told};
use crate::admission::quota::Demand;
use crate::admission::{Attributes, Operation, Options, Warnings};
use crate::auth::Identity;
use crate::custom::CustomKinds;
use crate::errors;

/// How often a change that names no revision is tried again on a newer object before the client is told.
const ATTEMPTS: u32 = 32;

/// What a change made of the present document.
pub(super) struct Change {
    pub(super) document: Value,
    pub(super) warnings: Vec<String>,
    /// The change has recorded field owners itself (server-side apply).
    pub(super) owned: bool,
}

/// The present object, as it is in the store and as the client's version shows it.
#[derive(Clone, Copy)]
struct Versions<'a> {
    stored: &'a Arc<Object>,
    shown: &'a Arc<Object>,
}

impl From<Value> for Change {
    fn from(document: Value) -> Self {
        Self { document, warnings: Vec::new(), owned: false }
    }
}

impl Pipeline {
    /// Applies `change` to the present document and stores the outcome; tries again on a newer document when another
    /// write came between, unless the outcome names a `resourceVersion`.
    pub(super) async fn modify(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        options: &WriteOptions,
        mut change: impl FnMut(&Value) -> Result<Change, Status> + Send,
    ) -> Result<Written, Status> {
        self.modify_in_versions(user, target, options, |old, _| change(old).map_err(Unmade::Refused)).await
    }

    /// The same where `change` may need the documents in other versions; it is called again when they are there.
    pub(super) async fn modify_in_versions(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        options: &WriteOptions,
        mut change: impl FnMut(&Value, Option<&Conversions>) -> Result<Change, Unmade> + Send,
    ) -> Result<Written, Status> {
        let conflict = || errors::modified(&target.group_resource(), &target.name);
        for _ in 0..ATTEMPTS {
            let current = self.current(target)?;
            let shown = self.custom.shown_one(&target.descriptor, current.clone()).await?;
            let mut old = decoded(&shown)?;
            if target.descriptor.custom.is_none() {
                // As it would be stored today.
                crate::protobuf::leave_out(&target.descriptor.schema, &mut old);
            }
            let mut conversions = Conversions::of(&self.registry, target);
            let Change { document, warnings, owned } = loop {
                match change(&old, conversions.as_ref()) {
                    Ok(change) => break change,
                    Err(Unmade::Refused(status)) => return Err(status),
                    Err(Unmade::Needs(needs)) => self.convert_for_owners(target, &mut conversions, needs).await?,
                }
            };
            let asked = metadata::text(&document, "resourceVersion");
            let pinned = !asked.is_empty() && asked != "0";
            if pinned && asked != current.revision().to_string() {
                // A patch starts from the present document, so only a client can have named another revision.
                return Err(conflict());
            }
            let admission_warnings = Warnings::default();
            let attributes = Attributes {
                dry_run: options.dry_run,
                options: Options::Write(options),
                old: Some(&old),
                ..self.attributes(user, Operation::Update, target, &admission_warnings)
            };
            let versions = Versions { stored: &current, shown: &shown };
            let stored = self.store_changed(&attributes, options, versions, &old, document, owned).await;
            // If somebody else wrote first, what is there now decides.
            if let Some(done) = stored.transpose() {
                return told(told(done, admission_warnings.take()), warnings);
            }
        }
        Err(conflict())
    }

    /// `None` when the object changed meanwhile.
    async fn store_changed(
        &self,
        attributes: &Attributes<'_>,
        options: &WriteOptions,
        current: Versions<'_>,
        old: &Value,
        mut new: Value,
        owned: bool,
    ) -> Result<Option<Written>, Status> {
        let target = attributes.target;
        let strategy = &target.descriptor.strategy;
        metadata::fit_to_target(&mut new, target)?;
        metadata::drop_empty(&mut new)?;
        self.apply_defaults(target, &mut new);
        match target.subresource.as_str() {
            "" => strategy.prepare_update(&mut new, old),
            "scale" => {}
            subresource => {
                strategy.prepare_subresource_update(subresource, &mut new, old);
                metadata::keep_through_subresource(&mut new, old, target)?;
            }
        }
        metadata::keep_on_update(&mut new, old)?;
        // Before admission: what the server adds is nobody's field.
        if !owned {
            self.track(target, options, Some(old), &mut new, attributes.now).await?;
        }
        if self.admission.mutate(attributes, &mut new).await? && self.check_mutated(target, &mut new)?.is_some() {
            return Err(Status::internal("admission changed the name of the object"));
        }
        self.apply_defaults(target, &mut new);
        if target.subresource != "status" && strategy.is_new_generation(&new, old) {
            metadata::bump_generation(&mut new);
        }
        self.give_addresses(target, &mut new, Some(old))?;
        self.validate_document(target, &new, Some(old))?;
        self.admission.validate(attributes, Some(&new)).await?;
        let done = |object, deleted| Some(Written { code: 200, object, warnings: Vec::new(), deleted });

        let Versions { stored: current, shown } = current;
        let is_stale =
            || CustomKinds::is_stale(&target.descriptor, current) || self.store.is_stale(&target.key(), current.revision());
        if same(&new, old) && !is_stale() {
            return Ok(done(shown.clone(), false));
        }
        let demand = Demand::of(attributes, &new)?;
        if options.dry_run {
            demand.as_ref().map(Demand::charge).transpose()?;
            set_revision(&mut new, &current.head().resource_version);
            return Ok(done(Arc::new(unstored(&new)?), false));
        }
        if super::delete::is_finished(target, &new) {
            let claims = self.claims(target, None, Some(old))?;
            let Some(removed) = self.remove(&target.key(), current, claims).await? else { return Ok(None) };
            let object = self.custom.shown_one(&target.descriptor, removed).await?;
            return Ok(done(object, true));
        }
        let beside = Beside { demand: demand.as_ref(), claims: self.claims(target, Some(&new), Some(old))? };
        let new = self.custom.stored(&target.descriptor, new).await?;
        let Some(stored) = self.put_beside(&target.key(), current.revision(), new, beside).await? else {
            return Ok(None);
        };
        let object = self.custom.shown_one(&target.descriptor, stored).await?;
        Ok(done(object, false))
    }
}

fn set_revision(object: &mut Value, revision: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), json!(revision));
    }
}

/// Whether nothing but the times of field owners differs: then nothing is written.
fn same(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return false };
    let equal_outside = new.len() == old.len()
        && new.iter().all(|(key, value)| key == "metadata" || old.get(key).is_some_and(|old| old == value));
    if !equal_outside {
        return false;
    }
    let (Some(new), Some(old)) = (new.get("metadata").and_then(Value::as_object), old.get("metadata").and_then(Value::as_object))
    else {
        return false;
    };
    let ignored = |key: &str| key == "resourceVersion";
    let fields = |map: &serde_json::Map<String, Value>| map.keys().filter(|key| !ignored(key)).count();
    fields(new) == fields(old)
        && new.iter().filter(|(key, _)| !ignored(key)).all(|(key, value)| match old.get(key) {
            Some(old) if key == "managedFields" => same_owners(value, old),
            Some(old) => old == value,
            None => false,
        })
}

fn same_owners(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_array(), old.as_array()) else { return new == old };
    let fields = ["manager", "operation", "apiVersion", "fieldsType", "fieldsV1", "subresource"];
    new.len() == old.len() && new.iter().zip(old).all(|(new, old)| fields.iter().all(|field| new.get(field) == old.get(field)))
}
