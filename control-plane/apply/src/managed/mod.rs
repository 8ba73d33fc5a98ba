//! Server-side apply: who owns which field of an object (`metadata.managedFields`), and what follows from it.

mod apply;
mod codec;
mod compare;
mod entries;
mod error;
mod extract;
mod fieldset;
mod last_applied;
mod merge;
mod node;
mod owned;
mod ownership;
mod path;
mod remove;
#[cfg(test)]
mod tests;
mod update;
mod versions;
mod written;

use mizzen_api::schema::SchemaSet;
use serde_json::Value;

pub use codec::DecodeError;
pub use error::{ApplyError, Conflict, Conflicts};
pub use extract::{BadItem, extract};
pub use fieldset::FieldSet;
pub use path::{PathElement, Scalar};
pub use versions::{NeedsConversion, Versions};

/// What is known of a write besides the documents.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub set: &'a SchemaSet,
    /// The name of the kind's schema in `set`. A name that the set does not know is an object of anything.
    pub schema: &'a str,
    /// `group/version` of the request, such as `apps/v1`, which is recorded with the fields.
    pub api_version: &'a str,
    /// The field manager.
    pub manager: &'a str,
    /// `status`, `scale`, …; empty for the object itself.
    pub subresource: &'a str,
    /// Top-level fields that this kind of write may not change, and so never owns: `["status"]` for the main resource of
    /// a kind with a status subresource, `["spec"]` for its status.
    pub reset: &'a [&'a str],
    /// For kinds of several versions that are converted. Without it, all fields are taken to be of one version.
    pub versions: Option<&'a dyn Versions>,
    pub now: jiff::Timestamp,
}

/// Server-side apply: merges the configuration `applied` into `live` (`None` when the object does not exist yet) and
/// returns the object with its managed fields. Fields that the manager applied before and omits now are removed, unless
/// others own them.
///
/// # Errors
/// [`ApplyError::Conflicts`] when the configuration changes what others own and `force` is not set;
/// [`ApplyError::Untyped`] when the configuration does not fit the schema's lists;
/// [`ApplyError::Invalid`] when it is of another version or nests too deep;
/// [`ApplyError::NeedsConversion`] when somebody owns fields in another version.
pub fn apply(ctx: &Context<'_>, live: Option<&Value>, applied: &Value, force: bool) -> Result<Value, ApplyError> {
    apply::apply(ctx, live, applied, force)
}

/// Records in `new.metadata.managedFields` what a create (`old` is `None`), update or patch changed: the manager owns
/// what it changed, others lose what was changed or removed. Managed fields that `new` brings count, unless the write is
/// to a subresource; `[]` or `[{}]` forgets all managers, and nobody is recorded until the next apply. `old` has to be the
/// document that `new` was made from.
///
/// # Errors
/// When somebody owns fields in another version; `new` is as it was.
pub fn update(ctx: &Context<'_>, old: Option<&Value>, new: &mut Value) -> Result<(), NeedsConversion> {
    update::update(ctx, old, new)
}

/// The time of an entry, in seconds as `meta/v1.Time` has it.
fn timestamp(now: jiff::Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
