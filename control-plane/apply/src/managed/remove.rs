//! Taking fields out of a document, and deciding which an apply takes out.

use mizzen_api::schema::SchemaSet;
use serde_json::Value;

use super::Context;
use super::entries::Entry;
use super::extract::{BadItem, extract_at};
use super::fieldset::FieldSet;
use super::node::{Kind, Node};
use super::path::PathElement;
use super::versions::{Failure, in_version, root_of};

/// Removes the members of `gone` from `value`.
fn remove(set: &SchemaSet, node: Node<'_>, value: &mut Value, gone: &FieldSet) {
    match (node.kind(set, [Some(value), None]), value) {
        (Kind::Fields(fields), Value::Object(object)) => {
            for member in &gone.members {
                if let PathElement::Field(name) = member {
                    object.remove(name);
                }
            }
            for (element, below) in &gone.children {
                let PathElement::Field(name) = element else { continue };
                if let Some(value) = object.get_mut(name) {
                    remove(set, fields.child(name).0, value, below);
                }
            }
        }
        (Kind::List(list), Value::Array(items)) => items.retain_mut(|item| {
            let Ok(element) = list.element(set, item) else { return true };
            if gone.members.contains(&element) {
                return false;
            }
            if let Some(below) = gone.children.get(&element) {
                remove(set, list.node, item, below);
            }
            true
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
    last: &FieldSet,
    managed: &FieldSet,
) -> Result<(), BadItem> {
    if last.is_subset(managed) {
        return Ok(());
    }
    let last = last.with_declared_parents(set, root);
    let all = extract_at(set, root, merged)?.with_declared_parents(set, root);
    let left_after_removing = |gone: &FieldSet| -> Result<FieldSet, BadItem> {
        let mut pruned = merged.clone();
        remove(set, root, &mut pruned, gone);
        Ok(extract_at(set, root, &pruned)?.with_declared_parents(set, root))
    };

    // What would go with all that was applied last, less what somebody still owns …
    let mut unowned = all.clone();
    unowned.subtract(&left_after_removing(&last)?);
    unowned.subtract(&managed.with_declared_parents(set, root));
    // … and of that only what was applied: what hangs below and is nobody's stays.
    let mut dangling = all;
    dangling.subtract(&left_after_removing(&unowned)?);
    remove(set, root, merged, &dangling.intersection(&last));
    Ok(())
}

/// The same where what was applied before, or what others own, is of other versions; `managed` is what is owned in each.
pub(super) fn prune_across(
    ctx: &Context<'_>,
    merged: &mut Value,
    last: &Entry,
    managed: &[(String, FieldSet)],
) -> Result<(), Failure> {
    let set = ctx.set;
    let all_of = |root, document: &Value| Ok::<_, BadItem>(extract_at(set, root, document)?.with_declared_parents(set, root));
    // Of a version that is gone, nothing is known to have been applied.
    let Some(root) = root_of(ctx, &last.api_version) else { return Ok(()) };
    let applied = last.fields.with_declared_parents(set, root);
    let before = in_version(ctx, merged, &last.api_version)?;
    let mut pruned = before.clone();
    remove(set, root, &mut pruned, &applied);

    // What somebody owns comes back: first in the version that was pruned, so that the outcome can be converted.
    let (first, others): (Vec<_>, Vec<_>) = managed.iter().partition(|(version, _)| *version == last.api_version);
    for (version, owned) in first.into_iter().chain(others) {
        let Some(root) = root_of(ctx, version) else { continue };
        let (whole, left) = (in_version(ctx, &before, version)?, in_version(ctx, &pruned, version)?);
        let mut gone = all_of(root, &whole)?;
        gone.subtract(&all_of(root, &left)?);
        gone.subtract(&owned.with_declared_parents(set, root));
        pruned = whole;
        remove(set, root, &mut pruned, &gone);
    }

    // Of what is left out then, only what was applied goes: what hangs below and is nobody's stays.
    let mut dangling = all_of(root, &before)?;
    dangling.subtract(&all_of(root, &in_version(ctx, &pruned, &last.api_version)?)?);
    let mut left = before;
    remove(set, root, &mut left, &dangling.intersection(&applied));
    *merged = in_version(ctx, &left, ctx.api_version)?;
    Ok(())
}
