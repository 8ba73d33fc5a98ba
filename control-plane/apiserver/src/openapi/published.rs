//! The table of facts that only readers of OpenAPI need (`published.txt` says how to read it).

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

const TABLE: &str = include_str!("published.txt");
const PREFIX: &str = "#/components/schemas/";

/// A word and what it is about.
type Fact = (&'static str, Vec<&'static str>);

/// Facts by full type name.
static FACTS: LazyLock<HashMap<String, Vec<Fact>>> = LazyLock::new(|| {
    let mut facts: HashMap<String, Vec<Fact>> = HashMap::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(word)) = (words.next(), words.next()) {
            facts.entry(full(name)).or_default().push((word, words.collect()));
        }
    }
    facts
});

fn full(name: &str) -> String {
    match name.strip_prefix('/') {
        Some(rest) => format!("io.k8s.{rest}"),
        None => format!("io.k8s.api.{name}"),
    }
}

/// Says of a type what its [`mizzen_api::schema::Schema`] does not.
pub(super) fn complete(name: &str, value: &mut Value) {
    let Some(object) = value.as_object_mut() else { return };
    for (word, about) in FACTS.get(name).into_iter().flatten() {
        match *word {
            "kind" => {
                let kind = name.rsplit('.').next().unwrap_or(name);
                object
                    .insert("x-kubernetes-group-version-kind".to_owned(), json!([{"group": "", "version": "v1", "kind": kind}]));
            }
            "object" => {
                object.insert("type".to_owned(), json!("object"));
            }
            "union" => {
                object.insert("x-kubernetes-unions".to_owned(), json!([union(about)]));
            }
            "refers" => {
                if let [name, target] = about.as_slice()
                    && let Some(field) = field(object, name)
                {
                    field.retain(|key, _| key == "description" || key.starts_with("x-"));
                    field.insert("allOf".to_owned(), json!([{"$ref": format!("{PREFIX}{}", full(target))}]));
                }
            }
            _ => about.iter().for_each(|name| {
                if let Some(field) = field(object, name) {
                    of_field(word, field);
                }
            }),
        }
    }
    // Lists of a kind say nothing of who owns their items.
    if name.ends_with("List")
        && let Some(items) = field(object, "items")
    {
        items.remove("x-kubernetes-list-type");
    }
}

fn field<'a>(object: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    object.get_mut("properties")?.get_mut(name)?.as_object_mut()
}

fn of_field(word: &str, field: &mut Map<String, Value>) {
    let (key, value) = match word {
        "value" => ("default", json!({})),
        "granular" => ("x-kubernetes-map-type", json!("granular")),
        "replace" => ("x-kubernetes-patch-strategy", json!("replace")),
        "atomic" => ("x-kubernetes-list-type", json!("atomic")),
        _ => {
            field.remove("x-kubernetes-list-type");
            return;
        }
    };
    field.insert(key.to_owned(), value);
}

/// The discriminator, and which fields it tells apart; its values are the fields' names in Go.
fn union(about: &[&str]) -> Value {
    let in_go = |name: &str| -> String {
        let mut letters = name.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
    };
    let fields: Map<String, Value> = about.iter().skip(1).map(|name| ((*name).to_owned(), json!(in_go(name)))).collect();
    let mut union = json!({"fields-to-discriminateBy": fields});
    if let Some(discriminator) = about.first().filter(|name| **name != "-") {
        union["discriminator"] = json!(discriminator);
    }
    union
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_table_is_known() {
        const WORDS: [&str; 9] = ["atomic", "granular", "kind", "object", "refers", "replace", "union", "untyped", "value"];
        for (word, _) in FACTS.values().flatten() {
            assert!(WORDS.contains(word), "{word}");
        }
    }

    #[test]
    fn unions_and_empty_defaults_are_said() {
        let mut profile = json!({"type": "object"});
        complete("io.k8s.api.core.v1.SeccompProfile", &mut profile);
        let union = json!({"discriminator": "type", "fields-to-discriminateBy": {"localhostProfile": "LocalhostProfile"}});
        assert_eq!(profile["x-kubernetes-unions"], json!([union]));
        let mut status = json!({"properties": {"loadBalancer": {}, "conditions": {}}});
        complete("io.k8s.api.core.v1.ServiceStatus", &mut status);
        assert_eq!(status, json!({"properties": {"loadBalancer": {"default": {}}, "conditions": {}}}));
    }
}
