//! Containers from their start to their removal. Needs root and Debian's busybox-static.

mod support;

use mizzen_runtime::{ContainerState, Runtime};
use support::Node;

#[tokio::test]
async fn a_container_outlives_its_agent_and_is_killed_and_removed_by_the_next_one() {
    let mut node = Node::new();
    let spec = node.sh("a", "echo started; sleep 1000");
    let pid = node.started(&spec).await;
    node.restart();
    let list = node.runtime.list().await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].labels, spec.labels);
    assert!(matches!(&list[0].state, ContainerState::Running { pid: seen, .. } if *seen == Some(pid)));
    node.runtime.signal("a", libc::SIGKILL).await.unwrap();
    let exit = node.exit("a").await;
    assert_eq!((exit.code, exit.signal, exit.reason.as_str()), (137, Some(9), "Error"));
    node.runtime.remove("a").await.unwrap();
    node.runtime.remove("a").await.unwrap();
    assert!(node.runtime.list().await.unwrap().is_empty());
    assert_eq!(std::fs::read_dir(node.containers()).unwrap().count(), 0);
    assert!(node.cgroups("a").is_empty());
    assert_eq!(node.entries("a"), ["stdout F started"]);
}
