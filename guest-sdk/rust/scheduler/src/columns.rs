//! Columns by name, in typed form: a plugin asks for each once and keeps the handle, so that reading a value costs an index.

use std::marker::PhantomData;

use crate::bindings::mizzen::scheduler::types::Values;

/// One column; `T` says what its values are: `i64`, `f64`, `bool`, `str`, or `[String]` for several texts.
pub struct Column<T: ?Sized> {
    pub(crate) place: usize,
    of: PhantomData<fn() -> Box<T>>,
}

impl<T: ?Sized> Clone for Column<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Column<T> {}

/// The columns that a plugin reads. The contract lists their names; those that end in `/*` bring one for each resource.
#[derive(Default)]
pub struct Columns {
    pub(crate) names: Vec<String>,
}

impl Columns {
    /// `allocatable/cpu`, `requested/memory`, `pods` …
    pub fn integer(&mut self, name: impl Into<String>) -> Column<i64> {
        self.add(name.into())
    }

    pub fn number(&mut self, name: impl Into<String>) -> Column<f64> {
        self.add(name.into())
    }

    /// `unschedulable`
    pub fn flag(&mut self, name: impl Into<String>) -> Column<bool> {
        self.add(name.into())
    }

    /// `name`, `label/KEY`, `annotation/KEY`
    pub fn text(&mut self, name: impl Into<String>) -> Column<str> {
        self.add(name.into())
    }

    /// `taints`, `images`, `labels`, `pods-labelled/KEY`
    pub fn texts(&mut self, name: impl Into<String>) -> Column<[String]> {
        self.add(name.into())
    }

    fn add<T: ?Sized>(&mut self, name: String) -> Column<T> {
        let place = self.names.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        });
        Column { place, of: PhantomData }
    }
}

/// What a column holds, by row.
#[derive(Clone, Debug, Default)]
pub enum Data {
    /// Nothing came yet.
    #[default]
    Empty,
    Integers(Vec<Option<i64>>),
    Numbers(Vec<Option<f64>>),
    Flags(Vec<Option<bool>>),
    Texts(Vec<Option<u32>>),
    TextLists(Vec<Box<[u32]>>),
}

impl Data {
    /// Takes a delta's values for these rows.
    pub fn change(&mut self, rows: &[u32], validity: &[u8], values: Values) {
        let valid = |n: usize| validity.is_empty() || validity.get(n / 8).is_some_and(|byte| byte >> (n % 8) & 1 == 1);
        match values {
            Values::Integers(new) => {
                if !matches!(self, Self::Integers(_)) {
                    *self = Self::Integers(Vec::new());
                }
                if let Self::Integers(have) = self {
                    put(have, rows, new.into_iter().enumerate().map(|(n, value)| valid(n).then_some(value)));
                }
            }
            Values::Numbers(new) => {
                if !matches!(self, Self::Numbers(_)) {
                    *self = Self::Numbers(Vec::new());
                }
                if let Self::Numbers(have) = self {
                    put(have, rows, new.into_iter().enumerate().map(|(n, value)| valid(n).then_some(value)));
                }
            }
            Values::Flags(new) => {
                if !matches!(self, Self::Flags(_)) {
                    *self = Self::Flags(Vec::new());
                }
                if let Self::Flags(have) = self {
                    put(have, rows, new.into_iter().enumerate().map(|(n, value)| valid(n).then_some(value)));
                }
            }
            Values::Texts(new) => {
                if !matches!(self, Self::Texts(_)) {
                    *self = Self::Texts(Vec::new());
                }
                if let Self::Texts(have) = self {
                    put(have, rows, new.into_iter().enumerate().map(|(n, value)| valid(n).then_some(value)));
                }
            }
            Values::TextLists(new) => {
                if !matches!(self, Self::TextLists(_)) {
                    *self = Self::TextLists(Vec::new());
                }
                if let Self::TextLists(have) = self {
                    let starts = std::iter::once(0).chain(new.ends.iter().copied());
                    let lists = starts
                        .zip(&new.ends)
                        .map(|(start, end)| new.items.get(start as usize..*end as usize).unwrap_or_default().into());
                    put(have, rows, lists);
                }
            }
        }
    }

    /// A node is gone, and its values with it.
    pub fn forget(&mut self, row: u32) {
        let row = row as usize;
        match self {
            Self::Empty => {}
            Self::Integers(have) => clear(have, row),
            Self::Numbers(have) => clear(have, row),
            Self::Flags(have) => clear(have, row),
            Self::Texts(have) => clear(have, row),
            Self::TextLists(have) => clear(have, row),
        }
    }
}

fn put<T: Default + Clone>(have: &mut Vec<T>, rows: &[u32], new: impl Iterator<Item = T>) {
    for (row, value) in rows.iter().zip(new) {
        let row = *row as usize;
        if have.len() <= row {
            have.resize(row + 1, T::default());
        }
        have[row] = value;
    }
}

fn clear<T: Default>(have: &mut [T], row: usize) {
    if let Some(value) = have.get_mut(row) {
        *value = T::default();
    }
}
