//! `create`.

use std::sync::Arc;

use mizzen_api::{Object, Reason, Scope, Status};
use mizzen_client::{ApiRequest, WriteOptions};
use serde_json::Value;

use super::addresses;
use super::metadata;
use super::schema::Validation;
use super::target::Target;
use super::write::{Beside, unstored};
use super::{Pipeline, Written, told};
use crate::admission::quota::Demand;
use crate::admission::{Attributes, Operation, Options, Warnings};
use crate::auth::Identity;

/// How many generated names are tried until one is free.
const GENERATED_NAMES: u32 = 8;
/// How often a service is given other addresses when others took those that it was to have.
const CLAIMS: u32 = 64;

impl Pipeline {
    pub(super) async fn create(&self, user: &Arc<Identity>, target: &Target, request: ApiRequest) -> Result<Written, Status> {
        if target.descriptor.scope == Scope::Namespaced && target.namespace.is_empty() {
            return Err(Status::bad_request("an empty namespace may not be set during creation"));
        }
        let validation = Validation::of(&request.write.field_validation);
        let parsed = super::body::read(request.body).await?;
        let mut object = parsed.value;
        metadata::fit_to_target(&mut object, target)?;
        let warnings = self.check_body(target, target.schema(), &mut object, parsed.duplicates, validation, || None)?;
        told(self.create_checked(user, target, object, &request.write).await, warnings)
    }

    async fn create_checked(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        self.check_new_form(target, &object)?;
        let stored = self.stored_target(target)?;
        self.store_form(target, &stored, &mut object)?;
        let target = &*stored;
        let named = !metadata::text(&object, "name").is_empty();
        for _ in 1..if named { 1 } else { GENERATED_NAMES } {
            let attempt = self.store_new(user, target, object.clone(), options, Ownership::Write).await;
            match attempt {
                Err(status) if status.is(Reason::AlreadyExists) => {}
                done => return done,
            }
        }
        self.store_new(user, target, object, options, Ownership::Write).await
    }

    /// Stores a decoded document as a new object; server-side apply comes here too.
    pub(super) async fn store_new(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        mut object: Value,
        options: &WriteOptions,
        ownership: Ownership,
    ) -> Result<Written, Status> {
        let descriptor = &target.descriptor;
        if descriptor.custom.as_ref().is_some_and(|custom| custom.is_terminating) {
            let why = "create not allowed while custom resource definition is terminating";
            return Err(Status::new(Reason::MethodNotAllowed, why));
        }
        let now = (self.clock)();
        self.apply_defaults(target, &mut object);
        metadata::drop_empty(&mut object)?;
        metadata::stamp_new(&mut object, descriptor, now)?;
        let mut target = target.clone();
        if target.name.is_empty() {
            target.name = metadata::text(&object, "name").to_owned();
        }
        let target = &target;
        let admission_warnings = Warnings::default();
        let attributes = Attributes {
            dry_run: options.dry_run,
            options: Options::Write(options),
            now,
            ..self.attributes(user, Operation::Create, target, &admission_warnings)
        };
        descriptor.strategy.prepare_create(&mut object);
        let admitted = self.admit_new(&attributes, object, options, ownership).await;
        let warnings = admission_warnings.take();
        match admitted {
            Ok(object) => Ok(Written { code: 201, object, warnings, deleted: false }),
            Err(status) => Err(status.warned(warnings)),
        }
    }

    async fn admit_new(
        &self,
        attributes: &Attributes<'_>,
        mut object: Value,
        options: &WriteOptions,
        ownership: Ownership,
    ) -> Result<Arc<Object>, Status> {
        let target = attributes.target;
        // Before admission: what the server adds is nobody's field.
        if let Ownership::Write = ownership {
            self.track(target, options, None, &mut object, attributes.now).await?;
        }
        let renamed = match self.admission.mutate(attributes, &mut object).await? {
            true => self.check_mutated(target, &mut object)?,
            false => None,
        };
        let target = renamed.as_ref().unwrap_or(target);
        let attributes = &Attributes { target, ..*attributes };
        self.apply_defaults(target, &mut object);
        // Only a service is given something that others may take first.
        let draft = addresses::is_service(target).then(|| object.clone());
        let mut done = self.finish_new(attributes, object).await?;
        for _ in 1..CLAIMS {
            match (&done, &draft) {
                (None, Some(draft)) => done = self.finish_new(attributes, draft.clone()).await?,
                _ => break,
            }
        }
        done.ok_or_else(|| Status::internal("others took every address that was free"))
    }

    /// Checks and stores what admission made of a new object. `None` when others took what it was to be given.
    async fn finish_new(&self, attributes: &Attributes<'_>, mut object: Value) -> Result<Option<Arc<Object>>, Status> {
        let target = attributes.target;
        let descriptor = &target.descriptor;
        self.give_addresses(target, &mut object, None)?;
        self.validate_document(target, &object, None)?;
        self.admission.validate(attributes, Some(&object)).await?;

        let exists = || Status::already_exists(&target.group_resource(), &target.name);
        let key = target.key();
        let demand = Demand::of(attributes, &object)?;
        if attributes.dry_run {
            demand.as_ref().map(Demand::charge).transpose()?;
            if self.store.get(&key).is_some() {
                return Err(exists());
            }
            return Ok(Some(Arc::new(unstored(&object)?)));
        }
        let beside = Beside { demand: demand.as_ref(), claims: self.claims(target, Some(&object), None)? };
        let object = self.custom.stored(descriptor, object).await?;
        match self.put_beside(&key, 0, object, beside).await? {
            Some(object) => Ok(Some(self.custom.shown_one(descriptor, object).await?)),
            None if addresses::is_service(target) && self.store.get(&key).is_none() => Ok(None),
            None => Err(exists()),
        }
    }
}

/// Whether the fields' owners still have to be recorded.
#[derive(Clone, Copy)]
pub(super) enum Ownership {
    Write,
    /// Server-side apply has recorded them.
    Recorded,
}
