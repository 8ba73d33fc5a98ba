//! Coming from client-side apply: what `kubectl apply` wrote down in an annotation is the configuration that `kubectl`
//! applied, so that its first server-side apply conflicts with nobody over it.

use serde_json::Value;

use super::Context;
use super::compare::compare;
use super::extract::extract_at;
use super::fieldset::FieldSet;
use super::node::Node;
use crate::bounds;

/// The only manager for whom the annotation counts.
pub(super) const MANAGER: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// How large all annotations of an object may be, in bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// The fields that the annotation of `live` sets to what they still are; `None` if there is no usable annotation.
pub(super) fn owned(ctx: &Context<'_>, live: &Value) -> Option<FieldSet<'static>> {
    let text = live.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str()?;
    let last: Value = serde_json::from_str(text).ok()?;
    bounds::check_depth(&last).ok()?;
    if last.get("apiVersion")?.as_str()? != ctx.api_version {
        return None;
    }
    let root = Node::root(ctx.set, ctx.schema);
    let mut fields = extract_at(ctx.set, root, &last).ok()?;
    let change = compare(ctx.set, root, Some(&last), Some(live)).ok()?;
    fields.subtract(&change.modified);
    fields.subtract(&change.added);
    fields.subtract(&change.removed);
    Some(fields.into_owned())
}

/// Keeps the annotation, where there is one, at what was applied; it goes when it would become too large.
pub(super) fn refresh(object: &mut Value, applied: &Value) {
    let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") else { return };
    if annotations.get(ANNOTATION).and_then(Value::as_str).is_none_or(str::is_empty) {
        return;
    }
    let mut applied = applied.clone();
    if let Some(Value::Object(annotations)) = applied.pointer_mut("/metadata/annotations") {
        annotations.remove(ANNOTATION);
    }
    let text = format!("{applied}\n");
    let others = annotations.iter().filter(|(name, _)| *name != ANNOTATION);
    let size: usize = others.map(|(name, value)| name.len() + value.as_str().map_or(0, str::len)).sum();
    if size + ANNOTATION.len() + text.len() > MAX_ANNOTATIONS {
        annotations.remove(ANNOTATION);
    } else {
        annotations.insert(ANNOTATION.to_owned(), Value::String(text));
    }
}
