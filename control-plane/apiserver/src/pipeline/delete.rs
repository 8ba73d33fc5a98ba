//! `delete`: preconditions, grace, finalizers and propagation.

use std::sync::Arc;

use mizzen_api::Pointed as _;
use mizzen_api::{Object, Status};
use mizzen_client::{DeleteOptions, Propagation};
use serde_json::{Value, json};

use super::metadata;
use super::target::Target;
use super::write::{decoded, unstored};
use super::{Pipeline, Written};
use crate::admission::{Attributes, Operation, Options, Warnings};
use crate::auth::Identity;
use crate::errors;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Of which resources a deletion answers with the object; the others answer with a Status.
pub(crate) fn answers_with_object(group: &str, resource: &str) -> bool {
    match group {
        "" => matches!(
            resource,
            "persistentvolumeclaims"
                | "persistentvolumes"
                | "pods"
                | "podtemplates"
                | "resourcequotas"
                | "serviceaccounts"
                | "services"
        ),
        "resource.k8s.io" => true,
        "storage.k8s.io" => resource != "csistoragecapacities",
        _ => false,
    }
}

/// What a deletion does to the present object.
#[derive(Debug, PartialEq)]
enum Step {
    /// Nothing holds it: it goes at once.
    Remove,
    /// It stays, marked, until its finalizers or its node let go.
    Mark(Value),
    /// It is being deleted already and nothing changes.
    Wait,
}

impl Pipeline {
    pub(super) async fn delete(&self, user: &Arc<Identity>, target: &Target, options: &DeleteOptions) -> Result<Written, Status> {
        let conflict = |why: &str| Status::conflict(&target.group_resource(), &target.name, why);
        loop {
            let current = self.current(target)?;
            check_preconditions(&current, options).map_err(|why| conflict(&why))?;
            let old = decoded(&current)?;
            // Before anything is done: what cannot be shown is not deleted.
            let shown = self.custom.shown_one(&target.descriptor, current.clone()).await?;
            let seen = if Arc::ptr_eq(&shown, &current) { None } else { Some(decoded(&shown)?) };
            let admission_warnings = Warnings::default();
            let attributes = Attributes {
                dry_run: options.dry_run,
                options: Options::Delete(options),
                old: Some(seen.as_ref().unwrap_or(&old)),
                ..self.attributes(user, Operation::Delete, target, &admission_warnings)
            };
            let admitted = self.admission.validate(&attributes, None).await;
            let warnings = admission_warnings.take();
            if let Err(status) = admitted {
                return Err(status.warned(warnings));
            }
            let done = match step(target, &old, options, (self.clock)()) {
                Step::Wait => Some(written(current, false)),
                Step::Remove if options.dry_run => Some(written(Arc::new(unstored(&old)?), true)),
                Step::Mark(new) if options.dry_run => Some(written(Arc::new(unstored(&new)?), false)),
                Step::Remove => {
                    let claims = self.claims(target, None, Some(&old))?;
                    self.remove(&target.key(), &current, claims).await?.map(|object| written(object, true))
                }
                Step::Mark(new) => self.put(&target.key(), current.revision(), new).await?.map(|object| written(object, false)),
            };
            match done {
                Some(mut done) => {
                    done.warnings = warnings;
                    done.object = self.custom.shown_one(&target.descriptor, done.object).await?;
                    return Ok(done);
                }
                None if options.resource_version.is_some() => {
                    return Err(errors::modified(&target.group_resource(), &target.name));
                }
                None => {}
            }
        }
    }
}

fn written(object: Arc<Object>, deleted: bool) -> Written {
    Written { code: 200, object, warnings: Vec::new(), deleted }
}

/// # Errors
/// The precondition that does not hold.
pub(super) fn check_preconditions(current: &Object, options: &DeleteOptions) -> Result<(), String> {
    let head = current.head();
    if let Some(uid) = &options.uid
        && *uid != head.uid
    {
        return Err(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", head.uid));
    }
    if let Some(revision) = &options.resource_version
        && *revision != head.resource_version
    {
        return Err(format!(
            "Precondition failed: ResourceVersion in precondition: {revision}, ResourceVersion in object meta: {}",
            head.resource_version
        ));
    }
    Ok(())
}

fn step(target: &Target, old: &Value, options: &DeleteOptions, now: jiff::Timestamp) -> Step {
    let mut new = old.clone();
    if metadata::text(old, "deletionTimestamp").is_empty() {
        target.descriptor.strategy.prepare_delete(&mut new, &metadata::seconds(now));
    }
    let finalizers_changed = set_propagation(&mut new, options.propagation.or_else(|| default_propagation(target, old)));
    let held = is_held(target, &new);
    let deleting_since = metadata::text(old, "deletionTimestamp").parse::<jiff::Timestamp>().ok();
    let pending = old.at("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    let grace = match target.descriptor.strategy.default_grace_seconds(old) {
        0 => 0,
        default => match options.grace_period_seconds {
            // A negative grace means the shortest there is.
            Some(asked) if asked < 0 => 1,
            Some(asked) => asked,
            None => pending.unwrap_or(default),
        },
    };
    match deleting_since {
        Some(deadline) => {
            let pending = pending.unwrap_or(0);
            if grace < pending {
                if grace == 0 && !held {
                    return Step::Remove;
                }
                let begun = deadline.as_second() - pending;
                mark(&mut new, begun + grace, grace);
                return Step::Mark(new);
            }
            if pending == 0 && !held {
                return Step::Remove;
            }
            if finalizers_changed { Step::Mark(new) } else { Step::Wait }
        }
        None if grace == 0 && !held => Step::Remove,
        None => {
            mark(&mut new, now.as_second() + grace, grace);
            if target.is_namespace()
                && let Some(namespace) = new.as_object_mut()
                && let Some(status) = namespace.entry("status").or_insert_with(|| json!({})).as_object_mut()
            {
                status.insert("phase".to_owned(), json!("Terminating"));
            }
            metadata::bump_generation(&mut new);
            Step::Mark(new)
        }
    }
}

fn mark(object: &mut Value, deadline_seconds: i64, grace: i64) {
    let deadline = jiff::Timestamp::from_second(deadline_seconds).unwrap_or(jiff::Timestamp::MAX);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("deletionTimestamp".to_owned(), json!(metadata::seconds(deadline)));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
    }
}

/// What the kind does when the request does not say, and no earlier request did.
fn default_propagation(target: &Target, object: &Value) -> Option<Propagation> {
    let decided = metadata::finalizers(object).any(|name| [ORPHAN, FOREGROUND].contains(&name));
    (!decided && target.descriptor.strategy.orphans_by_default()).then_some(Propagation::Orphan)
}

/// Brings the garbage collector's finalizers in line with what is asked. Tells whether they changed.
fn set_propagation(object: &mut Value, propagation: Option<Propagation>) -> bool {
    let Some(propagation) = propagation else { return false };
    let wanted = match propagation {
        Propagation::Orphan => Some(ORPHAN),
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Background => None,
    };
    let before: Vec<String> = metadata::finalizers(object).map(str::to_owned).collect();
    let mut after: Vec<String> =
        before.iter().filter(|name| ![ORPHAN, FOREGROUND].contains(&name.as_str()) || wanted == Some(name)).cloned().collect();
    if let Some(wanted) = wanted
        && !after.iter().any(|name| name == wanted)
    {
        after.push(wanted.to_owned());
    }
    if before == after {
        return false;
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        match after.is_empty() {
            true => metadata.remove("finalizers"),
            false => metadata.insert("finalizers".to_owned(), json!(after)),
        };
    }
    true
}

/// Whether finalizers keep the object; a namespace has some in its spec too.
fn is_held(target: &Target, object: &Value) -> bool {
    let in_spec = || object.at("/spec/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    metadata::finalizers(object).next().is_some() || (target.is_namespace() && in_spec())
}

/// Whether an object that is being deleted has nothing left to wait for.
pub(super) fn is_finished(target: &Target, object: &Value) -> bool {
    let grace = object.at("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    !metadata::text(object, "deletionTimestamp").is_empty() && grace == 0 && !is_held(target, object)
}
