//! A guest's copy of the cluster: which row is which node, and what the guest has to be told for it to be as the snapshot.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use mizzen_plugins_host::scheduler::Delta;

use super::column::Wanted;
use crate::node::NodeInfo;
use crate::snapshot::{Changes, Lineage, Snapshot};

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
    /// The snapshot that the guest was brought up to, and its generation.
    seen: Option<(Lineage, u64)>,
    /// Rows with a state that is not the snapshot's: a trial's.
    tried: HashSet<u32>,
    /// Rows that are another node now, or the same one in another state, or free.
    replaced: Vec<u32>,
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
            seen: None,
            tried: HashSet::new(),
            replaced: Vec::new(),
        }
    }

    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
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
        self.encode(Vec::new(), changed)
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

    /// The rows that are not what they were when this was asked last, whether or not the guest was told of it.
    pub(super) fn replaced(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.replaced)
    }

    /// What to tell the guest so that it has the snapshot; `None` when it has, as far as its columns go.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) -> Option<Delta> {
        let seen = self.seen.replace((snapshot.lineage, snapshot.generation));
        if self.generation != 0 && self.seen == seen && self.tried.is_empty() {
            return None;
        }
        let changes = match seen {
            Some((lineage, generation)) if self.generation != 0 && lineage == snapshot.lineage => {
                snapshot.changed_since(generation)
            }
            _ => Changes::All,
        };
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
                self.replaced.push(*row);
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
        self.encode(removed, changed)
    }

    /// The next delta: the present state of the changed rows, each with what the guest has of it. `None` when that is the same in
    /// all columns.
    fn encode(&mut self, removed: Vec<u32>, mut changed: Vec<(u32, Option<Arc<NodeInfo>>)>) -> Option<Delta> {
        changed.sort_unstable_by_key(|(row, _)| *row);
        let since = self.generation;
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
        let columns: Vec<_> = columns.collect();
        let has_new = changed.iter().any(|(_, before)| before.is_none());
        if since != 0 && removed.is_empty() && columns.is_empty() && !has_new {
            return None;
        }
        self.generation += 1;
        let changed = changed.iter().map(|(row, _)| *row).collect();
        Some(Delta { since, generation: self.generation, removed, changed, dictionary: added, columns })
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
        self.replaced.push(row);
        before
    }
}

#[cfg(test)]
mod tests;
