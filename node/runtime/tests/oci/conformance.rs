//! The suite that every runtime passes.

use std::sync::Arc;

use mizzen_runtime::testing::{Fixture, suite};
use mizzen_runtime::{ContainerSpec, Runtime};

use crate::support::Node;

impl Fixture for Node {
    fn prints(&self, id: &str, text: &str, code: i32) -> ContainerSpec {
        self.sh(id, &format!("echo {text}; exit {code}"))
    }

    fn stays(&self, id: &str) -> ContainerSpec {
        self.spec(id, &["sleep", "1000"])
    }

    fn broken(&self, id: &str) -> ContainerSpec {
        self.spec(id, &["no-such-program"])
    }

    fn restarted(&self) -> Arc<dyn Runtime> {
        crate::support::open(self.dir.path())
    }
}

#[tokio::test]
async fn the_oci_runtime_passes_the_suite() {
    let node = Node::new();
    suite(node.runtime.clone(), &node).await;
}
