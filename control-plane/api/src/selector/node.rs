//! Which nodes a `NodeSelector` takes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::LabelSelector;

/// Whether a node is taken by one of the terms (`nodeSelectorTerms`). A term takes it by all of its parts; one that has none
/// takes no node.
pub fn takes_node(terms: &[Value], name: &str, labels: &BTreeMap<String, String>) -> bool {
    terms.iter().any(|term| {
        let part = |field: &str| term.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let (expressions, fields) = (part("matchExpressions"), part("matchFields"));
        (!expressions.is_empty() || !fields.is_empty())
            && LabelSelector::from_node_expressions(expressions).is_ok_and(|selector| selector.matches(labels))
            && fields.iter().all(|field| names(field, name))
    })
}

/// Whether a requirement of `matchFields`, which knows only the name, is met.
fn names(field: &Value, name: &str) -> bool {
    let text = |part: &str| field.get(part).and_then(Value::as_str).unwrap_or_default();
    let listed = || field.get("values").and_then(Value::as_array).is_some_and(|values| values.iter().any(|value| value == name));
    match (text("key"), text("operator")) {
        ("metadata.name", "In") => listed(),
        ("metadata.name", "NotIn") => !listed(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_taken_by_any_term_with_all_of_its_parts() {
        let labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), "n1".to_owned())]);
        let takes = |terms: Value| takes_node(terms.as_array().expect("is a list"), "n1", &labels);
        let host = |name: &str| json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [name]});
        let named = |name: &str| json!({"key": "metadata.name", "operator": "In", "values": [name]});
        assert!(takes(json!([{"matchExpressions": [host("n1")]}])));
        assert!(!takes(json!([{"matchExpressions": [host("n2")]}])));
        assert!(takes(json!([{"matchExpressions": [host("n2")]}, {"matchFields": [named("n1")]}])));
        assert!(!takes(json!([{"matchExpressions": [host("n1")], "matchFields": [named("n2")]}])));
        assert!(!takes(json!([{}])));
        assert!(!takes(json!([])));
    }
}
