//! Create, update and patch: whoever changes a field owns it.

use serde_json::Value;

use super::entries::{self, Entry, Lines, Manager, Operation};
use super::extract::BadItem;
use super::owned::Owned;
use super::versions::{Changes, Failure, NeedsConversion};
use super::{Context, ownership};
use crate::bounds;

pub(super) fn update(ctx: &Context<'_>, old: Option<&Value>, new: &mut Value) -> Result<(), NeedsConversion> {
    let requested = entries::take(new);
    let live = || entries::decode(old.and_then(entries::of)).unwrap_or_default();
    let mut managed = if ctx.subresource.is_empty() {
        if entries::is_reset(requested.as_ref()) {
            Vec::new()
        } else {
            // Clients that do not know managed fields drop them without meaning to.
            match entries::decode(requested.as_ref()) {
                Ok(managed) if !managed.is_empty() => managed,
                _ => live(),
            }
        }
    } else {
        live()
    };
    // An object that nobody manages (they were reset) is managed again from its next apply.
    if managed.is_empty() && old.is_some() {
        return Ok(());
    }
    match record(ctx, ctx.manager, old, new, &mut managed) {
        Ok(()) => {}
        // Lists that cannot be told apart item by item are validation's to refuse; the owners stay as they were.
        Err(Failure::Bad(_)) => managed = live(),
        Err(Failure::Needs(needs)) => {
            drop(managed);
            entries::restore(new, requested);
            return Err(needs);
        }
    }
    let lines = Lines::of(managed, requested.as_ref());
    entries::put(new, lines.into_list(requested));
    Ok(())
}

/// Moves the ownership of all that differs between the documents to `manager`.
pub(super) fn record<'a>(
    ctx: &Context<'a>,
    manager: &'a str,
    old: Option<&'a Value>,
    new: &'a Value,
    managed: &mut Vec<Entry<'a>>,
) -> Result<(), Failure> {
    for document in old.into_iter().chain([new]) {
        bounds::check_depth(document).map_err(|error| BadItem { path: String::new(), reason: error.to_string() })?;
    }
    let changes = Changes::new(ctx, managed, old, new)?;
    let name = if manager.is_empty() { "unknown" } else { manager };
    let manager = Manager { name: name.into(), operation: Operation::Update, subresource: ctx.subresource.into() };
    let is_writer = |entry: &Entry<'_>| entry.is(&manager, ctx.api_version);
    let kept = managed.iter().position(|entry| is_writer(entry) && ownership::has_all(entry, &changes.own));
    let kept = kept.map(|place| managed.remove(place));
    ownership::take_away(managed, &changes);

    let time = || Some(super::timestamp(ctx.now).into());
    if let Some(kept) = kept {
        managed.push(Entry { time: time(), ..kept });
        entries::cap_updaters(managed);
        return Ok(());
    }
    let mut fields = changes.own.set();
    ownership::strip(&mut fields);
    if !fields.is_empty() {
        match managed.iter_mut().find(|entry| is_writer(entry)) {
            Some(entry) => {
                entry.fields.add(fields);
                entry.time = time();
            }
            None => {
                let (api_version, fields) = (ctx.api_version.into(), Owned::Read(fields));
                managed.push(Entry { manager, api_version, time: time(), fields, written: None });
            }
        }
    }
    entries::cap_updaters(managed);
    Ok(())
}
