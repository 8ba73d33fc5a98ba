//! Server-side apply, and the record of field owners on every other write.

use std::sync::Arc;

use mizzen_api::Pointed as _;
use mizzen_api::schema::SchemaSet;
use mizzen_api::{Reason, Status};
use mizzen_apply::managed::{self, ApplyError, Versions};
use mizzen_client::WriteOptions;
use serde_json::Value;

use super::body::Parsed;
use super::create::Ownership;
use super::metadata;
use super::modify::Change;
use super::owners::{Conversions, Unmade};
use super::schema::{Validation, unreadable, untyped};
use super::target::Target;
use super::{Pipeline, Written, told};
use crate::auth::Identity;

impl Pipeline {
    pub(super) async fn apply(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        parsed: Parsed,
        validation: Validation,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let mut applied = parsed.value;
        check_kind(&applied, &target.api_version(), &target.descriptor.kind)?;
        metadata::fit_to_target(&mut applied, target)?;
        if applied.at("/metadata/managedFields").and_then(Value::as_array).is_some_and(|fields| !fields.is_empty()) {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        let warnings = self.check_applied(target, &applied, parsed.duplicates, validation)?;
        if let (Validation::Strict, Some(duplicate)) = (validation, &parsed.duplicate_line) {
            return Err(Status::bad_request(format!(
                "error decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {duplicate}"
            )));
        }
        if validation == Validation::Strict && !warnings.is_empty() {
            return Err(unreadable(target, &format!("strict decoding error: {}", warnings.join(", "))));
        }
        told(self.apply_checked(user, target, applied, options).await, warnings)
    }

    async fn apply_checked(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        mut applied: Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let stored = self.stored_target(target)?;
        let fits_new = self.check_new_form(target, &applied);
        self.store_form(target, &stored, &mut applied)?;
        let (asked, target) = (target, &*stored);
        let uid = metadata::text(&applied, "uid").to_owned();
        loop {
            if self.store.get(&target.key()).is_none() && target.subresource.is_empty() {
                if !uid.is_empty() {
                    let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                    return Err(Status::conflict(&target.group_resource(), &target.name, &why));
                }
                self.authorize_target(user, "create", asked)?;
                fits_new.clone()?;
                // Nobody owns anything yet.
                let document = self.merge(target, options, (None, None), &applied).map_err(|unmade| match unmade {
                    Unmade::Refused(status) => status,
                    Unmade::Needs(needs) => Status::internal(needs),
                })?;
                match self.store_new(user, target, document, options, Ownership::Recorded).await {
                    // Somebody created it meanwhile: it is an update now.
                    Err(status) if status.is(Reason::AlreadyExists) => continue,
                    done => return done,
                }
            }
            let applying = self
                .modify_in_versions(user, target, options, |old, conversions| {
                    let document = self.merge(target, options, (Some(old), conversions), &applied)?;
                    Ok(Change { document, warnings: Vec::new(), owned: true })
                })
                .await;
            match applying {
                // Somebody deleted it meanwhile: it is a create now.
                Err(status) if status.is(Reason::NotFound) && target.subresource.is_empty() => {}
                done => return done,
            }
        }
    }

    pub(super) fn merge(
        &self,
        target: &Target,
        options: &WriteOptions,
        (live, conversions): (Option<&Value>, Option<&Conversions>),
        applied: &Value,
    ) -> Result<Value, Unmade> {
        let schemas = self.registry.schemas();
        let api_version = target.api_version();
        let context = context(&schemas, target, &api_version, &options.field_manager, (self.clock)());
        let versions = conversions.map(|conversions| conversions as &dyn Versions);
        let context = managed::Context { versions, ..context };
        managed::apply(&context, live, applied, options.force).map_err(|error| match error {
            ApplyError::NeedsConversion(needs) => Unmade::Needs(*needs),
            ApplyError::Untyped(why) => Unmade::Refused(untyped(target, &why.to_string())),
            error => Unmade::Refused(error.to_status().about(&target.group_resource(), &target.name)),
        })
    }

    /// Records who owns what a write changed.
    ///
    /// # Errors
    /// When a conversion webhook fails.
    pub(super) async fn track(
        &self,
        target: &Target,
        options: &WriteOptions,
        old: Option<&Value>,
        new: &mut Value,
        now: jiff::Timestamp,
    ) -> Result<(), Status> {
        let manager = if options.field_manager.is_empty() { "unknown" } else { &options.field_manager };
        let schemas = self.registry.schemas();
        let api_version = target.api_version();
        let mut conversions = Conversions::of(&self.registry, target);
        loop {
            let context = context(&schemas, target, &api_version, manager, now);
            let versions = conversions.as_ref().map(|conversions| conversions as &dyn Versions);
            let Err(needs) = managed::update(&managed::Context { versions, ..context }, old, new) else { return Ok(()) };
            self.convert_for_owners(target, &mut conversions, needs).await?;
        }
    }
}

/// A configuration says itself what it is of.
pub(super) fn check_kind(applied: &Value, api_version: &str, kind: &str) -> Result<(), Status> {
    let other = match applied {
        // Nothing at all is an object without fields.
        Value::Object(_) | Value::Null => None,
        Value::Array(_) => Some("array"),
        Value::String(_) => Some("string"),
        Value::Number(_) => Some("number"),
        Value::Bool(_) => Some("bool"),
    };
    if let Some(other) = other {
        return Err(Status::bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {other} into Go value of type \
             map[string]interface {{}}"
        )));
    }
    let text = |field: &str| applied.get(field).and_then(Value::as_str).unwrap_or_default();
    if (text("apiVersion"), text("kind")) == (api_version, kind) {
        return Ok(());
    }
    let (group, version) = text("apiVersion").rsplit_once('/').unwrap_or(("", text("apiVersion")));
    Err(Status::bad_request(format!("invalid object type: {group}/{version}, Kind={}", text("kind"))))
}

fn context<'a>(
    schemas: &'a SchemaSet,
    target: &'a Target,
    api_version: &'a str,
    manager: &'a str,
    now: jiff::Timestamp,
) -> managed::Context<'a> {
    managed::Context {
        set: schemas,
        schema: &target.descriptor.schema,
        api_version,
        manager,
        subresource: &target.subresource,
        reset: reset(target),
        versions: None,
        now,
    }
}

/// The fields that a write through the target never changes, and so never owns.
fn reset(target: &Target) -> &'static [&'static str] {
    match target.subresource.as_str() {
        "" if target.descriptor.subresource("status").is_some() => &["status"],
        "status" => &["spec"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_applied_says_of_which_kind_it_is() {
        let told = |applied: Value| check_kind(&applied, "apps/v1", "Deployment").map_err(|status| (status.code, status.message));
        assert_eq!(told(json!({"apiVersion": "apps/v1", "kind": "Deployment"})), Ok(()));
        for (applied, why) in [
            (json!({}), "invalid object type: /, Kind="),
            (Value::Null, "invalid object type: /, Kind="),
            (
                json!([{}]),
                "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of \
                 type map[string]interface {}",
            ),
            (json!({"apiVersion": "apps/v1"}), "invalid object type: apps/v1, Kind="),
            (json!({"apiVersion": "v1", "kind": "Pod"}), "invalid object type: /v1, Kind=Pod"),
        ] {
            assert_eq!(told(applied), Err((400, why.to_owned())));
        }
    }
}
