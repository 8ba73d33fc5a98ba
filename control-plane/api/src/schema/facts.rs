//! The table of facts that k8s-openapi's schemas lack (`facts.txt` says how to read it).

use std::collections::HashMap;

use serde_json::Value;

const TABLE: &str = include_str!("facts.txt");

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fact {
    ListMap(Vec<&'static str>),
    ListSet,
    Atomic,
    Granular,
    Merge(Option<&'static str>),
    RetainKeys,
    ZeroDefault,
    Default(Value),
    Required,
    Optional,
}

#[derive(Debug, Default)]
pub(super) struct TypeFacts {
    pub(super) own: Vec<Fact>,
    pub(super) fields: HashMap<&'static str, Vec<Fact>>,
}

/// Facts by full type name.
pub(super) fn table() -> HashMap<String, TypeFacts> {
    let mut types: HashMap<String, TypeFacts> = HashMap::new();
    let mut current = String::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        let facts = words.filter_map(fact).collect();
        if line.starts_with(' ') {
            types.entry(current.clone()).or_default().fields.insert(name, facts);
        } else {
            current = match name.strip_prefix('/') {
                Some(rest) => format!("io.k8s.{rest}"),
                None => format!("io.k8s.api.{name}"),
            };
            types.entry(current.clone()).or_default().own = facts;
        }
    }
    types
}

fn fact(word: &'static str) -> Option<Fact> {
    Some(match word.split_once([':', '=']) {
        Some(("map", keys)) => Fact::ListMap(keys.split(',').collect()),
        Some(("merge", key)) => Fact::Merge(Some(key)),
        Some(("default", json)) => Fact::Default(serde_json::from_str(json).ok()?),
        None if word == "set" => Fact::ListSet,
        None if word == "atomic" => Fact::Atomic,
        None if word == "granular" => Fact::Granular,
        None if word == "merge" => Fact::Merge(None),
        None if word == "retain" => Fact::RetainKeys,
        None if word == "zero" => Fact::ZeroDefault,
        None if word == "required" => Fact::Required,
        None if word == "optional" => Fact::Optional,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_table_is_a_fact() {
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            for word in line.split_whitespace().skip(1) {
                assert!(fact(word).is_some(), "{word} in {line}");
            }
        }
    }

    #[test]
    fn types_and_fields_are_found_by_their_full_names() {
        let table = table();
        assert_eq!(
            table["io.k8s.api.core.v1.ServiceSpec"].fields["ports"],
            [Fact::ListMap(vec!["port", "protocol"]), Fact::Merge(Some("port"))]
        );
        assert_eq!(table["io.k8s.api.core.v1.LocalObjectReference"].own, [Fact::Atomic]);
        assert!(table.contains_key("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));
    }
}
