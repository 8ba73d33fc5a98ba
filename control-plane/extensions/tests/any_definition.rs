//! No definition, no document of its kind and no expression makes the extensions panic, however wrong it is.

use mizzen_extensions::cel::{Plain, Subject, check_rules, compile, validate_rules};
use mizzen_extensions::schema::{Structural, apply_defaults, check, prune, validate};
use mizzen_extensions::{custom, definition};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const TYPES: &[&str] = &["object", "array", "string", "integer", "number", "boolean", "", "other"];
const RULES: &[&str] = &[
    "self == oldSelf",
    "self.a > 1",
    "self.all(x, x == x)",
    "self.map(k, self).size() < 3",
    "has(self.a.b)",
    "self[0] in self",
    "self.?a.orValue('x') != 'y'",
    "size(self) <= 3 || self < 'm'",
    "self.a.filter(x, x.b).exists(y, y == 1)",
    "cel.bind(v, self, v.a + v.a) == self.b",
    "(",
    "",
];

/// A keyword with a value that fits it, or nearly.
fn keyword() -> impl Strategy<Value = (String, Value)> {
    let number = || prop_oneof![any::<i8>().prop_map(Value::from), Just(json!(1.5)), Just(json!(1e300)), Just(json!(u64::MAX))];
    let name = prop::sample::select(vec![
        "maxLength",
        "minLength",
        "maxItems",
        "minItems",
        "maxProperties",
        "minProperties",
        "maximum",
        "minimum",
        "multipleOf",
    ]);
    let flag = prop::sample::select(vec![
        "nullable",
        "uniqueItems",
        "exclusiveMaximum",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ]);
    let text = prop::sample::select(vec![
        ("format", "date-time"),
        ("format", "int32"),
        ("format", "byte"),
        ("format", "quantity"),
        ("pattern", "^[a-z]+$"),
        ("pattern", "("),
        ("x-kubernetes-list-type", "map"),
        ("x-kubernetes-list-type", "set"),
        ("x-kubernetes-map-type", "atomic"),
        ("$ref", "#/a"),
    ]);
    let rule = prop::sample::select(RULES).prop_map(
        |rule| json!([{"rule": rule, "messageExpression": "self + 'x'", "fieldPath": ".a['b']", "optionalOldSelf": true}]),
    );
    prop_oneof![
        3 => prop::sample::select(TYPES).prop_map(|kind| ("type".to_owned(), json!(kind))),
        2 => (name, number()).prop_map(|(name, value)| (name.to_owned(), value)),
        2 => (flag, any::<bool>()).prop_map(|(name, value)| (name.to_owned(), json!(value))),
        2 => text.prop_map(|(name, value)| (name.to_owned(), json!(value))),
        2 => rule.prop_map(|rules| ("x-kubernetes-validations".to_owned(), rules)),
        1 => document().prop_map(|value| ("default".to_owned(), value)),
        1 => document().prop_map(|value| ("enum".to_owned(), json!([value]))),
        1 => Just(("required".to_owned(), json!(["a", 1]))),
        1 => Just(("x-kubernetes-list-map-keys".to_owned(), json!(["a", "a"]))),
        1 => (prop::sample::select(vec!["items", "properties", "allOf", "type"]), document())
            .prop_map(|(name, value)| (name.to_owned(), value)),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["", "a", "m", "1h", "2026-01-01T00:00:00Z", "1Gi", "\u{e9}"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop::sample::select(vec!["a", "b", "metadata", "kind", "apiVersion", "name", "__a__", "in", "x.y"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((name, inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}

fn schema() -> impl Strategy<Value = Value> {
    let keywords = || prop::collection::vec(keyword(), 0..4).prop_map(|all| all.into_iter().collect::<Map<String, Value>>());
    keywords().prop_map(Value::Object).prop_recursive(4, 16, 3, move |inner| {
        let below = prop::sample::select(vec!["a", "b", "metadata", "x.y"]);
        let properties = prop::collection::vec((below, inner.clone()), 0..3)
            .prop_map(|all| all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>());
        let junctor = prop::sample::select(vec!["allOf", "anyOf", "oneOf"]);
        (keywords(), prop::option::of(properties), prop::option::of((junctor, inner.clone())), 0..5_u8, inner).prop_map(
            |(mut schema, properties, junctor, place, inner)| {
                if let Some(properties) = properties {
                    schema.insert("properties".to_owned(), Value::Object(properties));
                }
                if let Some((junctor, nested)) = junctor {
                    schema.insert(junctor.to_owned(), json!([nested]));
                }
                if let Some(place) = ["items", "additionalProperties", "not"].get(usize::from(place)) {
                    schema.insert((*place).to_owned(), inner);
                }
                Value::Object(schema)
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_schema_and_no_document_of_it_panics(schema in schema(), new in document(), old in document()) {
        check("schema", &schema);
        let structural = Structural::parse(&schema);
        let mut object = json!({"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "a"}, "a": new, "b": old});
        prune(&structural, &mut object);
        let pruned = object.clone();
        prop_assert_eq!(prune(&structural, &mut object), Vec::<String>::new());
        prop_assert_eq!(&object, &pruned);
        apply_defaults(&structural, &mut object);
        let defaulted = object.clone();
        apply_defaults(&structural, &mut object);
        prop_assert_eq!(&object, &defaulted);
        for value in [&object, &new] {
            for before in [None, Some(&old), Some(&object)] {
                validate(&structural, value, before);
                validate_rules(&structural, value, before);
            }
        }
    }

    #[test]
    fn no_definition_panics(spec in document(), schema in schema(), status in document()) {
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}, "scale": status}, "additionalPrinterColumns": [spec, {"jsonPath": ".a[?(@.b", "type": "date"}],
            "selectableFields": [status, {"jsonPath": ".spec.a"}]});
        let sound = json!({"group": "example.com", "scope": "Namespaced", "names": {"plural": "as", "kind": "A"},
            "versions": [version, spec], "conversion": status});
        let established = json!({"conditions": [{"type": "Established", "status": "True"}],
            "acceptedNames": {"plural": "as", "singular": "a", "kind": "A", "listKind": "AList"}, "storedVersions": status});
        let strategy = definition::descriptor().strategy;
        for (spec, status) in [(&sound, &established), (&spec, &status)] {
            let mut object = json!({"metadata": {"name": "as.example.com"}, "spec": spec, "status": status});
            let served = custom::served(&object, &custom::Source::of(&object));
            served.published.iter().for_each(|(_, published)| drop(published.value()));
            served.descriptors.iter().for_each(|kind| drop(kind.strategy.problems(&object)));
            let old = object.clone();
            strategy.default(&mut object);
            strategy.prepare_create(&mut object);
            strategy.prepare_update(&mut object, &old);
            strategy.validate(&object);
            strategy.validate_update(&object, &old);
        }
    }

    #[test]
    fn no_expression_panics(
        wild in "\\PC{0,40}",
        near in "(self|oldSelf|x|1|'a'|\\[|\\]|\\(|\\)|\\{|\\}|\\.|\\?|:|,| in | == | < | \\+ | && |!|-|all\\(x,|map\\(|has\\(|size\\(){0,16}",
        value in document(),
    ) {
        for source in [&wild, &near] {
            let Ok(program) = compile(source) else { continue };
            let schema = Structural::default();
            for optional_old_self in [false, true] {
                let subject = Subject { schema: &schema, is_resource: true, optional_old_self };
                let _ = check_rules(&subject, &program, Plain::Bool);
            }
            let rules = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "x-kubernetes-validations": [{"rule": source, "messageExpression": source, "optionalOldSelf": true}]});
            validate_rules(&Structural::parse(&rules), &value, Some(&value));
        }
    }
}
