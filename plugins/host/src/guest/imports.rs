//! What plugins import, as `plugins/wit` says.

use rand::RngCore;
use serde_json::Value;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Engine, bail};

use super::data::Data;
use super::wasi;
use crate::artifact::{Artifact, Minor, World};
use crate::bindings::common::mizzen::plugin::{clock, log, metrics, random};
use crate::bindings::{policy, previous, scheduler};
use crate::error::LoadError;
use crate::plugin::log::Level;

/// Bytes at a time.
const RANDOM: u32 = 4096;
/// Objects in one answer.
const OBJECTS: usize = 1024;

/// Everything that the artifact may import.
///
/// # Errors
/// When two definitions clash.
pub(crate) fn linker(engine: &Engine, artifact: &Artifact) -> Result<Linker<Data>, LoadError> {
    let link = || -> wasmtime::Result<Linker<Data>> {
        let mut linker = Linker::<Data>::new(engine);
        match artifact.world() {
            World::Policy => match artifact.minor() {
                Minor::Current => policy::AdmissionPolicy::add_to_linker::<_, HasSelf<Data>>(&mut linker, |data| data)?,
                Minor::Previous => {
                    previous::policy::AdmissionPolicy::add_to_linker::<_, HasSelf<Data>>(&mut linker, |data| data)?;
                }
            },
            World::Scheduler => match artifact.minor() {
                Minor::Current => scheduler::SchedulerPlugin::add_to_linker::<_, HasSelf<Data>>(&mut linker, |data| data)?,
                Minor::Previous => {
                    previous::scheduler::SchedulerPlugin::add_to_linker::<_, HasSelf<Data>>(&mut linker, |data| data)?;
                }
            },
            World::Kubewarden | World::Module => {}
        }
        wasi::link(&mut linker, artifact)?;
        Ok(linker)
    };
    link().map_err(|error| LoadError::Link(format!("{error:#}")))
}

impl log::Host for Data {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.shared.write_log(level, &message);
        Ok(())
    }
}

impl clock::Host for Data {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(self.shared.clock().now().as_millisecond()).unwrap_or(0))
    }

    fn monotonic(&mut self) -> wasmtime::Result<u64> {
        Ok(wasi::monotonic())
    }
}

impl random::Host for Data {
    fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        if count > RANDOM {
            bail!("{count} random bytes at once, at most {RANDOM} are given");
        }
        Ok(random_bytes(count as usize))
    }
}

pub(super) fn random_bytes(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

impl metrics::Host for Data {
    fn count(&mut self, name: String, amount: f64) -> wasmtime::Result<()> {
        self.shared.metrics.count(&name, amount);
        Ok(())
    }

    fn gauge(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.shared.metrics.gauge(&name, value);
        Ok(())
    }
}

impl policy::mizzen::policy::types::Host for Data {}

impl policy::mizzen::policy::context::Host for Data {
    fn get(&mut self, version: String, kind: String, namespace: String, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.shared.context.get().and_then(|context| context.get(&version, &kind, &namespace, &name)))
    }

    fn by_label(
        &mut self,
        version: String,
        kind: String,
        namespace: String,
        key: String,
        value: String,
    ) -> wasmtime::Result<Vec<String>> {
        let context = self.shared.context.get();
        Ok(context.map(|context| context.by_label(&version, &kind, &namespace, &key, &value, OBJECTS)).unwrap_or_default())
    }

    fn by_index(&mut self, version: String, kind: String, path: String, value: String) -> wasmtime::Result<Vec<String>> {
        let context = self.shared.context.get();
        Ok(context.map(|context| context.by_index(&version, &kind, &path, &value, OBJECTS)).unwrap_or_default())
    }

    fn count(&mut self, version: String, kind: String, namespace: String) -> wasmtime::Result<u64> {
        Ok(self.shared.context.get().map_or(0, |context| context.count(&version, &kind, &namespace)))
    }

    fn namespace(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        let is_asked_about = self.namespaces.contains(&name);
        Ok(self.shared.context.get().filter(|_| is_asked_about).and_then(|context| context.namespace(&name)))
    }
}

impl scheduler::mizzen::scheduler::types::Host for Data {}

impl scheduler::mizzen::scheduler::cluster::Host for Data {
    fn node(&mut self, row: u32) -> wasmtime::Result<Option<String>> {
        Ok(self.shared.cluster.get().and_then(|cluster| cluster.node(row)))
    }

    fn pod(&mut self, cycle: u64) -> wasmtime::Result<Option<String>> {
        Ok(self.shared.cluster.get().and_then(|cluster| cluster.pod(cycle)))
    }

    fn pods_on(&mut self, row: u32) -> wasmtime::Result<Vec<String>> {
        Ok(self.shared.cluster.get().map(|cluster| cluster.pods_on(row, OBJECTS)).unwrap_or_default())
    }

    fn node_value(&mut self, row: u32, pointer: String) -> wasmtime::Result<Option<String>> {
        Ok(scheduler::mizzen::scheduler::cluster::Host::node(self, row)?.and_then(|node| value(&node, &pointer)))
    }

    fn pod_value(&mut self, cycle: u64, pointer: String) -> wasmtime::Result<Option<String>> {
        Ok(scheduler::mizzen::scheduler::cluster::Host::pod(self, cycle)?.and_then(|pod| value(&pod, &pointer)))
    }
}

/// What stands at a JSON pointer, as JSON.
fn value(object: &str, pointer: &str) -> Option<String> {
    let object: Value = serde_json::from_str(object).ok()?;
    object.pointer(pointer).map(Value::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_finds_a_part_of_an_object() {
        let node = r#"{"metadata":{"labels":{"a/b":"c"}},"status":{"images":[{"sizeBytes":7}]}}"#;
        assert_eq!(value(node, "/metadata/labels/a~1b").as_deref(), Some("\"c\""));
        assert_eq!(value(node, "/status/images/0").as_deref(), Some("{\"sizeBytes\":7}"));
        assert_eq!(value(node, "/status/images/1"), None);
        assert_eq!(value(node, "status"), None);
        assert_eq!(value("nonsense", ""), None);
    }
}
