//! Taking fields out of a document, and deciding which an apply takes out.

use mizzen_api::schema::SchemaSet;
use serde_json::Value;

use super::Context;
use super::entries::Entry;
use super::extract::{BadItem, extract_at};
use super::fieldset::{FieldSet, Item};
use super::node::{Kind, Node};
use super::path::PathElement;
use super::versions::{Failure, in_version, root_of};

/// Removes the members of `gone` from `value`.
fn remove(set: &SchemaSet, node: Node<'_>, value: &mut Value, gone: &FieldSet<'_>) {
    match (node.kind(set, [Some(value), None]), value) {
        (Kind::Fields(fields), Value::Object(object)) => {
            for Item { element, is_member, below } in gone.items() {
                let PathElement::Field(name) = element else { continue };
                if *is_member {
                    object.remove(&**name);
                } else if let Some(value) = object.get_mut(&**name) {
                    remove(set, fields.child(name).0, value, below);
                }
            }
        }
        (Kind::List(list), Value::Array(items)) => items.retain_mut(|item| {
            let Ok(element) = list.element(set, item) else { return true };
            match gone.get(&element) {
                None => true,
                Some(gone) if gone.is_member => false,
                Some(gone) => {
                    remove(set, list.node, item, &gone.below);
                    true
                }
            }
        }),
        _ => {}
    }
}

/// Takes out of `merged` what its applier applied before (`last`) and no manager owns any more (`managed` is what all
/// of them own now, the applier's new configuration included). Items that were never applied stay.
pub(super) fn prune(
    set: &SchemaSet,
    root: Node<'_>,
    merged: &mut Value,
    last: &FieldSet<'_>,
    managed: &FieldSet<'_>,
) -> Result<(), BadItem> {
    if last.is_subset(managed) {
        return Ok(());
    }
    let gone = unowned(set, root, merged, last, managed)?;
    remove(set, root, merged, &gone);
    Ok(())
}

fn unowned(
    set: &SchemaSet,
    root: Node<'_>,
    merged: &Value,
    last: &FieldSet<'_>,
    managed: &FieldSet<'_>,
) -> Result<FieldSet<'static>, BadItem> {
    let last = last.with_declared_parents(set, root);
    let all = extract_at(set, root, merged)?.with_declared_parents(set, root);
    let left_after_removing = |gone: &FieldSet<'_>| -> Result<FieldSet<'static>, BadItem> {
        let mut pruned = merged.clone();
        remove(set, root, &mut pruned, gone);
        Ok(extract_at(set, root, &pruned)?.with_declared_parents(set, root).into_owned())
    };

    // What would go with all that was applied last, less what somebody still owns …
    let mut unowned = all.clone();
    unowned.subtract(&left_after_removing(&last)?);
    unowned.subtract(&managed.with_declared_parents(set, root));
    // … and of that only what was applied: what hangs below and is nobody's stays.
    let mut dangling = all;
    dangling.subtract(&left_after_removing(&unowned)?);
    Ok(dangling.intersection(&last).into_owned())
}

/// The same where what was applied before, or what others own, is of other versions; `managed` is what is owned in each.
pub(super) fn prune_across(
    ctx: &Context<'_>,
    merged: &mut Value,
    last: &Entry<'_>,
    managed: &[(String, FieldSet<'_>)],
) -> Result<(), Failure> {
    let set = ctx.set;
    // Of a version that is gone, nothing is known to have been applied.
    let Some(root) = root_of(ctx, &last.api_version) else { return Ok(()) };
    let applied = last.fields.set().with_declared_parents(set, root);
    let before = in_version(ctx, merged, &last.api_version)?;
    let mut pruned = before.clone();
    remove(set, root, &mut pruned, &applied);

    // What somebody owns comes back: first in the version that was pruned, so that the outcome can be converted.
    let (first, others): (Vec<_>, Vec<_>) = managed.iter().partition(|(version, _)| *version == *last.api_version);
    for (version, owned) in first.into_iter().chain(others) {
        let Some(root) = root_of(ctx, version) else { continue };
        let (whole, left) = (in_version(ctx, &before, version)?, in_version(ctx, &pruned, version)?);
        let mut gone = lost(set, root, &whole, &left)?;
        gone.subtract(&owned.with_declared_parents(set, root));
        pruned = whole;
        remove(set, root, &mut pruned, &gone);
    }

    // Of what is left out then, only what was applied goes: what hangs below and is nobody's stays.
    let dangling = lost(set, root, &before, &in_version(ctx, &pruned, &last.api_version)?)?;
    let mut left = before;
    remove(set, root, &mut left, &dangling.intersection(&applied));
    *merged = in_version(ctx, &left, ctx.api_version)?;
    Ok(())
}

/// What one document has and another has not.
fn lost(set: &SchemaSet, root: Node<'_>, whole: &Value, left: &Value) -> Result<FieldSet<'static>, BadItem> {
    let mut lost = extract_at(set, root, whole)?.with_declared_parents(set, root);
    lost.subtract(&extract_at(set, root, left)?.with_declared_parents(set, root));
    Ok(lost.into_owned())
}
