//! What the columns hold that a plugin may ask for (`column` of `plugins/wit/scheduler`).

use std::collections::BTreeSet;
use std::sync::Arc;

use mizzen_plugins_host::scheduler::{Column, TextLists, Values};

use super::annotations;
use crate::node::NodeInfo;
use crate::resources::Amounts;

/// A plugin asks for something that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no column {0:?}")]
pub struct UnknownColumn(pub String);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Unschedulable,
    Taints,
    Images,
    Labels,
    Pods,
    ScoringCpu,
    ScoringMemory,
    Allocatable(String),
    Requested(String),
    Label(String),
    Annotation(String),
    PodsLabelled(String),
}

/// What a plugin asked for: some columns by name, some kinds of columns for every resource.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) columns: Vec<(String, Kind)>,
    all_allocatable: bool,
    all_requested: bool,
    /// Resources that have columns since one of the two above is set.
    resources: BTreeSet<String>,
}

/// Resources that every node has.
const USUAL: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

impl Wanted {
    /// # Errors
    /// Names the first that is unknown.
    pub(super) fn of(names: &[String]) -> Result<Self, UnknownColumn> {
        let mut wanted = Self::default();
        for name in names {
            match name.as_str() {
                "allocatable/*" => wanted.all_allocatable = true,
                "requested/*" => wanted.all_requested = true,
                name => {
                    let kind = Kind::of(name).ok_or_else(|| UnknownColumn(name.to_owned()))?;
                    wanted.add(name.to_owned(), kind);
                }
            }
        }
        USUAL.iter().for_each(|resource| wanted.add_resource(resource));
        if wanted.all_allocatable {
            wanted.add("allocatable/pods".to_owned(), Kind::Allocatable("pods".to_owned()));
        }
        Ok(wanted)
    }

    /// Makes columns for resources that are new with this node.
    pub(super) fn meet(&mut self, node: &NodeInfo) {
        if self.all_allocatable || self.all_requested {
            for resource in node.allocatable.others.keys().chain(node.requested.others.keys()) {
                self.add_resource(resource);
            }
        }
    }

    fn add_resource(&mut self, resource: &str) {
        if !(self.all_allocatable || self.all_requested) || !self.resources.insert(resource.to_owned()) {
            return;
        }
        if self.all_allocatable {
            self.add(format!("allocatable/{resource}"), Kind::Allocatable(resource.to_owned()));
        }
        if self.all_requested {
            self.add(format!("requested/{resource}"), Kind::Requested(resource.to_owned()));
        }
    }

    fn add(&mut self, name: String, kind: Kind) {
        if !self.columns.iter().any(|(known, _)| *known == name) {
            self.columns.push((name, kind));
        }
    }
}

/// One row's value, texts still being texts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Integer(i64),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "name" => Self::Name,
            "unschedulable" => Self::Unschedulable,
            "taints" => Self::Taints,
            "images" => Self::Images,
            "labels" => Self::Labels,
            "pods" => Self::Pods,
            "scoring/cpu" => Self::ScoringCpu,
            "scoring/memory" => Self::ScoringMemory,
            _ => {
                let (kind, key) = name.split_once('/').filter(|(_, key)| !key.is_empty())?;
                let key = key.to_owned();
                match kind {
                    "allocatable" => Self::Allocatable(key),
                    "requested" => Self::Requested(key),
                    "label" => Self::Label(key),
                    "annotation" => Self::Annotation(key),
                    "pods-labelled" => Self::PodsLabelled(key),
                    _ => return None,
                }
            }
        })
    }

    /// Whether the two states of a node have different values, as far as that is known at little cost.
    pub(super) fn differs(&self, old: &NodeInfo, new: &NodeInfo) -> bool {
        match self {
            Self::Name => false,
            Self::Unschedulable => old.unschedulable != new.unschedulable,
            Self::Taints => !Arc::ptr_eq(&old.taints, &new.taints) && old.taints != new.taints,
            Self::Images => !Arc::ptr_eq(&old.images, &new.images),
            Self::Labels | Self::Label(_) => !Arc::ptr_eq(&old.labels, &new.labels) && old.labels != new.labels,
            Self::Annotation(_) => match (&old.object, &new.object) {
                (Some(old), Some(new)) => !Arc::ptr_eq(old, new),
                (old, new) => old.is_some() != new.is_some(),
            },
            Self::Pods => old.pods.len() != new.pods.len(),
            Self::ScoringCpu => old.scoring.0 != new.scoring.0,
            Self::ScoringMemory => old.scoring.1 != new.scoring.1,
            Self::Allocatable(of) => allocatable(old, of) != allocatable(new, of),
            Self::Requested(of) => amount(&old.requested, of) != amount(&new.requested, of),
            Self::PodsLabelled(_) => {
                old.pods.len() != new.pods.len() || !old.pods.iter().zip(&new.pods).all(|(old, new)| Arc::ptr_eq(old, new))
            }
        }
    }

    pub(super) fn cell(&self, node: &NodeInfo) -> Option<Cell> {
        Some(match self {
            Self::Name => Cell::Text(node.name.clone()),
            Self::Unschedulable => Cell::Flag(node.unschedulable),
            Self::Taints => Cell::Texts(
                node.taints
                    .iter()
                    .map(|taint| format!("{}={}:{}", taint.key, taint.value.as_deref().unwrap_or_default(), taint.effect))
                    .collect(),
            ),
            Self::Images => {
                let mut images: Vec<_> = node.images.keys().cloned().collect();
                images.sort_unstable();
                Cell::Texts(images)
            }
            Self::Labels => Cell::Texts(node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect()),
            Self::Pods => Cell::Integer(node.pods.len().try_into().unwrap_or(i64::MAX)),
            Self::ScoringCpu => Cell::Integer(node.scoring.0),
            Self::ScoringMemory => Cell::Integer(node.scoring.1),
            Self::Allocatable(of) => Cell::Integer(allocatable(node, of)?),
            Self::Requested(of) => Cell::Integer(amount(&node.requested, of)?),
            Self::Label(key) => Cell::Text(node.labels.get(key)?.clone()),
            Self::Annotation(key) => Cell::Text(annotations::of(node.object.as_deref()).remove(key)?),
            Self::PodsLabelled(key) => Cell::Texts(node.pods.iter().filter_map(|pod| pod.labels.get(key).cloned()).collect()),
        })
    }

    /// The column with these rows' values; `intern` gives a text's index in the dictionary.
    pub(super) fn column<'a>(
        &self,
        name: String,
        nodes: impl ExactSizeIterator<Item = &'a NodeInfo>,
        mut intern: impl FnMut(String) -> u32,
    ) -> Column {
        let rows = nodes.len();
        let mut validity = vec![0_u8; rows.div_ceil(8)];
        let mut values = self.empty();
        let mut valid = 0;
        for (row, node) in nodes.enumerate() {
            let cell = self.cell(node);
            if cell.is_some() {
                validity[row / 8] |= 1 << (row % 8);
                valid += 1;
            }
            match (&mut values, cell) {
                (Values::Integers(to), Some(Cell::Integer(value))) => to.push(value),
                (Values::Integers(to), _) => to.push(0),
                (Values::Flags(to), Some(Cell::Flag(value))) => to.push(value),
                (Values::Flags(to), _) => to.push(false),
                (Values::Texts(to), Some(Cell::Text(text))) => to.push(intern(text)),
                (Values::Texts(to), _) => to.push(0),
                (Values::TextLists(to), cell) => {
                    if let Some(Cell::Texts(texts)) = cell {
                        to.items.extend(texts.into_iter().map(&mut intern));
                    }
                    to.ends.push(to.items.len().try_into().unwrap_or(u32::MAX));
                }
                // No kind has numbers yet.
                (Values::Numbers(to), _) => to.push(0.0),
            }
        }
        if valid == rows {
            validity.clear();
        }
        Column { name, validity, values }
    }

    fn empty(&self) -> Values {
        match self {
            Self::Name | Self::Label(_) | Self::Annotation(_) => Values::Texts(Vec::new()),
            Self::Unschedulable => Values::Flags(Vec::new()),
            Self::Taints | Self::Images | Self::Labels | Self::PodsLabelled(_) => {
                Values::TextLists(TextLists { ends: Vec::new(), items: Vec::new() })
            }
            Self::Pods | Self::ScoringCpu | Self::ScoringMemory | Self::Allocatable(_) | Self::Requested(_) => {
                Values::Integers(Vec::new())
            }
        }
    }
}

fn allocatable(node: &NodeInfo, resource: &str) -> Option<i64> {
    if resource == "pods" {
        return Some(node.allowed_pods.try_into().unwrap_or(i64::MAX));
    }
    amount(&node.allocatable, resource)
}

fn amount(amounts: &Amounts, resource: &str) -> Option<i64> {
    match resource {
        "cpu" => Some(amounts.milli_cpu),
        "memory" => Some(amounts.memory),
        "ephemeral-storage" => Some(amounts.ephemeral_storage),
        other => amounts.others.get(other).copied(),
    }
}
