//! `update`: the client sends the whole document.

use std::sync::Arc;

use mizzen_api::{Reason, Status};
use mizzen_client::ApiRequest;
use serde_json::Value;

use super::create::Ownership;
use super::metadata;
use super::schema::Validation;
use super::target::Target;
use super::{Pipeline, Written, told};
use crate::auth::Identity;
use crate::errors;

impl Pipeline {
    pub(super) async fn update(&self, user: &Arc<Identity>, target: &Target, request: ApiRequest) -> Result<Written, Status> {
        let validation = Validation::of(&request.write.field_validation);
        let parsed = super::body::read(request.body).await?;
        let mut object = parsed.value;
        metadata::fit_to_target(&mut object, target)?;
        let stored = self.stored_target(target)?;
        let warnings = self.check_body(target, target.schema(), &mut object, parsed.duplicates, validation, || {
            let mut present = self.store.get(&stored.key())?.value().ok()?;
            target.show_form(&mut present);
            Some(present)
        })?;
        let fits_new = self.check_new_form(target, &object);
        self.store_form(target, &stored, &mut object)?;
        let (asked, target) = (target, &*stored);
        let uid = metadata::text(&object, "uid").to_owned();
        let creates = creates_on_update(target) && uid.is_empty() && !names_a_revision(&object);
        if creates && self.store.get(&target.key()).is_none() {
            self.authorize_target(user, "create", asked)?;
            fits_new?;
            let created = self.store_new(user, target, object.clone(), &request.write, Ownership::Write).await;
            match created {
                // Somebody created it meanwhile: it is an update now.
                Err(status) if status.is(Reason::AlreadyExists) => {}
                done => return told(done, warnings),
            }
        }
        let lacks_revision = !names_a_revision(&object) && !target.descriptor.strategy.updates_unconditionally();
        let mut object = Some(object);
        let done = self.modify(user, target, &request.write, move |old| {
            let stored_uid = metadata::text(old, "uid");
            if !uid.is_empty() && uid != stored_uid {
                let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {stored_uid}");
                return Err(Status::conflict(&target.group_resource(), &target.name, &why));
            }
            if lacks_revision {
                return Err(unversioned(target));
            }
            // Only a document without a revision is tried again.
            let document = match object.as_ref().is_some_and(names_a_revision) {
                true => object.take().ok_or_else(|| errors::modified(&target.group_resource(), &target.name))?,
                false => object.clone().ok_or_else(|| errors::modified(&target.group_resource(), &target.name))?,
            };
            Ok(document.into())
        });
        told(done.await, warnings)
    }
}

/// Kinds that a PUT may create.
const CREATED_BY_UPDATE: &[(&str, &str)] = &[
    ("", "endpoints"),
    ("", "events"),
    ("", "limitranges"),
    ("", "services"),
    ("coordination.k8s.io", "leases"),
    ("events.k8s.io", "events"),
    ("node.k8s.io", "runtimeclasses"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
];

fn creates_on_update(target: &Target) -> bool {
    let descriptor = &target.descriptor;
    target.subresource.is_empty() && CREATED_BY_UPDATE.contains(&(&*descriptor.group, &*descriptor.resource))
}

/// 422 for a document that does not say which version it changes.
fn unversioned(target: &Target) -> Status {
    let why = "Invalid value: 0x0: must be specified for an update";
    let cause = errors::cause("FieldValueInvalid", "metadata.resourceVersion", why);
    Status::invalid(&target.group_resource().to_string(), &target.name, vec![cause])
}

fn names_a_revision(object: &Value) -> bool {
    !matches!(metadata::text(object, "resourceVersion"), "" | "0")
}
