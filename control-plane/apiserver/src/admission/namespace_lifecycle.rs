//! NamespaceLifecycle: nothing is created in a namespace that is missing or going away, and `default`, `kube-system`
//! and `kube-public` stay.

use async_trait::async_trait;
use mizzen_api::status::Cause;
use mizzen_api::{GroupResource, Scope, Status};
use serde_json::Value;

use super::{Attributes, Operation, Plugin};

pub(super) struct NamespaceLifecycle;

const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

#[async_trait]
impl Plugin for NamespaceLifecycle {
    async fn mutate(&self, attributes: &Attributes<'_>, _object: &mut Value) -> Result<(), Status> {
        if attributes.operation != Operation::Create
            || attributes.target.descriptor.scope != Scope::Namespaced
            || !attributes.subresource().is_empty()
        {
            return Ok(());
        }
        let namespace = attributes.namespace();
        let Some(found) = attributes.lookup("namespaces", "", namespace) else {
            return Err(Status::not_found(&GroupResource::new("", "namespaces"), namespace));
        };
        if found.head().is_terminating() {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let mut status = attributes.forbid(&why);
            status.details.causes.push(Cause {
                reason: "NamespaceTerminating".to_owned(),
                message: format!("namespace {namespace} is being terminated"),
                field: "metadata.namespace".to_owned(),
            });
            return Err(status);
        }
        Ok(())
    }

    async fn validate(&self, attributes: &Attributes<'_>, _object: Option<&Value>) -> Result<(), Status> {
        if attributes.operation == Operation::Delete && attributes.target.is_namespace() && IMMORTAL.contains(&attributes.name())
        {
            return Err(attributes.forbid("this namespace may not be deleted"));
        }
        Ok(())
    }
}
