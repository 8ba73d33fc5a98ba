//! Taking fields out of a document, and deciding which an apply takes out.

use mizzen_api::schema::SchemaSet;
use serde_json::Value;

use super::extract::{BadItem, extract_at};
use super::fieldset::FieldSet;
use super::node::{Kind, Node};
use super::path::PathElement;

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
