//! A set of fields: a tree of path elements, some of which are members.

use std::cmp::Ordering;

use mizzen_api::schema::SchemaSet;

use super::node::Node;
use super::path::PathElement;

/// Which fields of an object somebody owns. An element is in the tree only if it or something below it is a member; having
/// members below does not make an element a member itself.
///
/// Every write makes and compares several of them, most with a few elements at each level: hence sorted lists, which are
/// merged in one pass, of names that stay where they are in the documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet<'a> {
    /// In the order of the elements, none of them twice.
    items: Vec<Item<'a>>,
}

/// An element and what is owned below it; one of both at least is owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) element: PathElement<'a>,
    pub(super) is_member: bool,
    pub(super) below: FieldSet<'a>,
}

impl Item<'_> {
    fn is_owned(&self) -> bool {
        self.is_member || !self.below.is_empty()
    }
}

/// The items of one set, looked for in the order of another.
struct Ordered<'s, 'a>(&'s [Item<'a>]);

impl<'s, 'a> Ordered<'s, 'a> {
    /// The item of an element, which is greater than all that were asked for before.
    fn find(&mut self, element: &PathElement<'_>) -> Option<&'s Item<'a>> {
        while let Some((item, rest)) = self.0.split_first() {
            match item.element.cmp(element) {
                Ordering::Less => self.0 = rest,
                Ordering::Equal => {
                    self.0 = rest;
                    return Some(item);
                }
                Ordering::Greater => return None,
            }
        }
        None
    }
}

impl<'a> FieldSet<'a> {
    /// A set of paths that consist of field names only.
    pub(super) fn of_fields(paths: &[&[&'a str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<PathElement<'a>> = path.iter().map(|name| PathElement::field(name)).collect();
            set.insert(&path);
        }
        set
    }

    /// A set of items in any order; of two with one element, the members of both.
    pub(super) fn of_items(mut items: Vec<Item<'a>>) -> Self {
        items.retain(Item::is_owned);
        if !items.is_sorted_by(|left, right| left.element < right.element) {
            items.sort_by(|left, right| left.element.cmp(&right.element));
            items.dedup_by(|later, first| {
                let is_same = later.element == first.element;
                if is_same {
                    first.is_member |= later.is_member;
                    first.below.add(std::mem::take(&mut later.below));
                }
                is_same
            });
        }
        Self { items }
    }

    pub(super) fn items(&self) -> &[Item<'a>] {
        &self.items
    }

    fn place(&self, element: &PathElement<'_>) -> Result<usize, usize> {
        self.items.binary_search_by(|item| item.element.cmp(element))
    }

    pub(super) fn get(&self, element: &PathElement<'_>) -> Option<&Item<'a>> {
        self.place(element).ok().map(|place| &self.items[place])
    }

    /// Adds one field, but not its parents. The empty path, the whole object, is owned by nobody.
    pub fn insert(&mut self, path: &[PathElement<'a>]) {
        let Some((first, rest)) = path.split_first() else { return };
        let place = self.place(first).unwrap_or_else(|place| {
            self.items.insert(place, Item { element: first.clone(), is_member: false, below: Self::default() });
            place
        });
        let item = &mut self.items[place];
        if rest.is_empty() {
            item.is_member = true;
        } else {
            item.below.insert(rest);
        }
    }

    /// Whether the field itself is a member.
    pub fn contains(&self, path: &[PathElement<'_>]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        self.get(first).is_some_and(|item| if rest.is_empty() { item.is_member } else { item.below.contains(rest) })
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many fields are members.
    pub(super) fn count(&self) -> usize {
        self.items.iter().map(|item| usize::from(item.is_member) + item.below.count()).sum()
    }

    /// Adds one element, greater than all that are there, with what is owned below it.
    pub(super) fn graft(&mut self, element: PathElement<'a>, is_member: bool, below: Self) {
        debug_assert!(self.items.last().is_none_or(|last| last.element < element), "{element} comes too late");
        let item = Item { element, is_member, below };
        if item.is_owned() {
            self.items.push(item);
        }
    }

    /// Adds all members of `other`.
    pub fn add(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        if other.is_empty() {
            return;
        }
        let mut all = Vec::with_capacity(self.items.len().max(other.items.len()));
        let mut ours = std::mem::take(&mut self.items).into_iter().peekable();
        for their in other.items {
            while let Some(our) = ours.next_if(|our| our.element < their.element) {
                all.push(our);
            }
            match ours.next_if(|our| our.element == their.element) {
                Some(mut our) => {
                    our.is_member |= their.is_member;
                    our.below.add(their.below);
                    all.push(our);
                }
                None => all.push(their),
            }
        }
        all.extend(ours);
        self.items = all;
    }

    /// Removes the members of `other`, and no others: what is below a removed member stays.
    pub fn subtract(&mut self, other: &FieldSet<'_>) {
        if other.is_empty() {
            return;
        }
        let mut others = Ordered(&other.items);
        self.items.retain_mut(|item| {
            if let Some(other) = others.find(&item.element) {
                item.is_member &= !other.is_member;
                item.below.subtract(&other.below);
            }
            item.is_owned()
        });
    }

    /// Removes the members of `other` with all that is below them.
    pub fn subtract_recursively(&mut self, other: &FieldSet<'_>) {
        if other.is_empty() {
            return;
        }
        let mut others = Ordered(&other.items);
        self.items.retain_mut(|item| {
            if let Some(other) = others.find(&item.element) {
                if other.is_member {
                    return false;
                }
                item.below.subtract_recursively(&other.below);
            }
            item.is_owned()
        });
    }

    /// The members of both.
    #[must_use]
    pub fn intersection(&self, other: &FieldSet<'_>) -> Self {
        let mut others = Ordered(&other.items);
        let both = self.items.iter().filter_map(|item| {
            let other = others.find(&item.element)?;
            let (is_member, below) = (item.is_member && other.is_member, item.below.intersection(&other.below));
            (is_member || !below.is_empty()).then(|| Item { element: item.element.clone(), is_member, below })
        });
        Self { items: both.collect() }
    }

    /// Whether every member is also one of `other`.
    pub fn is_subset(&self, other: &FieldSet<'_>) -> bool {
        let mut others = Ordered(&other.items);
        self.items.iter().all(|item| {
            others
                .find(&item.element)
                .is_some_and(|other| (other.is_member || !item.is_member) && item.below.is_subset(&other.below))
        })
    }

    /// Every member as a path, parents before children's members at each level.
    pub fn paths(&self) -> Vec<Vec<PathElement<'a>>> {
        let mut paths = Vec::new();
        self.collect_paths(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &mut Vec<PathElement<'a>>, paths: &mut Vec<Vec<PathElement<'a>>>) {
        for member in self.items.iter().filter(|item| item.is_member) {
            let mut path = prefix.clone();
            path.push(member.element.clone());
            paths.push(path);
        }
        for Item { element, below, .. } in &self.items {
            prefix.push(element.clone());
            below.collect_paths(prefix, paths);
            prefix.pop();
        }
    }

    /// The set with every declared field that has members below it as a member too. Such fields are not members of
    /// their own, yet go when all that is in them goes.
    #[must_use]
    pub(super) fn with_declared_parents(&self, schemas: &SchemaSet, node: Node<'_>) -> Self {
        let items = self.items.iter().map(|Item { element, is_member, below }| {
            if below.is_empty() {
                return Item { element: element.clone(), is_member: *is_member, below: Self::default() };
            }
            let (node, declared) = node.step(schemas, element);
            Item {
                element: element.clone(),
                is_member: *is_member || declared,
                below: below.with_declared_parents(schemas, node),
            }
        });
        Self { items: items.collect() }
    }

    /// The same without the documents.
    pub(super) fn into_owned(self) -> FieldSet<'static> {
        let items = self.items.into_iter().map(|Item { element, is_member, below }| Item {
            element: element.into_owned(),
            is_member,
            below: below.into_owned(),
        });
        FieldSet { items: items.collect() }
    }
}
