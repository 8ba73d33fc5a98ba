//! What can be wrong with a patch, and how the API says so.

use mizzen_api::status::{Cause, Reason, Status};

use crate::MAX_DEPTH;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch is not a JSON patch at all (RFC 6902, section 3).
    #[error("error decoding patch: {reason}")]
    Decode { reason: String },
    /// An operation does not fit the document. The text is what Kubernetes gives as the cause.
    #[error("{reason}")]
    DoesNotApply { reason: String },
    #[error("The allowed maximum operations in a JSON patch is {allowed}, got {got}")]
    TooManyOperations { allowed: usize, got: usize },
    #[error("Unable to complete the copy, the accumulated size increase of copy is {got}, exceeding the limit {allowed}")]
    CopiesTooMuch { allowed: usize, got: usize },
    #[error("The allowed maximum of values that a JSON patch moves about is {allowed}, got {got}")]
    MovesTooMuch { allowed: usize, got: usize },
    #[error("the patch nests {depth} levels deep, more than the allowed {MAX_DEPTH}")]
    TooDeep { depth: usize },
    /// A directive of a strategic merge patch has a wrong form.
    #[error("invalid patch format of {directive}")]
    BadDirective { directive: &'static str },
    #[error("the patch is not an object")]
    NotAnObject,
    /// Nothing says how documents of this kind merge; the API answers 415.
    #[error("strategic merge patch: no schema named {name}")]
    NoSchema { name: String },
    #[error("unknown patch type: {kind} in map: {map}")]
    UnknownPatchType { kind: String, map: String },
    #[error("map: {map} does not contain declared merge key: {key}")]
    NoMergeKey { map: String, key: String },
    #[error("cannot merge lists without merge key for field {field}")]
    NoDeclaredMergeKey { field: String },
    #[error("the order in patch list doesn't match the $setElementOrder list of {field}")]
    OrderMismatch { field: String },
}

impl PatchError {
    /// The answer to the client, with the code and reason that Kubernetes gives.
    pub fn to_status(&self) -> Status {
        match self {
            Self::Decode { .. } | Self::TooDeep { .. } | Self::BadDirective { .. } | Self::NotAnObject => {
                Status::bad_request(self.to_string())
            }
            Self::TooManyOperations { .. } | Self::CopiesTooMuch { .. } | Self::MovesTooMuch { .. } => {
                Status::new(Reason::RequestEntityTooLarge, format!("Request entity too large: {self}"))
            }
            Self::NoSchema { .. } => Status::new(
                Reason::UnsupportedMediaType,
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            ),
            Self::DoesNotApply { .. }
            | Self::UnknownPatchType { .. }
            | Self::NoMergeKey { .. }
            | Self::NoDeclaredMergeKey { .. }
            | Self::OrderMismatch { .. } => {
                let mut status = Status::new(Reason::Invalid, "the server rejected our request due to an error in our request");
                status.details.causes.push(Cause {
                    reason: "UnexpectedServerResponse".to_owned(),
                    message: self.to_string(),
                    field: String::new(),
                });
                status
            }
        }
    }
}
