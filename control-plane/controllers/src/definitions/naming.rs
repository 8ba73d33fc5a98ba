//! Which names a definition gets: those that no other definition of its group has. Pure.

use serde_json::{Value, json};

use super::status::Condition;

#[derive(Debug, PartialEq)]
pub(super) struct Decision {
    /// `status.acceptedNames`.
    pub(super) names: Value,
    pub(super) accepted: Condition,
    /// All names are its own, so that it can be served.
    pub(super) is_established: bool,
}

fn text<'a>(names: &'a Value, field: &str) -> &'a str {
    names.get(field).and_then(Value::as_str).unwrap_or("")
}

fn texts<'a>(names: &'a Value, field: &str) -> Vec<&'a str> {
    names.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(super) fn decide(definition: &Value, others: &[Value]) -> Decision {
    let group = &definition["spec"]["group"];
    let taken: Vec<&Value> =
        others.iter().filter(|other| other["spec"]["group"] == *group).map(|other| &other["status"]["acceptedNames"]).collect();
    let mut resources: Vec<&str> = Vec::new();
    let mut kinds: Vec<&str> = Vec::new();
    for names in &taken {
        resources.extend([text(names, "plural"), text(names, "singular")]);
        resources.extend(texts(names, "shortNames"));
        kinds.extend([text(names, "kind"), text(names, "listKind")]);
    }
    let (requested, present) = (&definition["spec"]["names"], &definition["status"]["acceptedNames"]);
    let mut names = if present.is_object() { present.clone() } else { json!({}) };
    let mut conflict: Option<(&'static str, String)> = None;
    let is_free = |name: &str, mine: &str, taken: &[&str]| name == mine || !taken.contains(&name);
    let in_use = |name: &str| format!("{name:?} is already in use");
    for (field, reason, taken) in [
        ("plural", "PluralConflict", &resources),
        ("singular", "SingularConflict", &resources),
        ("kind", "KindConflict", &kinds),
        ("listKind", "ListKindConflict", &kinds),
    ] {
        let name = text(requested, field);
        if is_free(name, text(present, field), taken) {
            names[field] = json!(name);
        } else {
            conflict = Some((reason, in_use(name)));
        }
    }
    let own = texts(present, "shortNames");
    let short: Vec<&str> = texts(requested, "shortNames");
    let conflicts: Vec<String> =
        short.iter().filter(|name| !own.contains(name) && resources.contains(name)).map(|name| in_use(name)).collect();
    match conflicts.as_slice() {
        [] => set_or_remove(&mut names, "shortNames", requested),
        [one] => conflict = Some(("ShortNamesConflict", one.clone())),
        many => conflict = Some(("ShortNamesConflict", format!("[{}]", many.join(", ")))),
    }
    set_or_remove(&mut names, "categories", requested);
    let accepted = match &conflict {
        Some((reason, message)) => Condition::new("NamesAccepted", false, reason, message.clone()),
        None => Condition::new("NamesAccepted", true, "NoConflicts", "no conflicts found"),
    };
    Decision { names, accepted, is_established: conflict.is_none() }
}

fn set_or_remove(names: &mut Value, field: &str, requested: &Value) {
    match requested.get(field).filter(|value| !value.is_null()) {
        Some(value) => names[field] = value.clone(),
        None => {
            if let Some(names) = names.as_object_mut() {
                names.remove(field);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str, short: &[&str], accepted: bool) -> Value {
        let names = json!({"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"),
            "shortNames": short});
        let accepted = if accepted { names.clone() } else { json!({"plural": "", "kind": ""}) };
        json!({"spec": {"group": "example.com", "names": names}, "status": {"acceptedNames": accepted}})
    }

    #[test]
    fn names_that_nobody_has_are_accepted() {
        let decision = decide(&definition("foos", "Foo", &["f"], false), &[definition("bars", "Bar", &["b"], true)]);
        assert!(decision.is_established);
        assert_eq!(decision.names["plural"], "foos");
        assert_eq!(decision.names["shortNames"], json!(["f"]));
        assert_eq!((decision.accepted.status, decision.accepted.reason), (true, "NoConflicts"));
    }

    #[test]
    fn a_name_in_use_is_not_given_twice() {
        let mine = definition("foos", "Foo", &["b"], false);
        let decision = decide(&mine, &[definition("bars", "Bar", &["b"], true)]);
        assert!(!decision.is_established);
        assert_eq!((decision.accepted.reason, &*decision.accepted.message), ("ShortNamesConflict", "\"b\" is already in use"));
        assert_eq!(decision.names["plural"], "foos");
        let decision = decide(&definition("foos", "Bar", &[], false), &[definition("bars", "Bar", &[], true)]);
        assert_eq!(decision.accepted.reason, "ListKindConflict");
        // Names that were not accepted are not taken, and another group has names of its own.
        assert!(decide(&definition("foos", "Foo", &[], false), &[definition("foos", "Foo", &[], false)]).is_established);
        let mut elsewhere = definition("foos", "Foo", &[], true);
        elsewhere["spec"]["group"] = json!("example.org");
        assert!(decide(&definition("foos", "Foo", &[], false), &[elsewhere]).is_established);
    }
}
