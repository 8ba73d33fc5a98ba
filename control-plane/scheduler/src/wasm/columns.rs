//! A guest's copy of the cluster: which row is which node, and what the guest has to be told for it to be as the snapshot.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use mizzen_plugins_host::scheduler::Delta;

use super::column::Wanted;
use crate::node::NodeInfo;
use crate::snapshot::{Changes, Snapshot};

/// Texts in the dictionary after which it is begun anew: it only grows, and labels of pods come and go.
const TEXTS: usize = 1 << 18;

pub(super) struct Columns {
    wanted: Wanted,
    /// What the guest has of each row; none where the row is free.
    rows: Vec<Option<Arc<NodeInfo>>>,
    free: BTreeSet<u32>,
    by_name: HashMap<String, u32>,
    /// The row of each state of a node that the guest has: generations are unique to a node.
    by_generation: HashMap<u64, u32, BuildHasherDefault<Spread>>,
    dictionary: HashMap<String, u32>,
    /// Of the guest; 0 when it knows nothing.
    generation: u64,
    /// The snapshot's that the guest was brought up to.
    seen: u64,
    /// Rows with a state that is not the snapshot's: a trial's.
    tried: HashSet<u32>,
}

/// Generations count up: a multiplication spreads them well enough.
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Columns {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            rows: Vec::new(),
            free: BTreeSet::new(),
            by_name: HashMap::new(),
            by_generation: HashMap::default(),
            dictionary: HashMap::new(),
            generation: 0,
            seen: 0,
            tried: HashSet::new(),
        }
    }

    /// Everything that was told, for a guest that knows nothing; `None` when nothing was. Rows stay what they are, since
    /// cycles under way may name them.
    pub(super) fn again(&mut self) -> Option<Delta> {
        if self.generation == 0 {
            return None;
        }
        self.generation = 0;
        self.dictionary.clear();
        let rows = self.rows.iter().zip(0_u32..).filter(|(node, _)| node.is_some());
        let changed = rows.map(|(_, row)| (row, None)).collect();
        Some(self.encode(Vec::new(), changed))
    }

    /// The row of a node in exactly this state.
    pub(super) fn row(&self, node: &NodeInfo) -> Option<u32> {
        self.by_generation.get(&node.generation).copied()
    }

    pub(super) fn row_named(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn node(&self, row: u32) -> Option<&Arc<NodeInfo>> {
        self.rows.get(row as usize)?.as_ref()
    }

    /// What to tell the guest so that it has the snapshot; `None` when it has.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) -> Option<Delta> {
        if self.generation != 0 && self.seen == snapshot.generation && self.tried.is_empty() {
            return None;
        }
        let changes = if self.generation == 0 { Changes::All } else { snapshot.changed_since(self.seen) };
        self.seen = snapshot.generation;
        let tried = std::mem::take(&mut self.tried);
        let delta = match changes {
            Changes::All => {
                let gone = self.gone(snapshot);
                self.tell(gone, snapshot.nodes.iter())
            }
            Changes::Nodes(places) => {
                let restored = tried.into_iter().filter_map(|row| snapshot.position(&self.node(row)?.name));
                let places: BTreeSet<usize> = places.into_iter().chain(restored).collect();
                self.tell(Vec::new(), places.into_iter().filter_map(|place| snapshot.nodes.get(place)))
            }
        };
        if self.dictionary.len() > TEXTS { self.again() } else { delta }
    }

    /// What to tell the guest of nodes that are not as in the snapshot, since a trial put pods on them or took some away.
    pub(super) fn try_out<'a>(&mut self, nodes: impl Iterator<Item = &'a Arc<NodeInfo>>) -> Option<Delta> {
        let unknown: Vec<_> = nodes.filter(|node| self.row(node).is_none()).collect();
        if unknown.is_empty() {
            return None;
        }
        let delta = self.tell(Vec::new(), unknown.iter().copied());
        let rows: Vec<u32> = unknown.iter().filter_map(|node| self.row(node)).collect();
        self.tried.extend(rows);
        delta
    }

    /// Rows of nodes that the snapshot does not have.
    fn gone(&self, snapshot: &Snapshot) -> Vec<u32> {
        let nodes = self.rows.iter().zip(0_u32..).filter_map(|(node, row)| Some((node.as_ref()?, row)));
        nodes.filter(|(node, _)| snapshot.position(&node.name).is_none()).map(|(_, row)| row).collect()
    }

    fn tell<'a>(&mut self, removed: Vec<u32>, nodes: impl Iterator<Item = &'a Arc<NodeInfo>>) -> Option<Delta> {
        for row in &removed {
            if let Some(node) = self.rows.get_mut(*row as usize).and_then(Option::take) {
                self.by_name.remove(&node.name);
                self.by_generation.remove(&node.generation);
                self.free.insert(*row);
            }
        }
        let mut changed: Vec<(u32, Option<Arc<NodeInfo>>)> = Vec::new();
        for node in nodes {
            if self.row(node).is_some() {
                continue;
            }
            self.wanted.meet(node);
            let row = self.place(node);
            changed.push((row, self.put(row, node)));
        }
        if changed.is_empty() && removed.is_empty() && self.generation != 0 {
            return None;
        }
        Some(self.encode(removed, changed))
    }

    /// The next delta: the present state of the changed rows, each with what the guest has of it.
    fn encode(&mut self, removed: Vec<u32>, mut changed: Vec<(u32, Option<Arc<NodeInfo>>)>) -> Delta {
        changed.sort_unstable_by_key(|(row, _)| *row);
        let since = self.generation;
        self.generation += 1;
        let mut added = Vec::new();
        let Self { wanted, rows, dictionary, .. } = self;
        let mut intern = |text: String| {
            let next = dictionary.len().try_into().unwrap_or(u32::MAX);
            *dictionary.entry(text).or_insert_with_key(|text| {
                added.push(text.clone());
                next
            })
        };
        let now: Vec<&Arc<NodeInfo>> = changed.iter().filter_map(|(row, _)| rows[*row as usize].as_ref()).collect();
        let is_told = |kind: &super::column::Kind| {
            changed.iter().zip(&now).any(|((_, before), now)| before.as_ref().is_none_or(|before| kind.differs(before, now)))
        };
        let told = wanted.columns.iter().filter(|(_, kind)| is_told(kind));
        let columns = told.map(|(name, kind)| kind.column(name.clone(), now.iter().map(|node| &***node), &mut intern));
        let columns = columns.collect();
        let changed = changed.iter().map(|(row, _)| *row).collect();
        Delta { since, generation: self.generation, removed, changed, dictionary: added, columns }
    }

    fn place(&mut self, node: &NodeInfo) -> u32 {
        if let Some(row) = self.by_name.get(&node.name) {
            return *row;
        }
        let row = self.free.pop_first().unwrap_or_else(|| {
            self.rows.push(None);
            u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX)
        });
        self.by_name.insert(node.name.clone(), row);
        row
    }

    /// What was there before.
    fn put(&mut self, row: u32, node: &Arc<NodeInfo>) -> Option<Arc<NodeInfo>> {
        let before = self.rows[row as usize].replace(Arc::clone(node));
        if let Some(before) = &before {
            self.by_generation.remove(&before.generation);
        }
        self.by_generation.insert(node.generation, row);
        before
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;

    use k8s_openapi::api::core::v1::Taint;
    use mizzen_plugins_host::scheduler::Values;
    use proptest::prelude::*;

    use super::super::column::Cell;
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
            assert_eq!(error, super::super::column::UnknownColumn(name.to_owned()));
        }
    }
}
