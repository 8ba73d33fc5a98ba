//! The generic request pipeline: every verb for every kind, over resource descriptors.

mod addresses;
mod apply_patch;
pub(crate) mod binding;
pub(crate) mod body;
mod components;
mod connect;
mod continue_token;
mod create;
mod delete;
mod delete_collection;
pub(crate) mod delete_options;
mod duplicate_keys;
mod eviction;
mod forms;
mod get;
mod list;
mod metadata;
mod modify;
mod options;
mod owners;
mod patch;
pub(crate) mod scale;
mod schema;
mod select;
mod target;
mod update;
mod watch;
mod write;

use std::sync::Arc;

use mizzen_api::{GroupVersionResource, Object, Registry, ServiceAddresses, Status};
use mizzen_store::Store;

pub(crate) use delete::answers_with_object;
pub(crate) use list::Listed;
pub(crate) use target::Target;
pub(crate) use watch::{Next, WatchItem, events};

use crate::admission::{Attributes, Chain, Operation, Options, Warnings};
use crate::audit;
use crate::auth::{Action, Authorizer, Clock, Decision, Identity};
use crate::custom::CustomKinds;
use crate::errors;
use crate::virtuals::Virtuals;
use select::Selection;

/// Audit annotations.
const DECISION: &str = "authorization.k8s.io/decision";
const REASON: &str = "authorization.k8s.io/reason";

/// What every request works with. Shared by all of them.
pub(crate) struct Pipeline {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) clock: Clock,
    pub(crate) admission: Chain,
    pub(crate) virtuals: Virtuals,
    pub(crate) custom: Arc<CustomKinds>,
    pub(crate) services: ServiceAddresses,
}

/// The answer to a request that writes.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) code: u16,
    pub(crate) object: Arc<Object>,
    pub(crate) warnings: Vec<String>,
    /// The object is gone from the store.
    pub(crate) deleted: bool,
}

/// The outcome of a request that writes, with what its body was warned of first: whoever is refused is told as well.
fn told(done: Result<Written, Status>, warnings: Vec<String>) -> Result<Written, Status> {
    match done {
        Ok(mut written) => {
            written.warnings.splice(0..0, warnings);
            Ok(written)
        }
        Err(status) => Err(status.warned(warnings)),
    }
}

impl Pipeline {
    /// What admission sees of a request, now; one that is not dry and changes nothing that is there.
    pub(crate) fn attributes<'a>(
        &'a self,
        user: &'a Arc<Identity>,
        operation: Operation,
        target: &'a Target,
        warnings: &'a Warnings,
    ) -> Attributes<'a> {
        Attributes {
            identity: user,
            operation,
            target,
            dry_run: false,
            options: Options::None,
            now: (self.clock)(),
            old: None,
            registry: &self.registry,
            store: self.store.as_ref(),
            authorizer: &self.authorizer,
            custom: &self.custom,
            warnings,
        }
    }

    /// # Errors
    /// `Forbidden` when no rule allows it.
    pub(crate) fn authorize(&self, user: &Identity, action: &Action<'_>) -> Result<(), Status> {
        decided(user, action, self.authorizer.authorize(user, action))
    }

    /// Whether a collection may be listed or watched; one narrowed to a name counts as that name.
    pub(crate) fn authorize_selected(
        &self,
        user: &Identity,
        verb: &str,
        target: &Target,
        selection: &Selection,
    ) -> Result<(), Status> {
        let action = Action::Resource {
            verb,
            group: &target.descriptor.group,
            resource: &target.descriptor.resource,
            subresource: "",
            namespace: &target.namespace,
            name: selection.name().unwrap_or_default(),
        };
        decided(user, &action, self.authorizer.authorize_selected(user, &action, selection.fields()))
    }

    /// Finds what a request is about. Who may not ask for it does not learn whether it is served.
    pub(crate) fn resolve(
        &self,
        user: &Identity,
        verb: &str,
        resource: &GroupVersionResource,
        (namespace, name, subresource): (&str, &str, &str),
    ) -> Result<Target, Status> {
        let resolve = || Target::resolve(&self.registry, resource, namespace, name, subresource);
        resolve().or_else(|status| {
            let (group, kinds) = (&*resource.group, &*resource.resource);
            self.authorize(user, &Action::Resource { verb, group, resource: kinds, subresource, namespace, name })?;
            // Groups of custom kinds are domains, and a built-in kind gains nothing from a definition.
            let present = self.registry.by_resource(group, &resource.version, kinds);
            if !group.contains('.') || present.is_some_and(|descriptor| descriptor.custom.is_none()) {
                return Err(status);
            }
            self.custom.catch_up();
            resolve()
        })
    }

    pub(crate) fn authorize_target(&self, user: &Identity, verb: &str, target: &Target) -> Result<(), Status> {
        self.authorize(
            user,
            &Action::Resource {
                verb,
                group: &target.descriptor.group,
                resource: &target.descriptor.resource,
                subresource: &target.subresource,
                namespace: target.authorization_namespace(),
                name: &target.name,
            },
        )
    }
}

/// What an authorizer's decision means for the request, and says in the audit log.
fn decided(user: &Identity, action: &Action<'_>, decision: Decision) -> Result<(), Status> {
    match decision {
        Decision::Allow { reason } => {
            audit::annotate(DECISION, || "allow".to_owned());
            audit::annotate(REASON, || reason);
            Ok(())
        }
        Decision::NoOpinion { reason } => {
            audit::annotate(DECISION, || "forbid".to_owned());
            audit::annotate(REASON, || reason.clone());
            Err(errors::forbidden(user, action, &reason))
        }
    }
}
