//! What an entry owns. Most writes touch what few managers own, so the sets of the others stay as they are written.

use std::borrow::Cow;

use serde_json::Value;

use super::codec::DecodeError;
use super::fieldset::FieldSet;
use super::written;

#[derive(Clone, Debug)]
pub(super) enum Owned<'a> {
    /// As it stands in a document, where it [is plain](written::is_plain).
    Written(&'a Value),
    Read(FieldSet<'a>),
}

impl<'a> Owned<'a> {
    /// The set of a `fieldsV1`, which is read only if reading it could fail or would not give the same again.
    pub(super) fn of(fields: &'a Value) -> Result<Self, DecodeError> {
        if written::is_plain(fields) { Ok(Self::Written(fields)) } else { FieldSet::from_json(fields).map(Self::Read) }
    }

    pub(super) fn set(&self) -> Cow<'_, FieldSet<'a>> {
        match self {
            Self::Written(fields) => Cow::Owned(read(fields)),
            Self::Read(set) => Cow::Borrowed(set),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            // A plain one owns something.
            Self::Written(_) => false,
            Self::Read(set) => set.is_empty(),
        }
    }

    /// Whether a member of `other` is one of these.
    pub(super) fn meets(&self, other: &FieldSet<'_>) -> bool {
        match self {
            Self::Written(fields) => written::meets(fields, other),
            Self::Read(set) => !set.intersection(other).is_empty(),
        }
    }

    /// Whether every member of `other` is one of these.
    pub(super) fn covers(&self, other: &FieldSet<'_>) -> bool {
        match self {
            Self::Written(fields) => written::covers(fields, other),
            Self::Read(set) => other.is_subset(set),
        }
    }

    /// Whether every member of these is one of `other`.
    pub(super) fn is_subset(&self, other: &FieldSet<'_>) -> bool {
        match self {
            Self::Written(fields) => written::is_subset(fields, other),
            Self::Read(set) => set.is_subset(other),
        }
    }

    /// Whether `fields` is what these are written as.
    pub(super) fn is_written(&self, fields: &Value) -> bool {
        match self {
            Self::Written(written) => std::ptr::eq(*written, fields) || *written == fields,
            Self::Read(set) => set.is_written(fields),
        }
    }

    pub(super) fn intersection(&self, other: &FieldSet<'_>) -> FieldSet<'a> {
        if self.meets(other) { self.set().intersection(other) } else { FieldSet::default() }
    }

    pub(super) fn add(&mut self, other: FieldSet<'a>) {
        self.change(|set| set.add(other));
    }

    /// Removes the members of `other`, and no others.
    pub(super) fn subtract(&mut self, other: &FieldSet<'_>) {
        match self {
            Self::Written(fields) if !written::meets(fields, other) => {}
            _ => self.change(|set| set.subtract(other)),
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut FieldSet<'a>)) {
        match self {
            Self::Written(fields) => {
                let mut set = read(fields);
                change(&mut set);
                *self = Self::Read(set);
            }
            Self::Read(set) => change(set),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Written(fields) => (*fields).clone(),
            Self::Read(set) => set.to_json(),
        }
    }
}

impl PartialEq<FieldSet<'_>> for Owned<'_> {
    fn eq(&self, other: &FieldSet<'_>) -> bool {
        match self {
            Self::Written(fields) => other.is_written(fields) || (self.is_subset(other) && self.covers(other)),
            Self::Read(set) => set == other,
        }
    }
}

/// What is plain is readable.
fn read(fields: &Value) -> FieldSet<'_> {
    FieldSet::from_json(fields).unwrap_or_default()
}
