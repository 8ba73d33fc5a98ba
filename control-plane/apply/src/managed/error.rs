//! Why an apply is refused.

use mizzen_api::status::{Cause, Reason, Status};

use super::extract::BadItem;
use super::versions::{Failure, NeedsConversion};

/// One field that another manager owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner as Kubernetes prints it: `"kubectl"`, `"kubectl" using apps/v1`, `"x" with subresource "status" using v1`.
    pub manager: String,
    /// The field as Kubernetes prints it: `.spec.containers[name="web"].image`.
    pub path: String,
}

/// Every conflict of an apply, by manager and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl std::fmt::Display for Conflicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let [Conflict { manager, path }] = self.0.as_slice() {
            return write!(f, "Apply failed with 1 conflict: conflict with {manager}: {path}");
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut previous = None;
        for (index, Conflict { manager, path }) in self.0.iter().enumerate() {
            if previous != Some(manager) {
                let separator = if index == 0 { "" } else { "\n" };
                write!(f, "{separator}conflicts with {manager}:")?;
                previous = Some(manager);
            }
            write!(f, "\n- {path}")?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("{0}")]
    Conflicts(Conflicts),
    /// The configuration cannot be applied to an object of this kind.
    #[error("{reason}")]
    Invalid { reason: String },
    /// Items of the configuration's lists cannot be told apart.
    #[error("failed to create typed patch object: {0}")]
    Untyped(BadItem),
    /// Fields are owned in another version.
    #[error("{0}")]
    NeedsConversion(Box<NeedsConversion>),
}

impl ApplyError {
    pub(super) fn invalid(reason: String) -> Self {
        Self::Invalid { reason }
    }

    /// What `doing` failed of.
    pub(super) fn of(doing: &str, failure: Failure) -> Self {
        match failure {
            Failure::Bad(bad) => Self::invalid(format!("failed to {doing}: {bad}")),
            Failure::Needs(needs) => Self::NeedsConversion(Box::new(needs)),
        }
    }

    /// The answer to the client, with the code, reason and causes that Kubernetes gives.
    pub fn to_status(&self) -> Status {
        match self {
            Self::Conflicts(conflicts) => {
                let mut status = Status::new(Reason::Conflict, conflicts.to_string());
                status.details.causes = conflicts
                    .0
                    .iter()
                    .map(|conflict| Cause {
                        reason: "FieldManagerConflict".to_owned(),
                        message: format!("conflict with {}", conflict.manager),
                        field: conflict.path.clone(),
                    })
                    .collect();
                status
            }
            Self::Invalid { reason } => Status::bad_request(reason.clone()),
            // So Kubernetes answers what it has no reason for.
            Self::Untyped(_) => Status::new(Reason::Unknown, self.to_string()),
            Self::NeedsConversion(_) => Status::internal(self),
        }
    }
}
