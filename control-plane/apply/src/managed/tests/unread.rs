//! Sets that stay as they are written answer what the same sets answer when they are read.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::World;
use super::properties::{config, few, path_element, words};
use crate::managed::compare::Comparison;
use crate::managed::owned::Owned;
use crate::managed::{ApplyError, FieldSet, PathElement, apply, entries, ownership, update, written};

type Paths = Vec<Vec<PathElement<'static>>>;

fn set_of(paths: &Paths) -> FieldSet<'static> {
    let mut set = FieldSet::default();
    paths.iter().for_each(|path| set.insert(path));
    set
}

fn paths(element: impl Strategy<Value = PathElement<'static>>) -> impl Strategy<Value = Paths> {
    prop::collection::vec(prop::collection::vec(element, 1..4), 1..8)
}

/// The document with something in each manager's fields that is skipped when it is read and never written again: no set of
/// it can stay unread.
fn with_odd_owners(document: &Value) -> Value {
    let mut odd = document.clone();
    for entry in odd.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut).into_iter().flatten() {
        entry["fieldsV1"]["x:later"] = json!({});
        assert!(!written::is_plain(&entry["fieldsV1"]));
    }
    odd
}

#[derive(Clone, Debug)]
enum Write {
    Apply { config: Value, force: bool },
    Replace(Value),
    Label(Value),
    Status(Value),
}

fn write() -> impl Strategy<Value = (usize, Write, i64)> {
    let write = prop_oneof![
        3 => (config(), any::<bool>()).prop_map(|(config, force)| Write::Apply { config, force }),
        2 => config().prop_map(Write::Replace),
        2 => words().prop_map(Write::Label),
        2 => words().prop_map(Write::Status),
    ];
    // Few, who write again and again, and more than an object remembers.
    (prop_oneof![3 => 0..2_usize, 1 => 0..14_usize], write, 0..2_i64)
}

/// What a write makes of a document, or its refusal.
fn outcome(world: &World, manager: &str, live: Option<&Value>, write: &Write) -> Result<Value, ApplyError> {
    let updated = |subresource: &str, change: &dyn Fn(&mut Value)| {
        let mut new = live.cloned().unwrap_or_else(|| crate::test_schema::deployment(json!({}), json!({})));
        change(&mut new);
        update(&world.context(manager, subresource), live, &mut new).unwrap();
        Ok(new)
    };
    match write {
        Write::Apply { config, force } => apply(&world.context(manager, ""), live, config, *force),
        Write::Replace(document) => updated("", &|new| {
            let owners = new["metadata"]["managedFields"].take();
            *new = document.clone();
            new["metadata"]["managedFields"] = owners;
        }),
        Write::Label(labels) => updated("", &|new| new["metadata"]["labels"] = labels.clone()),
        Write::Status(conditions) => updated("status", &|new| new["status"] = conditions.clone()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn writes_leave_the_same_whether_owners_are_read_or_not(writes in prop::collection::vec(write(), 1..24)) {
        let mut world = World::new();
        for (manager, write, seconds) in &writes {
            world.second += seconds;
            let manager = format!("m{manager}");
            let unread = outcome(&world, &manager, world.live.as_ref(), write);
            let odd = world.live.as_ref().map(with_odd_owners);
            let read = outcome(&world, &manager, odd.as_ref(), write);
            match (unread, read) {
                (Ok(unread), Ok(read)) => {
                    prop_assert_eq!(&unread, &read);
                    world.live = Some(unread);
                }
                (Err(unread), Err(read)) => prop_assert_eq!(unread.to_string(), read.to_string()),
                (unread, read) => prop_assert!(false, "{unread:?} and {read:?}"),
            }
        }
    }

    #[test]
    fn an_unread_set_answers_as_a_read_one(left in paths(few()), right in paths(few())) {
        let (ours, theirs) = (set_of(&left), set_of(&right));
        for (ours, theirs) in [(&ours, &theirs), (&ours, &ours), (&ours, &ours.intersection(&theirs))] {
            let json = ours.to_json();
            prop_assert!(written::is_plain(&json));
            let (unread, read) = (Owned::of(&json).unwrap(), Owned::Read(ours.clone()));
            prop_assert!(matches!(unread, Owned::Written(_)));
            prop_assert_eq!(unread.meets(theirs), read.meets(theirs));
            prop_assert_eq!(unread.covers(theirs), read.covers(theirs));
            prop_assert_eq!(unread.is_subset(theirs), read.is_subset(theirs));
            prop_assert_eq!(unread == *theirs, read == *theirs);
            prop_assert_eq!(unread.intersection(theirs), read.intersection(theirs));
            let (mut unread, mut read) = (unread, read);
            unread.subtract(theirs);
            read.subtract(theirs);
            prop_assert_eq!(unread.is_empty(), read.is_empty());
            prop_assert_eq!(unread.to_json(), read.to_json());
        }
    }

    #[test]
    fn who_has_all_of_a_change_has_the_same_after_it(change in paths(few()), more in paths(few()), gone in paths(few())) {
        let (change, gone) = (set_of(&change), set_of(&gone));
        let mut owned = set_of(&more);
        owned.add(change.clone());
        let json = owned.to_json();
        let entry = json!({"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": json});
        let list = json!([entry]);
        let entries = entries::decode(Some(&list)).unwrap();
        let comparison = Comparison { modified: change.clone(), added: FieldSet::default(), removed: gone.clone() };
        let mut after = owned.clone();
        after.subtract(&change);
        after.subtract(&gone);
        after.add(change);
        prop_assert_eq!(ownership::has_all(&entries[0], &comparison), after == owned && owned.intersection(&gone).is_empty());
    }

    #[test]
    fn what_is_plain_reads_back_as_it_was_written(paths in paths(path_element())) {
        let json = set_of(&paths).to_json();
        let set = FieldSet::from_json(&json).unwrap();
        prop_assert!(!written::is_plain(&json) || (!set.is_empty() && set.to_json() == json));
    }
}

#[test]
fn what_is_written_in_two_ways_or_not_at_all_is_not_plain() {
    let plain = [
        json!({"f:a": {}}),
        json!({"f:a": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {}}, "v:\"x\"": {}, "i:-3": {}}),
        json!({"v:true": {}, "v:0": {}, "v:-12": {}}),
    ];
    for fields in plain {
        assert!(written::is_plain(&fields), "{fields}");
        assert_eq!(FieldSet::from_json(&fields).unwrap().to_json(), fields);
    }
    let others = [
        json!(null),
        json!({}),
        json!({".": {}}),
        json!({"f:a": {".": {}}}),
        json!({"f:a": {".": {"f:b": {}}, "f:c": {}}}),
        json!({"f:a": null}),
        json!({"x:a": {}}),
        json!({"f": {}}),
        json!({"é:": {}}),
        json!({"k:{}": {}}),
        json!({"k:{\"a\": 1}": {}}),
        json!({"k:{\"b\":1,\"a\":1}": {}}),
        json!({"k:{\"a\":1,\"a\":2}": {}}),
        json!({"k:{\"a\":1}}": {}}),
        json!({"v:\"\\u0061\"": {}}),
        json!({"v:\"<\"": {}}),
        json!({"v:\"a": {}}),
        json!({"v:1.0": {}}),
        json!({"v:-0": {}}),
        json!({"v:01": {}}),
        json!({"v:10000000000000000000": {}}),
        json!({"v:null": {}}),
        json!({"i:+1": {}}),
        json!({"i:": {}}),
    ];
    for fields in others {
        assert!(!written::is_plain(&fields), "{fields}");
    }
}
