//! The table of field numbers.

use std::collections::HashMap;

const TABLE: &str = include_str!("fields.txt");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// `kept`: zero is told from absent.
    Field { name: &'static str, kept: bool },
    /// A message whose fields stand in the object itself; the name is of the same package.
    Inline(&'static str),
}

/// One message: its package, and its fields in the order of their numbers.
pub(super) struct Rows {
    pub(super) package: &'static str,
    pub(super) fields: Vec<(u32, Row)>,
}

/// All messages by their full names, for example `io.k8s.api.core.v1.Pod`.
pub(super) fn table() -> HashMap<String, Rows> {
    let mut messages = HashMap::new();
    let mut package = "";
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            package = name;
            continue;
        }
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        let fields = words.filter_map(row).collect();
        messages.insert(format!("{package}.{name}"), Rows { package, fields });
    }
    messages
}

fn row(word: &'static str) -> Option<(u32, Row)> {
    let (name, number) = word.rsplit_once('=')?;
    let (number, kept) = match number.strip_suffix('*') {
        Some(number) => (number, true),
        None => (number, false),
    };
    let row = match name.strip_prefix('+') {
        Some(inline) => Row::Inline(inline),
        None => Row::Field { name, kept },
    };
    Some((number.parse().ok()?, row))
}
