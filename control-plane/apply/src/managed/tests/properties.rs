//! What holds for every document.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::World;
use crate::managed::{FieldSet, PathElement, Scalar, extract};
use crate::test_schema::{deployment, schemas};

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned)
}

fn words() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(word(), word(), 0..3).prop_map(|map| map.into_iter().collect())
}

fn container() -> impl Strategy<Value = Value> {
    let ports = prop::collection::btree_set((80..83_u16, any::<bool>()), 0..3);
    (prop::option::of(word()), prop::option::of(ports), prop::option::of(words())).prop_map(|(image, ports, limits)| {
        let mut object = Map::new();
        if let Some(image) = image {
            object.insert("image".to_owned(), json!(image));
        }
        if let Some(ports) = ports {
            let protocol = |udp| if udp { "UDP" } else { "TCP" };
            let ports = ports.into_iter().map(|(port, udp)| json!({"containerPort": port, "protocol": protocol(udp)}));
            object.insert("ports".to_owned(), ports.collect());
        }
        if let Some(limits) = limits {
            object.insert("resources".to_owned(), json!({ "limits": limits }));
        }
        Value::Object(object)
    })
}

fn config() -> impl Strategy<Value = Value> {
    let containers = prop::collection::hash_map(word(), container(), 0..4).prop_map(|containers| {
        containers
            .into_iter()
            .map(|(name, mut container)| {
                container["name"] = json!(name);
                container
            })
            .collect::<Vec<_>>()
    });
    let finalizers = prop::collection::hash_set(word(), 0..3).prop_map(|set| set.into_iter().collect::<Vec<_>>());
    (
        prop::option::of(0..3_u8),
        prop::option::of(containers),
        prop::option::of(words()),
        prop::option::of(words()),
        prop::option::of(finalizers),
    )
        .prop_map(|(replicas, containers, selector, labels, finalizers)| {
            let (mut spec, mut metadata) = (Map::new(), Map::new());
            let put = |into: &mut Map<String, Value>, name: &str, value: Option<Value>| {
                if let Some(value) = value {
                    into.insert(name.to_owned(), value);
                }
            };
            put(&mut spec, "replicas", replicas.map(|replicas| json!(replicas)));
            put(&mut spec, "containers", containers.map(|containers| json!(containers)));
            put(&mut spec, "nodeSelector", selector);
            put(&mut metadata, "labels", labels);
            put(&mut metadata, "finalizers", finalizers.map(|finalizers| json!(finalizers)));
            deployment(Value::Object(metadata), Value::Object(spec))
        })
}

fn path_element() -> impl Strategy<Value = PathElement> {
    let scalar = || {
        prop_oneof!["[ -~]{0,6}".prop_map(Value::from), any::<i64>().prop_map(Value::from), any::<bool>().prop_map(Value::from)]
    };
    prop_oneof![
        "[ -~]{0,6}".prop_map(PathElement::Field),
        prop::collection::btree_map("[a-z<\"]{1,4}", scalar(), 1..3)
            .prop_map(|key| PathElement::Key(key.into_iter().map(|(name, value)| (name, Scalar(value))).collect())),
        scalar().prop_map(|value| PathElement::Value(Scalar(value))),
        any::<i64>().prop_map(PathElement::Index),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        word().prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let key = prop::sample::select(vec![
            "metadata",
            "spec",
            "containers",
            "ports",
            "name",
            "finalizers",
            "labels",
            "replicas",
            "$patch",
            "$retainKeys",
            "$setElementOrder/containers",
            "$deleteFromPrimitiveList/finalizers",
            "managedFields",
            "apiVersion",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

fn without_empties(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), without_empties(value)))
            .filter(|(_, value)| !crate::managed::node::is_empty(value))
            .collect(),
        Value::Array(items) => items.iter().map(without_empties).collect(),
        scalar => scalar.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_set_reads_back_what_it_wrote(paths in prop::collection::vec(prop::collection::vec(path_element(), 1..5), 0..12)) {
        let mut set = FieldSet::default();
        for path in &paths {
            set.insert(path);
        }
        let read = FieldSet::from_json(&set.to_json()).unwrap();
        prop_assert_eq!(&read, &set);
        prop_assert!(paths.iter().all(|path| read.contains(path)));
    }

    #[test]
    fn applying_twice_changes_nothing(first in config(), second in config()) {
        let mut world = World::new();
        world.apply("a", &first);
        world.try_apply("b", &second, true).unwrap();
        let before = world.live().clone();
        world.try_apply("b", &second, true).unwrap();
        prop_assert_eq!(world.live(), &before);
    }

    #[test]
    fn what_is_applied_is_owned_and_there(configs in prop::collection::vec((0..3_usize, config()), 1..6)) {
        let mut world = World::new();
        for (manager, config) in &configs {
            let manager = ["a", "b", "c"][*manager];
            world.try_apply(manager, config, true).unwrap();
            let mut applied = extract(&schemas(), "Deployment", config).unwrap();
            super::super::ownership::strip(&mut applied);
            let owned = if applied.is_empty() { FieldSet::default() } else { FieldSet::from_json(&world.fields(manager)).unwrap() };
            prop_assert_eq!(&applied, &owned);
            let mut live = world.live().clone();
            super::super::entries::take(&mut live);
            // An empty struct in the configuration is not one in the document when others fill it.
            let mut set = extract(&schemas(), "Deployment", &without_empties(config)).unwrap();
            super::super::ownership::strip(&mut set);
            let there = extract(&schemas(), "Deployment", &live).unwrap();
            prop_assert!(set.is_subset(&there), "{:?} not in {}", set.paths(), live);
        }
    }

    #[test]
    fn a_lone_applier_gets_exactly_its_configuration(first in config(), second in config()) {
        let mut world = World::new();
        world.apply("a", &first);
        world.apply("a", &second);
        let mut fresh = World::new();
        fresh.apply("a", &second);
        let set = |world: &World| {
            let mut live = world.live().clone();
            super::super::entries::take(&mut live);
            // Empty lists are nobody's, so nobody's apply removes them.
            extract(&schemas(), "Deployment", &without_empties(&live)).unwrap()
        };
        prop_assert_eq!(set(&world), set(&fresh));
    }

    #[test]
    fn an_update_owns_what_it_changed(first in config(), second in config()) {
        let mut world = World::new();
        world.apply("a", &first);
        // An object that nobody manages is not tracked.
        prop_assume!(!world.entries().is_empty());
        world.write("b", "", |new| {
            let managed = new["metadata"]["managedFields"].take();
            *new = second.clone();
            new["metadata"]["managedFields"] = managed;
        });
        // Every field left has an owner, since both wrote all there is; what was emptied need not have one.
        let mut owned = FieldSet::default();
        for entry in world.entries() {
            owned.add(&FieldSet::from_json(&entry["fieldsV1"]).unwrap());
        }
        let mut there = extract(&schemas(), "Deployment", &without_empties(&second)).unwrap();
        super::super::ownership::strip(&mut there);
        prop_assert!(there.is_subset(&owned), "{:?} not in {:?}", there.paths(), owned.paths());
    }

    #[test]
    fn no_input_panics(live in anything(), patch in anything()) {
        let set = schemas();
        let _ = crate::json_patch::apply(&mut live.clone(), &patch);
        let _ = crate::merge_patch::apply(&mut live.clone(), &patch);
        let _ = crate::strategic::apply(&set, "Deployment", &mut live.clone(), &patch);
        let mut world = World::new();
        world.live = Some(live);
        world.write("a", "", |new| *new = patch.clone());
        let mut config = patch;
        if let Some(object) = config.as_object_mut() {
            object.insert("apiVersion".to_owned(), json!("apps/v1"));
        }
        let _ = world.try_apply("b", &config, true);
    }

    #[test]
    fn a_strategic_patch_is_idempotent(doc in config(), patch in config()) {
        let set = schemas();
        let mut once = doc;
        crate::strategic::apply(&set, "Deployment", &mut once, &patch).unwrap();
        let mut twice = once.clone();
        crate::strategic::apply(&set, "Deployment", &mut twice, &patch).unwrap();
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn directives_never_stay(doc in config(), patch in anything()) {
        let mut doc = doc;
        if crate::strategic::apply(&schemas(), "Deployment", &mut doc, &patch).is_ok() {
            prop_assert!(!doc.to_string().contains("\"$"), "{}", doc);
        }
    }
}

#[test]
fn lists_of_thousands_and_the_deepest_documents_are_worked_on() {
    let containers = |from: usize| {
        let items: Vec<Value> = (from..from + 3000).map(|n| json!({"name": format!("c{n}"), "image": "i"})).collect();
        deployment(json!({}), json!({ "containers": items }))
    };
    let mut world = World::new();
    world.apply("a", &containers(0));
    world.apply("b", &containers(1500));
    world.apply("a", &containers(3000));
    assert_eq!(world.live()["spec"]["containers"].as_array().unwrap().len(), 4500);
    let mut doc = containers(0);
    crate::strategic::apply(&schemas(), "Deployment", &mut doc, &containers(1500)).unwrap();
    assert_eq!(doc["spec"]["containers"].as_array().unwrap().len(), 4500);

    let mut deepest = json!(1);
    for _ in 0..crate::MAX_DEPTH - 1 {
        deepest = Value::Object([("other".to_owned(), deepest)].into_iter().collect());
    }
    deepest["apiVersion"] = json!("apps/v1");
    let mut world = World::new();
    world.apply("a", &deepest);
    world.write("b", "", |new| new["other"] = json!(1));
    crate::strategic::apply(&schemas(), "Deployment", &mut deepest.clone(), &deepest).unwrap();
}
