//! What holds for every document.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::World;
use crate::managed::{FieldSet, PathElement, extract};
use crate::test_schema::{deployment, schemas};

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned)
}

pub(super) fn words() -> impl Strategy<Value = Value> {
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

pub(super) fn config() -> impl Strategy<Value = Value> {
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

pub(super) fn path_element() -> impl Strategy<Value = PathElement<'static>> {
    let scalar = || {
        prop_oneof!["[ -~]{0,6}".prop_map(Value::from), any::<i64>().prop_map(Value::from), any::<bool>().prop_map(Value::from)]
    };
    prop_oneof![
        "[ -~]{0,6}".prop_map(|name| PathElement::Field(name.into())),
        prop::collection::btree_map("[a-z<\"]{1,4}", scalar(), 1..3)
            .prop_map(|key| PathElement::Key(key.into_iter().map(|(name, value)| (name.into(), value.into())).collect())),
        scalar().prop_map(|value| PathElement::Value(value.into())),
        any::<i64>().prop_map(PathElement::Index),
    ]
}

/// Elements that often are the same.
pub(super) fn few() -> impl Strategy<Value = PathElement<'static>> {
    prop_oneof![
        4 => word().prop_map(|name| PathElement::Field(name.into())),
        1 => (79..81_u16).prop_map(|port| PathElement::Key(vec![("port".into(), json!(port).into())])),
        1 => word().prop_map(|value| PathElement::Value(json!(value).into())),
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
        let written = set.to_json();
        let read = FieldSet::from_json(&written).unwrap();
        prop_assert_eq!(&read, &set);
        prop_assert!(paths.iter().all(|path| read.contains(path)));
    }

    #[test]
    fn sets_are_added_subtracted_and_met_member_by_member(
        left in prop::collection::vec(prop::collection::vec(few(), 1..4), 0..8),
        right in prop::collection::vec(prop::collection::vec(few(), 1..4), 0..8),
    ) {
        let set_of = |paths: &[Vec<PathElement<'static>>]| {
            let mut set = FieldSet::default();
            paths.iter().for_each(|path| set.insert(path));
            set
        };
        let (ours, theirs) = (set_of(&left), set_of(&right));
        let in_left = |path: &Vec<PathElement<'static>>| left.contains(path);
        let in_right = |path: &Vec<PathElement<'static>>| right.contains(path);
        let below_right = |path: &Vec<PathElement<'static>>| right.iter().any(|other| path.starts_with(other));
        let of = |keep: &dyn Fn(&Vec<PathElement<'static>>) -> bool| {
            let kept: Vec<_> = left.iter().chain(&right).filter(|path| keep(path)).cloned().collect();
            set_of(&kept)
        };
        let mut all = ours.clone();
        all.add(theirs.clone());
        prop_assert_eq!(&all, &of(&|_| true));
        let mut rest = ours.clone();
        rest.subtract(&theirs);
        prop_assert_eq!(&rest, &of(&|path| in_left(path) && !in_right(path)));
        let mut rest = ours.clone();
        rest.subtract_recursively(&theirs);
        prop_assert_eq!(&rest, &of(&|path| in_left(path) && !below_right(path)));
        let both = ours.intersection(&theirs);
        prop_assert_eq!(&both, &of(&|path| in_left(path) && in_right(path)));
        prop_assert!(both.is_subset(&ours) && both.is_subset(&theirs) && ours.is_subset(&all));
        prop_assert_eq!(ours.is_subset(&theirs), left.iter().all(in_right));
        prop_assert!(all.paths().iter().all(|path| in_left(path) || in_right(path)));
        // What is said to be written needs no writing.
        for set in [&ours, &theirs, &all, &rest, &both] {
            let written = set.to_json();
            prop_assert!(!ours.is_written(&written) || ours == *set);
        }
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
            let (manager, known) = (["a", "b", "c"][*manager], schemas());
            world.try_apply(manager, config, true).unwrap();
            let mut applied = extract(&known, "Deployment", config).unwrap();
            super::super::ownership::strip(&mut applied);
            let written = if applied.is_empty() { json!({}) } else { world.fields(manager) };
            let owned = FieldSet::from_json(&written).unwrap();
            prop_assert_eq!(&applied, &owned);
            let mut live = world.live().clone();
            super::super::entries::take(&mut live);
            // An empty struct in the configuration is not one in the document when others fill it.
            let filled = without_empties(config);
            let mut set = extract(&known, "Deployment", &filled).unwrap();
            super::super::ownership::strip(&mut set);
            let there = extract(&known, "Deployment", &live).unwrap();
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
            extract(&schemas(), "Deployment", &without_empties(&live)).unwrap().to_json()
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
        let entries = world.entries();
        for entry in &entries {
            owned.add(FieldSet::from_json(&entry["fieldsV1"]).unwrap());
        }
        let (known, filled) = (schemas(), without_empties(&second));
        let mut there = extract(&known, "Deployment", &filled).unwrap();
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
