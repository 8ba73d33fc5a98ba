//! A transaction in nft's language. Pure.

use std::fmt::Write as _;

use crate::frame::Scope;
use crate::model::{Changes, Elements, Part};

/// Elements in one command: more make a line that is slow to parse.
const AT_ONCE: usize = 500;

/// What changes a table. Chains come before what leads to them and go after it.
pub fn change(scope: &Scope, changes: &Changes) -> String {
    let table = &scope.place();
    let mut text = String::new();
    let chains = || changes.iter().filter(|((part, _), _)| *part == Part::Chain).map(|((_, name), change)| (name, change));
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
    for part in Part::SETS {
        let of_part = || changes.iter().filter(move |((of, _), _)| *of == part).map(|((_, key), change)| (key, change));
        let gone: Vec<_> = of_part().filter(|(_, (before, _))| before.is_some()).map(|(key, _)| key.clone()).collect();
        elements(&mut text, "delete", table, part, &gone);
        let new: Vec<_> = of_part().filter_map(|(key, (_, after))| Some(element(key, after.as_ref()?))).collect();
        elements(&mut text, "add", table, part, &new);
    }
    let unused = || chains().filter(|(_, (_, after))| after.is_none()).map(|(name, _)| name);
    for name in unused() {
        let _ = writeln!(text, "flush chain {table} {name}");
    }
    for name in unused() {
        let _ = writeln!(text, "delete chain {table} {name}");
    }
    text
}

/// The table anew, with all that services want, whatever was there.
pub fn rebuild(scope: &Scope, wanted: &Elements) -> String {
    let table = &scope.place();
    let all: Changes = wanted.iter().map(|(key, value)| (key.clone(), (None, Some(value.clone())))).collect();
    format!("table {table}\ndelete table {table}\n{}{}", scope.frame(), change(scope, &all))
}

fn element(key: &str, value: &str) -> String {
    if value.is_empty() { key.to_owned() } else { format!("{key} : {value}") }
}

fn elements(text: &mut String, verb: &str, table: &str, part: Part, all: &[String]) {
    for some in all.chunks(AT_ONCE) {
        let _ = writeln!(text, "{verb} element {table} {} {{ {} }}", part.name(), some.join(", "));
    }
}
