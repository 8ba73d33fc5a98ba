use std::sync::Arc;

use mizzen_runtime::testing::{Fixture, suite};
use mizzen_runtime::{ContainerSpec, Runtime, WasmConfig, WasmRuntime};

use crate::support::{Node, printing};

struct Pods<'a>(&'a Node, WasmConfig);

impl Fixture for Pods<'_> {
    fn prints(&self, id: &str, text: &str, code: i32) -> ContainerSpec {
        self.0.file(id, &printing(text, code as u8))
    }

    fn stays(&self, id: &str) -> ContainerSpec {
        self.0.cli(id, &["spin"])
    }

    fn broken(&self, id: &str) -> ContainerSpec {
        self.0.file(id, b"no module")
    }

    fn restarted(&self) -> Arc<dyn Runtime> {
        WasmRuntime::new(self.1.clone()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wasm_pods_do_what_every_runtime_must() {
    let node = Node::new();
    let config = node.config();
    suite(node.runtime.clone(), &Pods(&node, config)).await;
}
