//! Guests that are told by deltas know what guests know that are told everything.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use k8s_openapi::api::core::v1::Taint;
use mizzen_plugins_host::scheduler::Values;
use proptest::prelude::*;

use super::super::column::{Cell, UnknownColumn};
use super::*;
use crate::pod::PodInfo;
use crate::resources::Amounts;

const COLUMNS: &[&str] = &[
    "name",
    "unschedulable",
    "taints",
    "labels",
    "label/zone",
    "pods",
    "scoring/cpu",
    "allocatable/*",
    "requested/*",
    "pods-labelled/app",
];

/// What a guest does with deltas.
#[derive(Default)]
struct Guest {
    generation: u64,
    dictionary: Vec<String>,
    rows: BTreeMap<u32, BTreeMap<String, Cell>>,
}

impl Guest {
    fn apply(&mut self, delta: &Delta) {
        if delta.since == 0 {
            *self = Self::default();
        }
        assert_eq!(delta.since, self.generation, "deltas build on each other");
        self.generation = delta.generation;
        self.dictionary.extend(delta.dictionary.iter().cloned());
        delta.removed.iter().for_each(|row| assert!(self.rows.remove(row).is_some(), "it was there"));
        for row in &delta.changed {
            self.rows.entry(*row).or_default();
        }
        for column in &delta.columns {
            for (at, row) in delta.changed.iter().enumerate() {
                let valid = column.validity.get(at / 8).is_none_or(|byte| byte & (1 << (at % 8)) != 0);
                let text = |index: u32| self.dictionary[index as usize].clone();
                let cell = valid.then(|| match &column.values {
                    Values::Integers(values) => Cell::Integer(values[at]),
                    Values::Flags(values) => Cell::Flag(values[at]),
                    Values::Texts(values) => Cell::Text(text(values[at])),
                    Values::TextLists(lists) => {
                        let start = if at == 0 { 0 } else { lists.ends[at - 1] as usize };
                        Cell::Texts(lists.items[start..lists.ends[at] as usize].iter().map(|item| text(*item)).collect())
                    }
                    Values::Numbers(_) => panic!("no column has numbers"),
                });
                let cells = self.rows.get_mut(row).expect("it is changed");
                match cell {
                    Some(cell) => cells.insert(column.name.clone(), cell),
                    None => cells.remove(&column.name),
                };
            }
        }
    }

    /// By the nodes' names, without the rows.
    fn nodes(&self) -> BTreeMap<String, BTreeMap<String, Cell>> {
        let name = |cells: &BTreeMap<String, Cell>| match &cells["name"] {
            Cell::Text(name) => name.clone(),
            other => panic!("{other:?} is no name"),
        };
        self.rows.values().map(|cells| (name(cells), cells.clone())).collect()
    }
}

fn columns() -> Columns {
    let names: Vec<String> = COLUMNS.iter().map(|name| (*name).to_owned()).collect();
    Columns::new(Wanted::of(&names).unwrap())
}

/// What a guest that has never heard of anything would have.
fn anew(nodes: &[Arc<NodeInfo>]) -> BTreeMap<String, BTreeMap<String, Cell>> {
    let mut guest = Guest::default();
    guest.apply(&columns().follow(&Snapshot::of(nodes.to_vec())).unwrap());
    guest.nodes()
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Remove(u8),
    Relabel(u8, u8),
    Taint(u8, u8),
    Place(u8, u8),
    Leave(u8),
    Grow(u8, u8),
    /// Pods are put on copies of nodes, which the guest is told of and then forgets.
    Try(u8),
    Follow,
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..6_u8;
    prop_oneof![
        node.clone().prop_map(Step::Add),
        node.clone().prop_map(Step::Remove),
        (node.clone(), 0..3_u8).prop_map(|(node, value)| Step::Relabel(node, value)),
        (node.clone(), 0..3_u8).prop_map(|(node, value)| Step::Taint(node, value)),
        (node.clone(), 0..4_u8).prop_map(|(node, value)| Step::Place(node, value)),
        node.clone().prop_map(Step::Leave),
        (node.clone(), 0..3_u8).prop_map(|(node, value)| Step::Grow(node, value)),
        node.prop_map(Step::Try),
        Just(Step::Follow),
    ]
}

fn pod(uid: u64, value: u8) -> Arc<PodInfo> {
    let others = (value == 3).then(|| ("example.com/gpu".to_owned(), 1)).into_iter().collect();
    Arc::new(PodInfo {
        uid: uid.to_string(),
        requests: Amounts { milli_cpu: 100 * i64::from(value), others, ..Amounts::default() },
        scoring: (100 * i64::from(value), 0),
        labels: Arc::new(BTreeMap::from([("app".to_owned(), value.to_string())])),
        ..PodInfo::default()
    })
}

/// The cluster as the scheduler has it: nodes by name, and a snapshot that is brought up to date by what changed.
#[derive(Default)]
struct Cluster {
    nodes: BTreeMap<String, Arc<NodeInfo>>,
    snapshot: Snapshot,
    members_changed: bool,
    changed: BTreeSet<String>,
    generation: u64,
    uid: u64,
}

impl Cluster {
    fn change(&mut self, number: u8, change: impl FnOnce(&mut NodeInfo)) {
        let name = format!("n{number}");
        if let Some(node) = self.nodes.get_mut(&name) {
            let node = Arc::make_mut(node);
            change(node);
            self.generation += 1;
            // Apart from those that adding pods gives.
            node.generation = u64::MAX - self.generation;
            self.changed.insert(name);
        }
    }

    fn apply(&mut self, step: &Step) {
        self.uid += 1;
        let uid = self.uid;
        match step {
            Step::Add(number) => {
                let name = format!("n{number}");
                if let Entry::Vacant(vacant) = self.nodes.entry(name) {
                    let node = NodeInfo { name: vacant.key().clone(), ..NodeInfo::default() };
                    vacant.insert(Arc::new(node));
                    self.members_changed = true;
                    self.change(*number, |_| {});
                }
            }
            Step::Remove(number) => self.members_changed |= self.nodes.remove(&format!("n{number}")).is_some(),
            Step::Relabel(number, value) => self.change(*number, |node| {
                let labels = (*value > 0).then(|| ("zone".to_owned(), value.to_string()));
                node.labels = Arc::new(labels.into_iter().collect());
            }),
            Step::Taint(number, count) => self.change(*number, |node| {
                let taint = |n: u8| Taint { key: n.to_string(), effect: "NoSchedule".into(), ..Taint::default() };
                node.taints = Arc::new((0..*count).map(taint).collect());
                node.unschedulable = *count == 2;
            }),
            Step::Place(number, value) => self.change(*number, |node| node.add_pod(pod(uid, *value))),
            Step::Leave(number) => self.change(*number, |node| {
                if let Some(uid) = node.pods.first().map(|pod| pod.uid.clone()) {
                    node.remove_pod(&uid);
                }
            }),
            Step::Grow(number, value) => self.change(*number, |node| {
                node.allocatable.milli_cpu = i64::from(*value) * 1000;
                if *value == 2 {
                    node.allocatable.others.insert("example.com/gpu".into(), 4);
                }
            }),
            Step::Try(_) | Step::Follow => {}
        }
    }

    fn refresh(&mut self) -> &Snapshot {
        let changed = std::mem::take(&mut self.changed);
        if std::mem::take(&mut self.members_changed) {
            self.snapshot.reset(self.nodes.values().cloned().collect());
        } else {
            self.snapshot.update(changed.iter().filter_map(|name| self.nodes.get(name).cloned()));
        }
        &self.snapshot
    }
}

proptest! {
    #[test]
    fn deltas_come_to_the_same_as_the_whole_cluster(steps in prop::collection::vec(step(), 1..60)) {
        let (mut cluster, mut columns, mut guest) = (Cluster::default(), columns(), Guest::default());
        for step in steps {
            cluster.apply(&step);
            let snapshot = cluster.refresh();
            match step {
                Step::Follow => {
                    if let Some(delta) = columns.follow(snapshot) {
                        guest.apply(&delta);
                    }
                    let nodes = &snapshot.nodes;
                    prop_assert_eq!(guest.nodes(), anew(nodes));
                    for node in nodes {
                        let row = columns.row(node).expect("the guest has it");
                        prop_assert_eq!(&guest.rows[&row]["name"], &Cell::Text(node.name.clone()));
                    }
                    prop_assert!(columns.follow(snapshot).is_none(), "nothing is told twice");
                }
                Step::Try(number) => {
                    if let Some(delta) = columns.follow(snapshot) {
                        guest.apply(&delta);
                    }
                    let Some(place) = snapshot.position(&format!("n{number}")) else { continue };
                    let mut tried = snapshot.nodes[place].clone();
                    Arc::make_mut(&mut tried).add_pod(pod(0, 3));
                    guest.apply(&columns.try_out(std::iter::once(&tried)).expect("it is unknown"));
                    let row = columns.row(&tried).expect("it is told of");
                    prop_assert_eq!(&guest.rows[&row]["pods"], &Cell::Integer(tried.pods.len() as i64));
                    prop_assert!(columns.try_out(std::iter::once(&tried)).is_none());
                }
                _ => {}
            }
        }
    }
}

#[test]
fn placing_a_pod_tells_of_one_row_and_of_what_it_changes_only() {
    let (mut cluster, mut columns) = (Cluster::default(), columns());
    (0..3).for_each(|number| cluster.apply(&Step::Add(number)));
    let first = columns.follow(cluster.refresh()).unwrap();
    assert_eq!((first.since, first.changed.len()), (0, 3));
    cluster.apply(&Step::Place(1, 2));
    let second = columns.follow(cluster.refresh()).unwrap();
    assert_eq!((second.since, second.removed.len(), second.changed.as_slice()), (first.generation, 0, &[1][..]));
    let names: BTreeSet<&str> = second.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["pods", "pods-labelled/app", "requested/cpu", "scoring/cpu"]));
}

#[test]
fn what_no_column_shows_is_not_told_but_is_there_to_be_looked_at() {
    let (mut cluster, mut columns) = (Cluster::default(), Columns::new(Wanted::of(&["label/zone".to_owned()]).unwrap()));
    (0..3).for_each(|number| cluster.apply(&Step::Add(number)));
    let first = columns.follow(cluster.refresh()).unwrap();
    assert_eq!(columns.replaced(), [0, 1, 2]);
    cluster.apply(&Step::Place(1, 2));
    assert!(columns.follow(cluster.refresh()).is_none());
    assert_eq!((columns.replaced(), columns.node(1).unwrap().pods.len()), (vec![1], 1));
    cluster.apply(&Step::Relabel(1, 2));
    let second = columns.follow(cluster.refresh()).unwrap();
    assert_eq!((second.since, second.changed.as_slice()), (first.generation, &[1][..]));
}

#[test]
fn rows_of_nodes_that_left_are_given_to_others() {
    let (mut cluster, mut columns) = (Cluster::default(), columns());
    (0..3).for_each(|number| cluster.apply(&Step::Add(number)));
    columns.follow(cluster.refresh());
    cluster.apply(&Step::Remove(1));
    cluster.apply(&Step::Add(4));
    let delta = columns.follow(cluster.refresh()).unwrap();
    assert_eq!((delta.removed.as_slice(), delta.changed.as_slice()), (&[1][..], &[1][..]));
}

#[test]
fn a_guest_that_knows_nothing_is_told_everything_under_the_same_rows() {
    let (mut cluster, mut columns) = (Cluster::default(), columns());
    assert!(columns.again().is_none());
    (0..3).for_each(|number| cluster.apply(&Step::Add(number)));
    columns.follow(cluster.refresh());
    cluster.apply(&Step::Remove(0));
    cluster.apply(&Step::Place(2, 1));
    columns.follow(cluster.refresh());
    let (mut guest, delta) = (Guest::default(), columns.again().unwrap());
    assert_eq!((delta.since, delta.changed.as_slice()), (0, &[1, 2][..]));
    guest.apply(&delta);
    assert_eq!(guest.nodes(), anew(&cluster.refresh().nodes));
    cluster.apply(&Step::Place(1, 1));
    guest.apply(&columns.follow(cluster.refresh()).unwrap());
    assert_eq!(guest.nodes(), anew(&cluster.refresh().nodes));
}

#[test]
fn unknown_columns_are_named() {
    for name in ["nonsense", "label/", "allocatable", "colour/red"] {
        let Err(error) = Wanted::of(&[name.to_owned()]) else { panic!("{name} is known") };
        assert_eq!(error, UnknownColumn(name.to_owned()));
    }
}
