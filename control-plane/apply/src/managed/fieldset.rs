//! A set of fields: a tree of path elements, some of which are members.

use std::collections::{BTreeMap, BTreeSet};

use mizzen_api::schema::SchemaSet;

use super::node::Node;
use super::path::PathElement;

/// Which fields of an object somebody owns. A child is in the tree only if something below it is a member; having
/// members below does not make an element a member itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) members: BTreeSet<PathElement>,
    pub(super) children: BTreeMap<PathElement, FieldSet>,
}

impl FieldSet {
    /// A set of paths that consist of field names only.
    pub(super) fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<PathElement> = path.iter().map(|name| PathElement::field(name)).collect();
            set.insert(&path);
        }
        set
    }

    /// Adds one field, but not its parents. The empty path, the whole object, is owned by nobody.
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut set = self;
        for parent in parents {
            set = set.children.entry(parent.clone()).or_default();
        }
        set.members.insert(last.clone());
    }

    /// Whether the field itself is a member.
    pub fn contains(&self, path: &[PathElement]) -> bool {
        let Some((last, parents)) = path.split_last() else { return false };
        let mut set = self;
        for parent in parents {
            match set.children.get(parent) {
                Some(child) => set = child,
                None => return false,
            }
        }
        set.members.contains(last)
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    /// Adds one element with what is owned below it.
    pub(super) fn graft(&mut self, element: PathElement, member: bool, below: Self) {
        if !below.is_empty() {
            if member {
                self.members.insert(element.clone());
            }
            self.children.insert(element, below);
        } else if member {
            self.members.insert(element);
        }
    }

    /// Adds all members of `other`.
    pub fn add(&mut self, other: &Self) {
        self.members.extend(other.members.iter().cloned());
        for (element, child) in &other.children {
            self.children.entry(element.clone()).or_default().add(child);
        }
    }

    /// Removes the members of `other`, and no others: what is below a removed member stays.
    pub fn subtract(&mut self, other: &Self) {
        self.members.retain(|element| !other.members.contains(element));
        self.children.retain(|element, child| {
            if let Some(other) = other.children.get(element) {
                child.subtract(other);
            }
            !child.is_empty()
        });
    }

    /// Removes the members of `other` with all that is below them.
    pub fn subtract_recursively(&mut self, other: &Self) {
        self.members.retain(|element| !other.members.contains(element));
        self.children.retain(|element, child| {
            if other.members.contains(element) {
                return false;
            }
            if let Some(other) = other.children.get(element) {
                child.subtract_recursively(other);
            }
            !child.is_empty()
        });
    }

    /// The members of both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let members = self.members.intersection(&other.members).cloned().collect();
        let children = self
            .children
            .iter()
            .filter_map(|(element, child)| Some((element, child.intersection(other.children.get(element)?))))
            .filter(|(_, child)| !child.is_empty())
            .map(|(element, child)| (element.clone(), child))
            .collect();
        Self { members, children }
    }

    /// Whether every member is also one of `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.members.is_subset(&other.members)
            && self.children.iter().all(|(element, child)| match other.children.get(element) {
                Some(other) => child.is_subset(other),
                None => child.is_empty(),
            })
    }

    /// Every member as a path, parents before children's members at each level.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut paths = Vec::new();
        self.collect_paths(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &mut Vec<PathElement>, paths: &mut Vec<Vec<PathElement>>) {
        for member in &self.members {
            let mut path = prefix.clone();
            path.push(member.clone());
            paths.push(path);
        }
        for (element, child) in &self.children {
            prefix.push(element.clone());
            child.collect_paths(prefix, paths);
            prefix.pop();
        }
    }

    /// The set with every declared field that has members below it as a member too. Such fields are not members of
    /// their own, yet go when all that is in them goes.
    #[must_use]
    pub(super) fn with_declared_parents(&self, schemas: &SchemaSet, node: Node<'_>) -> Self {
        let mut set = Self { members: self.members.clone(), children: BTreeMap::new() };
        for (element, child) in &self.children {
            let (below, declared) = node.step(schemas, element);
            if declared {
                set.members.insert(element.clone());
            }
            set.children.insert(element.clone(), child.with_declared_parents(schemas, below));
        }
        set
    }
}
