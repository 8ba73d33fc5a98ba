//! Server-side apply of one configuration.

use serde_json::Value;

use super::entries::{self, Entry, Lines, Manager, Operation};
use super::error::ApplyError;
use super::extract::extract_at;
use super::fieldset::FieldSet;
use super::node::{Kind, Node};
use super::owned::Owned;
use super::versions::{self, Changes};
use super::{Context, last_applied, merge, ownership, remove, update};
use crate::bounds;

/// Who owns what was there before anybody applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

pub(super) fn apply(ctx: &Context<'_>, live: Option<&Value>, applied: &Value, force: bool) -> Result<Value, ApplyError> {
    check(ctx, live, applied)?;
    let root = Node::root(ctx.set, ctx.schema);
    let mut managed = entries::decode(live.and_then(entries::of))
        .map_err(|error| ApplyError::invalid(format!("failed to decode managed fields: {error}")))?;
    if managed.is_empty()
        && let Some(live) = live
    {
        update::record(ctx, BEFORE_FIRST_APPLY, None, live, &mut managed)
            .map_err(|failure| ApplyError::of("create manager for existing fields", failure))?;
    }

    let reset = ownership::reset_fields(ctx);
    let mut fields = extract_at(ctx.set, root, applied).map_err(ApplyError::Untyped)?;
    fields.subtract_recursively(&reset);

    // The applier's own entry leaves the list: what is left are the others.
    let name = if ctx.manager.is_empty() { "unknown" } else { ctx.manager };
    let manager = Manager { name: name.into(), operation: Operation::Apply, subresource: ctx.subresource.into() };
    let last = managed.iter().position(|entry| entry.is(&manager, ctx.api_version)).map(|place| managed.remove(place));

    let mut merged = merged(ctx, root, live, applied)?;
    if let Some(last) = &last {
        let pruned = if managed.iter().chain([last]).all(|entry| versions::is_own(ctx, &entry.api_version)) {
            // Most often all that was applied is applied again.
            if last.fields.is_subset(&fields) {
                Ok(())
            } else {
                let mut owned = fields.clone();
                managed.iter().for_each(|entry| owned.add(entry.fields.set().into_owned()));
                remove::prune(ctx.set, root, &mut merged, &last.fields.set(), &owned).map_err(Into::into)
            }
        } else {
            remove::prune_across(ctx, &mut merged, last, &owned_by_version(ctx, &fields, &managed))
        };
        pruned.map_err(|failure| ApplyError::of("prune fields", failure))?;
    }

    let changes = Changes::new(ctx, &managed, live, &merged).map_err(|failure| ApplyError::of("compare objects", failure))?;
    if !force && let Some(live) = live {
        let allowed: Option<FieldSet<'_>> =
            if ctx.manager == last_applied::MANAGER { last_applied::owned(ctx, live) } else { None };
        let conflicts = ownership::conflicts(&managed, &changes, allowed.as_ref());
        if !conflicts.0.is_empty() {
            return Err(ApplyError::Conflicts(conflicts));
        }
    }
    ownership::take_away(&mut managed, &changes);

    ownership::strip(&mut fields);
    let now = || Some(super::timestamp(ctx.now).into());
    let entry = match last {
        Some(last) if last.fields == fields && last.api_version == ctx.api_version => {
            let is_same_object = live.is_some_and(|live| entries::is_same_object(live, &merged));
            Entry { time: if is_same_object { last.time } else { now() }, ..last }
        }
        last => {
            let written = last.and_then(|last| last.written);
            Entry { manager, api_version: ctx.api_version.into(), time: now(), fields: Owned::Read(fields), written }
        }
    };
    if !entry.fields.is_empty() {
        managed.push(entry);
    }
    if ctx.manager == last_applied::MANAGER {
        last_applied::refresh(&mut merged, applied);
    }
    entries::put(&mut merged, Lines::of(managed, None).into_list(None));
    Ok(merged)
}

/// What everybody owns, in each version; `fields` are those of the written one.
fn owned_by_version<'a>(ctx: &Context<'_>, fields: &FieldSet<'a>, others: &[Entry<'a>]) -> Vec<(String, FieldSet<'a>)> {
    let mut owned = vec![(ctx.api_version.to_owned(), fields.clone())];
    for entry in others {
        match owned.iter_mut().find(|(version, _)| *version == *entry.api_version) {
            Some((_, fields)) => fields.add(entry.fields.set().into_owned()),
            None => owned.push((entry.api_version.clone().into_owned(), entry.fields.set().into_owned())),
        }
    }
    owned
}

fn check(ctx: &Context<'_>, live: Option<&Value>, applied: &Value) -> Result<(), ApplyError> {
    for document in live.into_iter().chain([applied]) {
        bounds::check_depth(document).map_err(|error| ApplyError::invalid(error.to_string()))?;
    }
    if !applied.is_object() {
        return Err(ApplyError::invalid("the applied configuration is not an object".to_owned()));
    }
    let version = applied.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if version != ctx.api_version {
        return Err(ApplyError::invalid(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {}",
            ctx.api_version
        )));
    }
    match entries::of(applied) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(entries)) if entries.is_empty() => Ok(()),
        Some(_) => Err(ApplyError::invalid("metadata.managedFields must be nil".to_owned())),
    }
}

/// The live document with the configuration merged into it, less what this write resets, and without managed fields.
fn merged(ctx: &Context<'_>, root: Node<'_>, live: Option<&Value>, applied: &Value) -> Result<Value, ApplyError> {
    let mut merged = live.map_or_else(|| Value::Object(serde_json::Map::new()), entries::without);
    if let (Kind::Fields(fields), Value::Object(config)) = (root.kind(ctx.set, [Some(applied), None]), applied)
        && let Value::Object(object) = &mut merged
    {
        merge::merge_fields(ctx.set, fields, object, config, ctx.reset).map_err(ApplyError::Untyped)?;
    }
    entries::take(&mut merged);
    Ok(merged)
}
