//! What the previous minor version's interfaces had, answered by the current ones.

use wasmtime::Result;

use super::data::Data;
use crate::bindings::policy::mizzen::policy::context;
use crate::bindings::previous::policy::mizzen::policy::context as context_before;
use crate::bindings::previous::scheduler::mizzen::scheduler::cluster as cluster_before;
use crate::bindings::scheduler::mizzen::scheduler::cluster;

impl context_before::Host for Data {
    fn get(&mut self, version: String, kind: String, namespace: String, name: String) -> Result<Option<String>> {
        context::Host::get(self, version, kind, namespace, name)
    }

    fn by_label(&mut self, version: String, kind: String, namespace: String, key: String, value: String) -> Result<Vec<String>> {
        context::Host::by_label(self, version, kind, namespace, key, value)
    }

    fn by_index(&mut self, version: String, kind: String, path: String, value: String) -> Result<Vec<String>> {
        context::Host::by_index(self, version, kind, path, value)
    }

    fn count(&mut self, version: String, kind: String, namespace: String) -> Result<u64> {
        context::Host::count(self, version, kind, namespace)
    }
}

impl cluster_before::Host for Data {
    fn node(&mut self, row: u32) -> Result<Option<String>> {
        cluster::Host::node(self, row)
    }

    fn pod(&mut self, cycle: u64) -> Result<Option<String>> {
        cluster::Host::pod(self, cycle)
    }

    fn pods_on(&mut self, row: u32) -> Result<Vec<String>> {
        cluster::Host::pods_on(self, row)
    }
}
