//! How much a document may have in it, and how deep.

use mizzen_api::{Reason, Status};
use serde_json::Value;

/// Documents that nest deeper are refused: the decoder could not read them back.
const MAX_DEPTH: usize = 120;

/// Documents with more objects and lists in them are refused, and those with more values of any kind: defaulting and
/// validating make some kilobytes of an object that a client writes with two bytes. Of 2 MB that name a million containers
/// they made 2.4 GiB in 25 s of processor time (measured without this bound); with it, what is made is a sixth of that at
/// most. Kubernetes has no such bound, but its store takes no object of half the size of a body.
///
/// What has its fields and who owns them in [`super::MAX_BYTES`] stays below: an entry of a ConfigMap, with its owner, takes 20
/// bytes for one object, a field of a definition's schema 24.
pub(super) const MAX_OBJECTS: usize = 160_000;
pub(super) const MAX_VALUES: usize = 500_000;

/// What a document may still have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    objects: usize,
    values: usize,
}

impl Room {
    pub(super) const WHOLE: Self = Self { objects: MAX_OBJECTS, values: MAX_VALUES };

    pub(super) fn is_used_up(&self) -> bool {
        self.values == 0
    }

    /// Of what is left nothing is to be read.
    pub(super) fn use_up(&mut self) {
        self.values = 0;
    }

    /// False when there is no more.
    pub(super) fn take(&mut self, is_object: bool) -> bool {
        if self.values == 0 || (is_object && self.objects == 0) {
            return false;
        }
        self.values -= 1;
        self.objects -= usize::from(is_object);
        true
    }

    fn fits(&mut self, value: &Value) -> bool {
        self.take(value.is_array() || value.is_object())
            && match value {
                Value::Array(items) => items.iter().all(|item| self.fits(item)),
                Value::Object(fields) => fields.values().all(|field| self.fits(field)),
                _ => true,
            }
    }
}

/// # Errors
/// `RequestEntityTooLarge` for a document that has more in it than is worked on.
pub(crate) fn check_room(value: &Value) -> Result<(), Status> {
    let mut room = Room::WHOLE;
    if room.fits(value) { Ok(()) } else { Err(too_many()) }
}

pub(super) fn too_many() -> Status {
    Status::new(
        Reason::RequestEntityTooLarge,
        format!("Request entity too large: limit is {MAX_OBJECTS} objects and lists, and {MAX_VALUES} values"),
    )
}

/// Whether a document can be read back once it is stored.
pub(in crate::pipeline) fn is_too_deep(value: &Value) -> bool {
    fn within(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left > 0 && items.iter().all(|item| within(item, left - 1)),
            Value::Object(fields) => left > 0 && fields.values().all(|field| within(field, left - 1)),
            _ => true,
        }
    }
    !within(value, MAX_DEPTH)
}
