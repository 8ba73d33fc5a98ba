//! The state machine, in memory and on disk, against a model too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mizzen_store::archive::Archive;
use mizzen_store::redb_state::{RedbState, Step};
use mizzen_store::state::{Changes, Saved, State};
use mizzen_store::testing::document;
use mizzen_store::{Compare, RangeOptions, StoreError, Txn, TxnOutcome};
use proptest::prelude::*;

/// Every state there ever was: key to writing revision.
#[derive(Default)]
struct Model {
    past: Vec<BTreeMap<String, u64>>,
}

impl Model {
    fn now(&self) -> BTreeMap<String, u64> {
        self.past.last().cloned().unwrap_or_default()
    }

    fn revision(&self) -> u64 {
        self.past.len() as u64
    }

    fn at(&self, revision: u64) -> BTreeMap<String, u64> {
        revision.checked_sub(1).map(|index| self.past[index as usize].clone()).unwrap_or_default()
    }

    /// Whether the transaction holds; applies it if so.
    fn apply(&mut self, txn: &Txn) -> bool {
        let mut now = self.now();
        if txn.compares.iter().any(|compare| now.get(&compare.key).copied().unwrap_or(0) != compare.revision) {
            return false;
        }
        let next = self.revision() + 1;
        now.extend(txn.puts.iter().map(|(key, _)| (key.clone(), next)));
        now.retain(|key, _| !txn.deletes.contains(key));
        if now != self.now() {
            self.past.push(now);
        }
        true
    }

    /// Key, revision, whether it exists after, and the revision before.
    fn events(&self, prefix: &str, after: u64) -> Vec<(String, u64, bool, u64)> {
        let mut events = Vec::new();
        for revision in after + 1..=self.revision() {
            let (before, now) = (self.at(revision - 1), self.at(revision));
            let keys: BTreeSet<&String> = before.keys().chain(now.keys()).filter(|key| key.starts_with(prefix)).collect();
            for key in keys.into_iter().filter(|key| before.get(*key) != now.get(*key)) {
                events.push((key.clone(), revision, now.contains_key(key), before.get(key).copied().unwrap_or(0)));
            }
        }
        events
    }
}

#[derive(Clone, Debug)]
enum Action {
    Write { puts: Vec<u8>, deletes: Vec<u8>, compare: Option<(u8, i8)> },
    Compact(u8),
    Trim(u16),
    Reload(u16),
}

fn action() -> impl Strategy<Value = Action> {
    let keys = || proptest::collection::vec(0..6_u8, 0..4);
    prop_oneof![
        12 => (keys(), keys(), proptest::option::of((0..6_u8, -1..2_i8)))
            .prop_map(|(puts, deletes, compare)| Action::Write { puts, deletes, compare }),
        1 => any::<u8>().prop_map(Action::Compact),
        1 => (0..4000_u16).prop_map(Action::Trim),
        1 => (0..4000_u16).prop_map(Action::Reload),
    ]
}

fn key(number: u8) -> String {
    format!("/{}/{}", if number.is_multiple_of(2) { "even" } else { "odd" }, number)
}

fn sorted(changes: impl IntoIterator<Item = Changes>) -> Vec<(String, u64, bool, u64)> {
    let mut events: Vec<_> = changes
        .into_iter()
        .flat_map(|changes| changes.to_vec())
        .map(|event| {
            let object = event.object.as_ref().map(|object| object.revision());
            assert!(object.is_none_or(|revision| revision == event.revision));
            (event.key.to_string(), event.revision, object.is_some(), event.previous.map_or(0, |object| object.revision()))
        })
        .collect();
    events.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    events
}

fn check(model: &Model, state: &State, disk: &RedbState, compacted: u64) {
    assert_eq!(state.revision(), model.revision());
    assert_eq!(state.compacted(), compacted);
    for revision in 0..=model.revision() {
        let options = RangeOptions { revision: Some(revision), ..RangeOptions::default() };
        for prefix in ["", "/even/", "/odd/3"] {
            let wanted: Vec<(String, u64)> = model.at(revision).into_iter().filter(|(key, _)| key.starts_with(prefix)).collect();
            let found = |range: mizzen_store::Range| {
                range.items.iter().map(|(key, object)| (key.to_string(), object.revision())).collect::<Vec<_>>()
            };
            match state.range(prefix, &options) {
                Ok(Some(range)) => assert_eq!(found(range), wanted),
                Ok(None) => assert!(revision < state.floor()),
                Err(StoreError::Compacted { .. }) => assert!(revision < compacted),
                Err(error) => panic!("{error}"),
            }
            match disk.range(prefix, &options, revision) {
                Ok(range) => assert_eq!(found(range), wanted),
                Err(StoreError::Compacted { .. }) => assert!(revision < compacted),
                Err(error) => panic!("{error}"),
            }
            if revision >= state.floor() {
                assert_eq!(sorted(state.changes_after(prefix, revision)), model.events(prefix, revision));
            }
            if revision >= compacted {
                let (changes, until) = disk.changes(prefix, revision, u64::MAX - 1).expect("is kept");
                assert_eq!(until, u64::MAX - 1);
                assert_eq!(sorted(changes), model.events(prefix, revision));
            }
        }
    }
}

fn memory() -> RedbState {
    RedbState::with_backend(redb::backends::InMemoryBackend::new(), Path::new("memory")).expect("opens")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn state_and_disk_agree_with_the_model(actions in proptest::collection::vec(action(), 1..60)) {
        let (mut model, mut state, disk) = (Model::default(), State::restore(Saved::default()), memory());
        let mut compacted = 0;
        for action in actions {
            match action {
                Action::Write { puts, deletes, compare } => {
                    let compares = compare.map(|(number, off)| {
                        let present = model.now().get(&key(number)).copied().unwrap_or(0);
                        Compare { key: key(number), revision: present.saturating_add_signed(off.into()) }
                    });
                    let txn = Txn {
                        compares: compares.into_iter().collect(),
                        puts: puts.iter().map(|&number| (key(number), document("x", number.into()))).collect(),
                        deletes: deletes.iter().map(|&number| key(number)).collect(),
                    };
                    let held = model.apply(&txn);
                    let (outcome, changes) = state.apply(&txn);
                    prop_assert_eq!(matches!(outcome, TxnOutcome::Applied { .. }), held);
                    let steps: Vec<Step> = changes.into_iter().map(Step::Changes).collect();
                    disk.commit(&steps, Some(b"note"), false).expect("commits");
                }
                Action::Compact(part) => {
                    let revision = model.revision() * u64::from(part) / 255;
                    compacted = compacted.max(revision);
                    state.compact(revision);
                    disk.commit(&[Step::Compact(revision)], None, false).expect("commits");
                }
                Action::Trim(bytes) => state.trim(bytes.into(), u64::MAX),
                Action::Reload(bytes) => state = State::restore(disk.load(bytes.into()).expect("loads").saved),
            }
        }
        check(&model, &state, &disk, compacted);

        // The same again on a server that got a snapshot.
        let dump = disk.freeze().and_then(|frozen| frozen.dump()).expect("dumps");
        let other = memory();
        other.restore(&dump).expect("restores");
        let state = State::restore(other.load(usize::MAX).expect("loads").saved);
        check(&model, &state, &other, compacted);
    }
}

#[test]
fn a_damaged_snapshot_changes_nothing() {
    let (disk, other) = (memory(), memory());
    let mut state = State::default();
    let txn = Txn { puts: vec![("/a".into(), document("a", 1))], ..Txn::default() };
    let steps: Vec<Step> = state.apply(&txn).1.into_iter().map(Step::Changes).collect();
    disk.commit(&steps, None, true).expect("commits");
    other.commit(&steps, None, true).expect("commits");
    let dump = disk.freeze().and_then(|frozen| frozen.dump()).expect("dumps");
    for end in 0..dump.len() {
        assert!(matches!(other.restore(&dump[..end]), Err(StoreError::Io { .. })), "cut at {end}");
    }
    assert_eq!(other.load(0).expect("loads").saved.revision, 1);
}
