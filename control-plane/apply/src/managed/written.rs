//! Questions to a `fieldsV1` as it is written, answered without a [`FieldSet`] of it.

use serde_json::{Map, Value};

use super::codec::decode_element;
use super::fieldset::{FieldSet, Item};
use super::path::PathElement;

/// How deep a set may be to be plain; deeper than any object has fields.
const MAX_DEPTH: usize = 32;

/// Whether the set is known to be readable, to own something, and to be written again as it is. What is unusual is not plain.
pub(super) fn is_plain(fields: &Value) -> bool {
    fields.as_object().is_some_and(|fields| !fields.is_empty() && !fields.contains_key(".") && is_plain_below(fields, 0))
}

fn is_plain_below(fields: &Map<String, Value>, depth: usize) -> bool {
    depth < MAX_DEPTH
        && fields.iter().all(|(key, below)| {
            let Value::Object(below) = below else { return false };
            if key == "." {
                // Alone it would be written as nothing at all.
                return below.is_empty() && fields.len() > 1;
            }
            is_plain_key(key) && is_plain_below(below, depth + 1)
        })
}

/// Whether the key is the only one that its element is written as.
fn is_plain_key(key: &str) -> bool {
    let Some((kind, content)) = key.split_at_checked(2) else { return false };
    match kind {
        "f:" => true,
        "k:" => is_plain_map(content),
        "v:" => plain_scalar(content) == Some(""),
        "i:" => plain_integer(content) == Some(""),
        _ => false,
    }
}

/// A JSON object of plain scalars, without spaces, its names in their order.
fn is_plain_map(text: &str) -> bool {
    let Some(mut rest) = text.strip_prefix('{') else { return false };
    let mut last = None;
    loop {
        let Some((name, after)) = plain_text(rest) else { return false };
        if last.is_some_and(|last| last >= name) {
            return false;
        }
        last = Some(name);
        let Some(after) = after.strip_prefix(':').and_then(plain_scalar) else { return false };
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return after == "}",
        }
    }
}

/// What follows a string, an integer or a boolean that is written as it always is.
fn plain_scalar(text: &str) -> Option<&str> {
    match text.as_bytes().first()? {
        b'"' => Some(plain_text(text)?.1),
        b't' => text.strip_prefix("true"),
        b'f' => text.strip_prefix("false"),
        _ => plain_integer(text),
    }
}

/// A string in which nothing is escaped, and what follows it.
fn plain_text(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let end = text.bytes().position(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&'))?;
    Some((&text[..end], text[end..].strip_prefix('"')?))
}

/// What follows an integer that every reader can hold.
fn plain_integer(text: &str) -> Option<&str> {
    const MAX_DIGITS: usize = 18;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let is_plain = match digits.as_bytes().first()? {
        b'0' => length == 1 && digits.len() == text.len(),
        _ => (1..=MAX_DIGITS).contains(&length),
    };
    is_plain.then(|| &digits[length..])
}

/// Whether the two have a member in common.
pub(super) fn meets(fields: &Value, set: &FieldSet<'_>) -> bool {
    !set.is_empty()
        && items(fields).any(|(key, below)| {
            find(set, key).is_some_and(|item| (item.is_member && is_member(below)) || meets(below, &item.below))
        })
}

/// Whether every member of `set` is one of the fields.
pub(super) fn covers(fields: &Value, set: &FieldSet<'_>) -> bool {
    in_common(fields, set) == set.count()
}

/// How many members the two have in common.
fn in_common(fields: &Value, set: &FieldSet<'_>) -> usize {
    if set.is_empty() {
        return 0;
    }
    let found = items(fields).filter_map(|(key, below)| Some((find(set, key)?, below)));
    found.map(|(item, below)| usize::from(item.is_member && is_member(below)) + in_common(below, &item.below)).sum()
}

/// Whether every one of the fields is a member of `set`.
pub(super) fn is_subset(fields: &Value, set: &FieldSet<'_>) -> bool {
    items(fields).all(|(key, below)| {
        find(set, key).is_some_and(|item| (item.is_member || !is_member(below)) && is_subset(below, &item.below))
    })
}

fn items(fields: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let fields = fields.as_object().into_iter().flatten();
    fields.map(|(key, below)| (key.as_str(), below)).filter(|(key, _)| *key != ".")
}

/// Whether the element that holds these fields is a member itself.
fn is_member(below: &Value) -> bool {
    // The point comes before all other keys.
    below.as_object().is_some_and(|below| below.keys().next().is_none_or(|first| first == "."))
}

fn find<'s, 'a>(set: &'s FieldSet<'a>, key: &str) -> Option<&'s Item<'a>> {
    if let Some(name) = key.strip_prefix("f:") {
        return set.get(&PathElement::field(name));
    }
    // Fields come before all other elements.
    if matches!(set.items().last()?.element, PathElement::Field(_)) {
        return None;
    }
    set.get(&decode_element(key).ok()??)
}
