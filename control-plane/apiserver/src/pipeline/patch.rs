//! `patch`: JSON patch, merge patch, strategic merge patch; server-side apply is next door.

use std::sync::Arc;

use mizzen_api::{Reason, Status};
use mizzen_client::{ApiRequest, PatchKind};
use serde_json::Value;

use super::metadata;
use super::modify::Change;
use super::schema::Validation;
use super::target::Target;
use super::{Pipeline, Written};
use crate::auth::Identity;
use crate::errors;

impl Pipeline {
    pub(super) async fn patch(&self, user: &Arc<Identity>, target: &Target, request: ApiRequest) -> Result<Written, Status> {
        let kind = request.patch.ok_or_else(unsupported)?;
        if kind == PatchKind::Strategic && target.descriptor.custom.is_some() {
            // A custom kind has no merge keys.
            return Err(Status::new(
                Reason::UnsupportedMediaType,
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml, application/apply-patch+cbor",
            ));
        }
        let validation = Validation::of(&request.write.field_validation);
        let parsed = super::body::read(request.body).await?;
        if kind == PatchKind::Apply {
            return self.apply(user, target, parsed, validation, &request.write).await;
        }
        let (patch, duplicates) = (parsed.value, parsed.duplicates);
        let stored = self.stored_target(target)?;
        self.modify(user, &stored, &request.write, |old| {
            let mut document = old.clone();
            target.show_form(&mut document);
            let named = |document: &Value| (document.get("apiVersion").cloned(), document.get("kind").cloned());
            let before = named(&document);
            self.apply_patch(target, kind, &mut document, &patch)?;
            if named(&document) != before {
                return Err(Status::bad_request("a patch may not change apiVersion or kind"));
            }
            self.refuse_stale(target, old, &document)?;
            let warnings = self.check_patched(target, &mut document, duplicates.clone(), &patch, validation, || {
                let mut present = old.clone();
                target.show_form(&mut present);
                Some(present)
            })?;
            self.store_form(target, &stored, &mut document)?;
            Ok(Change { document, warnings, owned: false })
        })
        .await
    }

    pub(super) fn apply_patch(
        &self,
        target: &Target,
        kind: PatchKind,
        document: &mut Value,
        patch: &Value,
    ) -> Result<(), Status> {
        let patched = match kind {
            PatchKind::Json => mizzen_apply::json_patch::apply(document, patch),
            PatchKind::Merge => mizzen_apply::merge_patch::apply(document, patch),
            PatchKind::Strategic => mizzen_apply::strategic::apply(&self.registry.schemas(), target.schema(), document, patch),
            PatchKind::Apply => return Err(unsupported()),
        };
        patched.map_err(|error| error.to_status().about(&target.group_resource(), &target.name))
    }

    /// A patch that sets `resourceVersion` is a precondition; one that leaves it is tried on whatever is newest.
    fn refuse_stale(&self, target: &Target, old: &Value, document: &Value) -> Result<(), Status> {
        let (asked, present) = (metadata::text(document, "resourceVersion"), metadata::text(old, "resourceVersion"));
        if !asked.is_empty() && asked != present {
            return Err(errors::modified(&target.group_resource(), &target.name));
        }
        Ok(())
    }
}

pub(super) fn unsupported() -> Status {
    Status::new(
        Reason::UnsupportedMediaType,
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, \
         application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml, application/apply-patch+cbor",
    )
}
