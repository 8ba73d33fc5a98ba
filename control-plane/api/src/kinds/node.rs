//! `Node`.

use super::builder::{Describe, resource};
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};

struct Node;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "Node", "nodes", Scope::Cluster, Node).short("no").status()
}

impl Strategy for Node {}
