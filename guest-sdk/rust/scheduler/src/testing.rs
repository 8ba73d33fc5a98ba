//! A cluster for unit tests: they run natively, with `cargo test`.

use std::collections::BTreeMap;

use crate::bindings::mizzen::scheduler::types::{self, Column, Delta, TextLists, Values};
use crate::{Plugin, Pod, Running};

/// A value of a node in a column.
#[derive(Clone, Debug)]
pub enum Cell {
    Integer(i64),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&[&str]> for Cell {
    fn from(value: &[&str]) -> Self {
        Self::Texts(value.iter().map(|text| (*text).to_owned()).collect())
    }
}

/// A plugin that was told of some nodes.
pub struct Bench<P> {
    running: Running<P>,
    nodes: Vec<String>,
}

impl<P: Plugin> Bench<P> {
    /// Each node by its name and its columns, such as `("a", &[("label/zone", "north".into())])`.
    ///
    /// # Panics
    /// On settings that the plugin refuses.
    pub fn new(settings: &str, nodes: &[(&str, &[(&str, Cell)])]) -> Self {
        let mut running = Running::start(settings).unwrap_or_else(|why| panic!("{why}"));
        running.update(delta(nodes));
        Self { running, nodes: nodes.iter().map(|(name, _)| (*name).to_owned()).collect() }
    }

    /// Each node's score for this pod; empty where the plugin has no opinion.
    ///
    /// # Panics
    /// When the pod is turned down as a whole.
    pub fn scores(&mut self, pod: &Pod) -> BTreeMap<String, i64> {
        let (state, rows) = self.begin(pod);
        let state = self.running.pre_score(pod.cycle, state, rows.clone());
        let scores = self.running.score(pod.cycle, state, rows);
        self.running.end(pod.cycle);
        self.nodes.iter().cloned().zip(scores).collect()
    }

    /// Why each node that is turned down is.
    ///
    /// # Panics
    /// When the pod is turned down as a whole.
    pub fn rejected(&mut self, pod: &Pod) -> BTreeMap<String, String> {
        let (state, rows) = self.begin(pod);
        let verdicts = self.running.filter(pod.cycle, state, rows);
        self.running.end(pod.cycle);
        let reason = |verdict: u32| Some(verdicts.rejections.get(verdict.checked_sub(1)? as usize)?.reasons.join(", "));
        let nodes = self.nodes.iter().cloned().zip(verdicts.nodes.iter().copied());
        nodes.filter_map(|(name, verdict)| Some((name, reason(verdict)?))).collect()
    }

    /// The plugin itself, for everything else.
    pub fn running(&mut self) -> &mut Running<P> {
        &mut self.running
    }

    fn begin(&mut self, pod: &Pod) -> (Vec<u8>, Vec<u32>) {
        let state = self.running.pre_filter(pod.clone()).unwrap_or_else(|no| panic!("{}", no.reasons.join(", ")));
        (state, (0..self.nodes.len() as u32).collect())
    }
}

/// A pod with these labels and requests.
pub fn pod(name: &str, labels: &[(&str, &str)], requests: &[(&str, i64)]) -> Pod {
    let owned = |pairs: &[(&str, i64)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect::<Vec<_>>();
    Pod {
        cycle: 1,
        uid: name.to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        annotations: Vec::new(),
        priority: 0,
        requests: owned(requests),
        scoring: owned(requests),
        node_selector: Vec::new(),
        tolerations: Vec::new(),
        affinity: None,
        owner: String::new(),
    }
}

fn delta(nodes: &[(&str, &[(&str, Cell)])]) -> Delta {
    let mut dictionary: Vec<String> = Vec::new();
    let mut names: Vec<&str> = nodes.iter().flat_map(|(_, cells)| cells.iter().map(|(name, _)| *name)).collect();
    names.sort_unstable();
    names.dedup();
    let mut index = |text: &str| {
        let place = dictionary.iter().position(|known| known == text).unwrap_or_else(|| {
            dictionary.push(text.to_owned());
            dictionary.len() - 1
        });
        place as u32
    };
    let mut columns = Vec::new();
    for name in names {
        let cells: Vec<Option<&Cell>> =
            nodes.iter().map(|(_, cells)| cells.iter().find(|(of, _)| *of == name).map(|(_, cell)| cell)).collect();
        let mut validity = vec![0u8; nodes.len().div_ceil(8)];
        cells.iter().enumerate().filter(|(_, cell)| cell.is_some()).for_each(|(n, _)| validity[n / 8] |= 1 << (n % 8));
        let values = match cells.iter().flatten().next() {
            Some(Cell::Integer(_)) => {
                Values::Integers(cells.iter().map(|cell| if let Some(Cell::Integer(n)) = cell { *n } else { 0 }).collect())
            }
            Some(Cell::Flag(_)) => Values::Flags(cells.iter().map(|cell| matches!(cell, Some(Cell::Flag(true)))).collect()),
            Some(Cell::Text(_)) => {
                Values::Texts(cells.iter().map(|cell| if let Some(Cell::Text(text)) = cell { index(text) } else { 0 }).collect())
            }
            _ => {
                let mut lists = TextLists { ends: Vec::new(), items: Vec::new() };
                for cell in &cells {
                    if let Some(Cell::Texts(texts)) = cell {
                        lists.items.extend(texts.iter().map(|text| index(text)));
                    }
                    lists.ends.push(lists.items.len() as u32);
                }
                Values::TextLists(lists)
            }
        };
        columns.push(Column { name: name.to_owned(), validity, values });
    }
    let changed: Vec<types::Row> = (0..nodes.len() as u32).collect();
    Delta { since: 0, generation: 1, removed: Vec::new(), changed, dictionary, columns }
}
