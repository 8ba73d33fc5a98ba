//! The table of field numbers.

use std::collections::HashMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("fields.txt");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// `zero_is_absent`: the encoding cannot leave the field out, so that zero and false mean that nobody set it.
    Field { name: &'static str, zero_is_absent: bool },
    /// A message whose fields stand in the object itself; the name is of the same package.
    Inline(&'static str),
}

/// One message's fields by number.
pub(super) type Message = HashMap<u32, Entry>;

/// The message with this full name, for example `io.k8s.api.core.v1.Pod`.
pub(super) fn message(name: &str) -> Option<&'static Message> {
    static MESSAGES: LazyLock<HashMap<String, Message>> = LazyLock::new(parse);
    MESSAGES.get(name)
}

fn parse() -> HashMap<String, Message> {
    let mut messages = HashMap::new();
    let mut package = "";
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            package = name;
            continue;
        }
        let Some((name, fields)) = line.split_once(' ') else { continue };
        let fields = fields.split(' ').filter_map(|field| {
            let (name, number) = field.rsplit_once('=')?;
            let (number, zero_is_absent) = match number.strip_suffix('!') {
                Some(number) => (number, true),
                None => (number, false),
            };
            let entry = match name.strip_prefix('+') {
                Some(inline) => Entry::Inline(inline),
                None => Entry::Field { name, zero_is_absent },
            };
            Some((number.parse().ok()?, entry))
        });
        messages.insert(format!("{package}.{name}"), fields.collect());
    }
    messages
}
