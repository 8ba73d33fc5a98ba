//! Statuses in Kubernetes' words.

use mizzen_api::status::Cause;
use mizzen_api::{GroupResource, Reason, ResourceDescriptor, Status};
use mizzen_store::StoreError;

use crate::auth::{Action, Identity};

/// 422 that names every wrong field.
pub(crate) fn invalid(descriptor: &ResourceDescriptor, name: &str, causes: Vec<Cause>) -> Status {
    let kind = match &*descriptor.group {
        "" => descriptor.kind.to_string(),
        group => format!("{}.{group}", descriptor.kind),
    };
    Status::invalid(&kind, name, causes)
}

/// 422 for parameters of a request that cannot be, or do not go together; `kind` is theirs, for example `ListOptions`.
pub(crate) fn options(kind: &str, causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&format!("{kind}.meta.k8s.io"), "", causes))
}

/// One cause of a refusal; `field` is empty where no field is to blame.
pub(crate) fn cause(reason: &str, field: impl Into<String>, message: impl Into<String>) -> Cause {
    Cause { reason: reason.to_owned(), message: message.into(), field: field.into() }
}

/// 403 as the authorizer's answer is worded.
pub(crate) fn forbidden(user: &Identity, action: &Action<'_>, reason: &str) -> Status {
    let tail = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    match action {
        Action::Resource { verb, group, resource, subresource, namespace, name } => {
            let full = match *subresource {
                "" => (*resource).to_owned(),
                subresource => format!("{resource}/{subresource}"),
            };
            let place = match *namespace {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace \"{namespace}\""),
            };
            let why =
                format!("User \"{}\" cannot {verb} resource \"{full}\" in API group \"{group}\" {place}{tail}", user.username);
            forbidden_because(&GroupResource::new(*group, *resource), name, &why)
        }
        Action::Path { verb, path } => {
            Status::new(Reason::Forbidden, format!("forbidden: User \"{}\" cannot {verb} path \"{path}\"{tail}", user.username))
        }
    }
}

/// 403 for another reason than missing rights, as admission gives it.
pub(crate) fn forbidden_because(resource: &GroupResource, name: &str, why: &str) -> Status {
    let message = match name {
        "" => format!("{resource} is forbidden: {why}"),
        name => format!("{resource} \"{name}\" is forbidden: {why}"),
    };
    Status::new(Reason::Forbidden, message).about(resource, name)
}

pub(crate) fn method_not_allowed() -> Status {
    Status::new(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource")
}

/// A path that nothing serves.
pub(crate) fn no_such_path() -> Status {
    Status::new(Reason::NotFound, "the server could not find the requested resource")
}

pub(crate) fn modified(resource: &GroupResource, name: &str) -> Status {
    Status::conflict(
        resource,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )
}

/// A revision that the store does not have yet (`ResourceVersionTooLarge`).
pub(crate) fn too_large_revision(asked: u64, newest: u64) -> Status {
    let mut status = Status::new(Reason::Timeout, format!("Too large resource version: {asked}, current: {newest}"));
    status.details.causes.push(cause("ResourceVersionTooLarge", "", "Too large resource version"));
    status.details.retry_after_seconds = Some(1);
    status
}

pub(crate) fn expired(message: impl Into<String>) -> Status {
    Status::new(Reason::Expired, message)
}

/// What a failure of the store means to the one who asked.
pub(crate) fn store(error: StoreError) -> Status {
    match error {
        StoreError::Compacted { asked, oldest } => expired(format!("too old resource version: {asked} ({oldest})")),
        StoreError::Future { asked, newest } => too_large_revision(asked, newest),
        StoreError::Unavailable { why } => {
            let mut status = Status::new(Reason::ServiceUnavailable, format!("the store is unavailable: {why}"));
            status.details.retry_after_seconds = Some(1);
            status
        }
        StoreError::Io { .. } => Status::internal(error),
    }
}
