//! What the handler of a pod's RuntimeClass makes of it.

use mizzen_tests::{Cluster, Registry, eventually, images};

const CLASSES: &str = "apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: known}
handler: runc
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: unknown}
handler: kata
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: other}
handler: wasmtime
";

#[test]
fn a_pod_runs_with_the_handler_of_its_class_or_not_at_all() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.apply(CLASSES);
    for class in ["unknown", "other", "known"] {
        cluster.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {class}}}\nspec:\n  runtimeClassName: {class}\n  terminationGracePeriodSeconds: 0\n  containers: [{{name: main, image: '{image}'}}]\n"
        ));
    }
    cluster.ready("known");
    for (pod, why) in [
        ("unknown", "no runtime for \"kata\" is configured"),
        ("other", "the handler \"wasmtime\" runs WebAssembly only, and not all images are that"),
    ] {
        let said = eventually("the sandbox is refused", || {
            cluster.whole_events(pod).into_iter().find(|event| event["reason"] == "FailedCreatePodSandBox")
        });
        assert_eq!(said["message"], format!("Failed to create pod sandbox: {why}"));
        assert_eq!(cluster.get(&["pod", pod]).expect("is there")["status"]["phase"], "Pending");
    }
    let node = &cluster.get(&["nodes"]).expect("a list")["items"][0];
    let handlers = node["status"]["runtimeHandlers"].as_array().expect("a list");
    assert!(handlers.iter().any(|handler| handler["name"] == "wasmtime"), "{handlers:?}");
}
