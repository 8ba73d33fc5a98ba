//! No document makes the model panic, however wrong it is.

use mizzen_api::descriptor::{Context, ResourceDescriptor};
use mizzen_api::schema::{self, Schema, SchemaSet, Shape};
use mizzen_api::validate::{validate_metadata, validate_metadata_update};
use mizzen_api::{Registry, pod_resources, qos};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A small generator of choices, so that one seed is one document.
struct Choices(u64);

impl Choices {
    fn below(&mut self, limit: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).expect("small")].clone()
    }
}

const TEXTS: &[&str] = &[
    "",
    "a",
    "A b",
    "-",
    "a/b",
    "a/b/c",
    "..",
    "é%",
    "TCP",
    "Always",
    "RollingUpdate",
    "In",
    "Exists",
    "NoExecute",
    "None",
    "25%",
    "%",
    "1Gi",
    "metadata.labels['x']",
    "['",
    "NodePort",
    "ClientIP",
    "ExternalName",
    "kubernetes.io/tls",
    "2026-01-01T00:00:00Z",
    "User",
];

fn wrong(choices: &mut Choices) -> Value {
    choices.pick(&[
        json!(null),
        json!(1),
        json!("x"),
        json!([]),
        json!({}),
        json!([1, null, {}]),
        json!({"a": null}),
        json!(true),
        json!(-1.5),
    ])
}

/// A document of roughly the schema's shape, with fields left out and values of wrong types here and there.
fn document(set: &SchemaSet, schema: &Schema, choices: &mut Choices, depth: u32) -> Value {
    if choices.below(20) == 0 {
        return wrong(choices);
    }
    match &set.resolve(schema).shape {
        Shape::Object(object) => {
            let keep = if depth < 3 { 2 } else { 4 };
            let fields = object.fields.iter().filter(|_| depth < 9 && choices.below(keep) == 0).collect::<Vec<_>>();
            let mut out: serde_json::Map<String, Value> = serde_json::Map::new();
            for (name, field) in fields {
                out.insert(name.to_string(), document(set, &field.schema, choices, depth + 1));
            }
            if choices.below(8) == 0 {
                out.insert("unknown".to_owned(), wrong(choices));
            }
            Value::Object(out)
        }
        Shape::Map { values, .. } => {
            let keys: Vec<&str> = (0..choices.below(3)).map(|_| choices.pick(TEXTS)).collect();
            keys.into_iter()
                .map(|key| (key.to_owned(), document(set, values, choices, depth + 1)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        Shape::List { items, .. } => (0..choices.below(3)).map(|_| document(set, items, choices, depth + 1)).collect(),
        Shape::Integer { .. } | Shape::Number { .. } => {
            choices.pick(&[json!(0), json!(1), json!(-1), json!(80), json!(i64::MAX), json!(i64::MIN)])
        }
        Shape::Boolean => json!(choices.below(2) == 0),
        Shape::IntOrString | Shape::Quantity => {
            choices.pick(&[json!(1), json!(0), json!("25%"), json!("1Gi"), json!("x"), json!(-2), json!(1e300)])
        }
        Shape::String { .. } | Shape::Any | Shape::Ref(_) => json!(choices.pick(TEXTS)),
    }
}

fn exercise(kind: &ResourceDescriptor, set: &SchemaSet, old: &Value, new: &Value) {
    let (strategy, context) = (&kind.strategy, Context { now: "2026-01-01T00:00:00Z".parse().expect("a timestamp") });
    schema::check(set, &kind.schema, new);
    let mut object = new.clone();
    schema::apply_defaults(set, &kind.schema, &mut object);
    strategy.default(&mut object);
    let mut created = object.clone();
    strategy.prepare_create(&mut created);
    for subresource in &kind.subresources {
        let mut changed = object.clone();
        strategy.prepare_subresource_update(subresource.name, &mut changed, old);
        strategy.validate_subresource_update(subresource.name, &changed, old);
    }
    strategy.prepare_update(&mut object, old);
    strategy.validate(&created);
    strategy.validate(&object);
    strategy.validate_update(&object, old);
    strategy.is_new_generation(&object, old);
    strategy.default_grace_seconds(&object);
    validate_metadata(&object, kind.scope, strategy.name_rule());
    validate_metadata_update(&object, old);
    for path in strategy.selectable_fields() {
        assert!(strategy.selectable(&object, path).is_some(), "{} {path}", kind.kind);
    }
    assert_eq!(strategy.cells(&object, context).len(), strategy.columns().len(), "{}", kind.kind);
    let spec = object.get("spec").unwrap_or(&Value::Null);
    qos::qos_class(spec);
    pod_resources::requests(spec);
    pod_resources::limits(spec);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_document_makes_any_kind_panic(seed in any::<u64>()) {
        let set = schema::builtin();
        let mut choices = Choices(seed);
        for kind in Registry::builtin().iter() {
            let schema = set.get(&kind.schema).expect("has a schema");
            let (old, new) = (document(set, schema, &mut choices, 0), document(set, schema, &mut choices, 0));
            exercise(&kind, set, &old, &new);
        }
    }

    #[test]
    fn defaulting_twice_changes_nothing_more(seed in any::<u64>()) {
        let set = schema::builtin();
        let mut choices = Choices(seed);
        for kind in Registry::builtin().iter() {
            let mut once = document(set, set.get(&kind.schema).expect("has a schema"), &mut choices, 0);
            schema::apply_defaults(set, &kind.schema, &mut once);
            kind.strategy.default(&mut once);
            let mut twice = once.clone();
            schema::apply_defaults(set, &kind.schema, &mut twice);
            kind.strategy.default(&mut twice);
            prop_assert_eq!(once, twice, "{}", kind.kind);
        }
    }
}
