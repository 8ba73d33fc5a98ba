//! kubectl's streams through a `mizzen agent`, and what a server says whose pod has no node.

use mizzen_tests::{Agent, Cluster, Kubectl, Registry, images};

#[test]
fn kubectl_attaches_through_an_agent_and_is_told_when_a_node_is_not_there() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::server();
    let _agent = Agent::join(&cluster, "edge-1");
    let once = ["run", "once", "--rm", "-i", "--restart=Never", "--image", &image, "--command", "--"];
    let said = cluster.pipe(&[&once[..], &["sh", "-c", "echo ask; cat; echo bye"]].concat(), "answer\n").ok();
    assert!(said.contains("answer\n") && said.contains("bye\n"), "{said}");

    cluster.kubectl_apply(
        "apiVersion: v1
kind: Pod
metadata: {name: lost}
spec:
  nodeName: nowhere
  containers: [{name: a, image: a}]
",
    );
    for arguments in [&["logs", "lost"][..], &["exec", "lost", "--", "true"], &["attach", "lost"]] {
        let said = cluster.kubectl(arguments).err();
        assert!(said.contains("nodes \"nowhere\" not found"), "{said}");
    }
}
