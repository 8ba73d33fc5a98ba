//! A transaction in nft's language. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::frame::Scope;
use crate::key::{Changes, Elements, Key};

/// Elements in one command: more make a line that is slow to parse.
const AT_ONCE: usize = 500;

/// What changes a table: what is spoken of comes before what speaks of it, and goes after it.
pub fn change(scope: &Scope, changes: &Changes) -> String {
    let table = &scope.place();
    let mut text = String::new();
    let gone = |key: &Key| matches!(changes.get(key), Some((_, None)));
    let chains =
        || changes.iter().filter_map(|(key, change)| if let Key::Chain(name) = key { Some((name, change)) } else { None });
    let sets = || changes.iter().filter_map(|(key, change)| if let Key::Set(name) = key { Some((name, change)) } else { None });
    for (name, (_, after)) in sets() {
        if let Some(kind) = after {
            let _ = writeln!(text, "add set {table} {name} {{ type {kind}; }}");
        }
    }
    for (name, (before, _)) in chains().filter(|(_, (_, after))| after.is_some()) {
        let _ = match before {
            Some(_) => writeln!(text, "flush chain {table} {name}"),
            None => writeln!(text, "add chain {table} {name}"),
        };
    }
    for (name, (_, after)) in chains() {
        for rule in after.iter().flat_map(|rules| rules.lines()) {
            let _ = writeln!(text, "add rule {table} {name} {rule}");
        }
    }
    let mut old: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut new = old.clone();
    for (key, (before, after)) in changes {
        let Key::Element(set, element) = key else { continue };
        // A set's elements go with it.
        if before.is_some() && !gone(&Key::Set(set.clone())) {
            old.entry(set).or_default().push(element.clone());
        }
        if let Some(value) = after {
            let said = if value.is_empty() { element.clone() } else { format!("{element} : {value}") };
            new.entry(set).or_default().push(said);
        }
    }
    for (verb, all) in [("delete", old), ("add", new)] {
        for (set, all) in all {
            for some in all.chunks(AT_ONCE) {
                let _ = writeln!(text, "{verb} element {table} {set} {{ {} }}", some.join(", "));
            }
        }
    }
    let unused = || chains().filter(|(_, (_, after))| after.is_none()).map(|(name, _)| name);
    for name in unused() {
        let _ = writeln!(text, "flush chain {table} {name}");
    }
    for name in unused() {
        let _ = writeln!(text, "delete chain {table} {name}");
    }
    for (name, _) in sets().filter(|(_, (_, after))| after.is_none()) {
        let _ = writeln!(text, "delete set {table} {name}");
    }
    text
}

/// The table anew, whatever was there.
pub fn rebuild(scope: &Scope, wanted: &Elements) -> String {
    let all: Changes = wanted.iter().map(|(key, value)| (key.clone(), (None, Some(value.clone())))).collect();
    format!("{}{}{}", remove(scope), scope.frame(), change(scope, &all))
}

/// No table. Naming it first makes deleting one that is not there no error.
pub fn remove(scope: &Scope) -> String {
    let table = &scope.place();
    format!("table {table}\ndelete table {table}\n")
}
