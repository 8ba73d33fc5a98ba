//! No patch and no set of fields makes a document's change panic, and what must come back does.

use mizzen_api::schema;
use mizzen_apply::managed::FieldSet;
use mizzen_apply::{json_patch, merge_patch, strategic};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "list", "~", "/x", "", "metadata", "0"]).prop_map(str::to_owned)
}

/// Documents of few names, so that patches meet what is there.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        key().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((key(), inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn pointer() -> impl Strategy<Value = String> {
    let step = prop::sample::select(vec!["a", "b", "list", "0", "1", "-", "01", "~0", "~1x", "~2", "", "18446744073709551616"]);
    prop_oneof![
        8 => prop::collection::vec(step, 0..4).prop_map(|steps| steps.iter().map(|step| format!("/{step}")).collect::<String>()),
        1 => "\\PC{0,8}",
    ]
}

fn operation() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test", "other"]);
    (name, pointer(), pointer(), prop::option::of(document())).prop_map(|(name, path, from, value)| {
        let mut operation = json!({"op": name, "path": path, "from": from});
        if let Some(value) = value {
            operation["value"] = value;
        }
        operation
    })
}

/// RFC 7386, section 2, word for word.
fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut fields = target.as_object().cloned().unwrap_or_default();
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            let field = merged(fields.get(name).unwrap_or(&Value::Null), value);
            fields.insert(name.clone(), field);
        }
    }
    Value::Object(fields)
}

/// `fieldsV1`, with keys that are right, nearly right and wrong.
fn fields() -> impl Strategy<Value = Value> {
    let key = || {
        prop_oneof![
            Just(".".to_owned()),
            "f:[a-c]{0,2}",
            "v:(1|-0|1\\.0|1e400|\"a\"|\\[1\\]|nul|)",
            "k:(\\{\"a\":1\\}|\\{\"b\":2,\"a\":1\\}|\\{\\}|\\{|\\[\\]|\\{\"a\":\\{\\}\\})",
            "i:(0|-1|99999999999999999999|x)",
            "x:.",
            "\\PC{0,3}",
        ]
    };
    let leaf = prop_oneof![8 => Just(json!({})), 1 => Just(Value::Null), 1 => Just(json!([1]))];
    leaf.prop_recursive(5, 30, 4, move |inner| {
        prop::collection::vec((key(), inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_json_patch_panics(doc in document(), operations in prop::collection::vec(operation(), 0..6)) {
        let _ = json_patch::apply(&mut doc.clone(), &Value::Array(operations));
    }

    #[test]
    fn nothing_but_a_list_of_operations_is_a_json_patch(doc in document(), patch in document()) {
        let _ = json_patch::apply(&mut doc.clone(), &patch);
    }

    #[test]
    fn what_a_json_patch_adds_it_can_take_away(doc in document(), value in document()) {
        let whole = json!([{"op": "test", "path": "", "value": doc}]);
        let mut patched = doc.clone();
        prop_assert_eq!(json_patch::apply(&mut patched, &whole), Ok(()));
        if let Some(fields) = doc.as_object()
            && !fields.contains_key("new")
        {
            let patch = json!([{"op": "add", "path": "/new", "value": value}, {"op": "remove", "path": "/new"}]);
            prop_assert_eq!(json_patch::apply(&mut patched, &patch), Ok(()));
        }
        prop_assert_eq!(patched, doc);
    }

    #[test]
    fn a_merge_patch_does_what_the_rfc_says(doc in document(), patch in document()) {
        let mut patched = doc.clone();
        prop_assert_eq!(merge_patch::apply(&mut patched, &patch), Ok(()));
        prop_assert_eq!(&patched, &merged(&doc, &patch));
        let once = patched.clone();
        prop_assert_eq!(merge_patch::apply(&mut patched, &patch), Ok(()));
        prop_assert_eq!(patched, once);
    }

    #[test]
    fn no_strategic_merge_patch_panics(doc in document(), patch in document()) {
        let patch = json!({"metadata": patch, "spec": {"template": {"spec": {"containers": [patch, doc], "$patch": patch}}}});
        let doc = json!({"metadata": doc, "spec": {"template": {"spec": {"containers": [doc, {"name": "a"}]}}}});
        let _ = strategic::apply(schema::builtin(), DEPLOYMENT, &mut doc.clone(), &patch);
    }

    #[test]
    fn a_set_of_fields_that_can_be_read_is_written_as_it_was_read(fields in fields()) {
        if let Ok(set) = FieldSet::from_json(&fields) {
            let written = set.to_json();
            prop_assert_eq!(FieldSet::from_json(&written), Ok(set));
        }
    }
}
