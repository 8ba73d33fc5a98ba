//! `Event`.

use super::builder::{Describe, resource};
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};

struct Event;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "Event", "events", Scope::Namespaced, Event).short("ev")
}

impl Strategy for Event {}
