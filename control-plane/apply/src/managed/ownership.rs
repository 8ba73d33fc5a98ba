//! How ownership moves when a document changes.

use std::sync::LazyLock;

use super::Context;
use super::compare::Comparison;
use super::entries::Entry;
use super::error::{Conflict, Conflicts};
use super::fieldset::FieldSet;
use super::path::PathElement;
use super::versions::Changes;

/// What nobody owns: identity, and what only the server writes.
const NEVER_OWNED: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

static NEVER: LazyLock<FieldSet<'static>> = LazyLock::new(|| FieldSet::of_fields(NEVER_OWNED));

/// Removes what nobody owns.
pub(super) fn strip(fields: &mut FieldSet<'_>) {
    fields.subtract(&NEVER);
}

/// The fields that this kind of write resets.
pub(super) fn reset_fields<'a>(ctx: &Context<'a>) -> FieldSet<'a> {
    let mut fields = FieldSet::default();
    for name in ctx.reset {
        fields.insert(&[PathElement::field(name)]);
    }
    fields
}

/// Whether the writer of a change owns all of it already and loses nothing by it: its fields stay as they are.
pub(super) fn has_all(writer: &Entry<'_>, change: &Comparison<'_>) -> bool {
    !(change.modified.is_empty() && change.added.is_empty())
        && writer.fields.covers(&change.modified)
        && writer.fields.covers(&change.added)
        && !writer.fields.meets(&change.removed)
        && !writer.fields.meets(&NEVER)
}

/// What each of `others` owns that the change sets to something else.
pub(super) fn conflicts(others: &[Entry<'_>], changes: &Changes<'_>, allowed: Option<&FieldSet<'_>>) -> Conflicts {
    let mut conflicts = Vec::new();
    for (entry, change) in others.iter().filter_map(|entry| Some((entry, changes.of(entry)?))) {
        let mut taken = entry.fields.intersection(&change.modified);
        taken.add(entry.fields.intersection(&change.added));
        if let Some(allowed) = allowed {
            taken.subtract(allowed);
        }
        for path in taken.paths() {
            let path = path.iter().map(ToString::to_string).collect();
            conflicts.push(Conflict { manager: entry.describe(), path });
        }
    }
    conflicts.sort_by(|left, right| left.manager.cmp(&right.manager));
    Conflicts(conflicts)
}

/// Takes from `others` what the change set or removed. Who owns nothing any more leaves, as does who owned in a version that
/// is gone.
pub(super) fn take_away(others: &mut Vec<Entry<'_>>, changes: &Changes<'_>) {
    others.retain_mut(|entry| {
        let Some(change) = changes.of(entry) else { return false };
        entry.fields.subtract(&change.modified);
        entry.fields.subtract(&change.added);
        entry.fields.subtract(&change.removed);
        !entry.fields.is_empty()
    });
}
