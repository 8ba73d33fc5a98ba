//! The cluster as this plugin sees it: the columns that it asked for, kept up to date by deltas.

use std::collections::{BTreeMap, BTreeSet};

use crate::bindings::mizzen::scheduler::types::Delta;
use crate::columns::{Column, Columns, Data};

/// Columns in memory.
pub struct Cluster {
    /// Those that were asked for, in the order of their handles.
    columns: Vec<Data>,
    names: Vec<String>,
    /// Those that a name with `/*` brought.
    others: BTreeMap<String, Data>,
    dictionary: Vec<String>,
    rows: BTreeSet<u32>,
    generation: u64,
}

impl Cluster {
    pub(crate) fn new(columns: Columns) -> Self {
        let names = columns.names;
        Self {
            columns: vec![Data::Empty; names.len()],
            names,
            others: BTreeMap::new(),
            dictionary: Vec::new(),
            rows: BTreeSet::new(),
            generation: 0,
        }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// # Panics
    /// On a delta that builds on a generation that was never told: what it leaves out is not known here.
    pub(crate) fn change(&mut self, delta: Delta) {
        if delta.since == 0 {
            self.columns.fill(Data::Empty);
            self.others.clear();
            self.dictionary.clear();
            self.rows.clear();
        } else {
            assert_eq!(delta.since, self.generation, "a delta that builds on another generation");
        }
        self.generation = delta.generation;
        self.dictionary.extend(delta.dictionary);
        for row in &delta.removed {
            self.rows.remove(row);
            self.columns.iter_mut().chain(self.others.values_mut()).for_each(|column| column.forget(*row));
        }
        self.rows.extend(&delta.changed);
        for column in delta.columns {
            let data = match self.names.iter().position(|name| *name == column.name) {
                Some(place) => &mut self.columns[place],
                None => self.others.entry(column.name).or_default(),
            };
            data.change(&delta.changed, &column.validity, column.values);
        }
    }

    /// Every node there is.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        self.rows.iter().map(|row| self.node(*row))
    }

    pub fn node(&self, row: u32) -> Node<'_> {
        Node { cluster: self, row }
    }

    fn text(&self, index: u32) -> Option<&str> {
        self.dictionary.get(index as usize).map(String::as_str)
    }
}

/// One node: a row of the columns.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    cluster: &'a Cluster,
    row: u32,
}

impl<'a> Node<'a> {
    pub fn row(self) -> u32 {
        self.row
    }

    /// Its value in a column; none where it has none (the label is not set, the resource is unknown).
    pub fn get<T: Value + ?Sized>(self, column: Column<T>) -> Option<T::Is<'a>> {
        T::read(self.cluster, &self.cluster.columns[column.place], self.row)
    }

    /// What a name with `/*` brought: `node.below("allocatable/")` answers each resource with its amount.
    pub fn below(self, prefix: &'a str) -> impl Iterator<Item = (&'a str, i64)> {
        self.cluster
            .others
            .iter()
            .filter_map(move |(name, data)| Some((name.strip_prefix(prefix)?, i64::read(self.cluster, data, self.row)?)))
    }

    /// The whole Node as JSON; slower than a column. Natively none.
    pub fn object(self) -> Option<String> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::mizzen::scheduler::cluster::node(self.row);
        #[cfg(not(target_family = "wasm"))]
        None
    }

    /// What stands at a JSON pointer of the Node, as JSON; slower than a column. Natively none.
    pub fn value(self, pointer: &str) -> Option<String> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::mizzen::scheduler::cluster::node_value(self.row, pointer);
        #[cfg(not(target_family = "wasm"))]
        {
            let _ = pointer;
            None
        }
    }

    /// The pods on it as JSON, at most 1,024; slower than a column. Natively none.
    pub fn pods(self) -> Vec<String> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::mizzen::scheduler::cluster::pods_on(self.row);
        #[cfg(not(target_family = "wasm"))]
        Vec::new()
    }
}

/// What can stand in a column.
pub trait Value {
    type Is<'a>;
    #[doc(hidden)]
    fn read<'a>(cluster: &'a Cluster, data: &'a Data, row: u32) -> Option<Self::Is<'a>>;
}

impl Value for i64 {
    type Is<'a> = i64;
    fn read<'a>(_: &'a Cluster, data: &'a Data, row: u32) -> Option<i64> {
        let Data::Integers(values) = data else { return None };
        *values.get(row as usize)?
    }
}

impl Value for f64 {
    type Is<'a> = f64;
    fn read<'a>(_: &'a Cluster, data: &'a Data, row: u32) -> Option<f64> {
        let Data::Numbers(values) = data else { return None };
        *values.get(row as usize)?
    }
}

impl Value for bool {
    type Is<'a> = bool;
    fn read<'a>(_: &'a Cluster, data: &'a Data, row: u32) -> Option<bool> {
        let Data::Flags(values) = data else { return None };
        *values.get(row as usize)?
    }
}

impl Value for str {
    type Is<'a> = &'a str;
    fn read<'a>(cluster: &'a Cluster, data: &'a Data, row: u32) -> Option<&'a str> {
        let Data::Texts(values) = data else { return None };
        cluster.text((*values.get(row as usize)?)?)
    }
}

impl Value for [String] {
    type Is<'a> = Vec<&'a str>;
    fn read<'a>(cluster: &'a Cluster, data: &'a Data, row: u32) -> Option<Vec<&'a str>> {
        let Data::TextLists(values) = data else { return None };
        Some(values.get(row as usize)?.iter().filter_map(|text| cluster.text(*text)).collect())
    }
}
