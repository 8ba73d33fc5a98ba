//! Plugins built against the minor version before the current one are put to work beside those of the current one.

use mizzen_tests::command::run;
use mizzen_tests::executables::mizzen;
use mizzen_tests::hollow::Hollow;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};

use crate::guests::{Policy, Scheduler};

fn inspected(cluster: &Cluster, bytes: &[u8]) -> String {
    let path = cluster.data().with_extension("wasm");
    std::fs::write(&path, bytes).expect("writes");
    run(mizzen().env("XDG_CACHE_HOME", cluster.data()).args(["plugin", "inspect"]).arg(path)).ok()
}

fn guard(cluster: &Cluster, name: &str, image: &str, resource: &str) {
    cluster.kubectl_apply(&format!(
        "apiVersion: mizzen.dev/v1alpha1\nkind: ClusterAdmissionPolicy\nmetadata: {{name: {name}}}\nspec:\n  image: {image}\n  \
         matchConstraints: {{resourceRules: [{{apiGroups: [''], apiVersions: ['*'], operations: [CREATE], resources: [{resource}]}}]}}\n"
    ));
    cluster.kubectl_wait("condition=Ready", &[&format!("clusteradmissionpolicy/{name}")]);
}

#[test]
fn policies_of_both_minor_versions_are_asked() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    // Each denies: with `hello`, and with what it finds.
    let deny = "
        (i32.store8 (i32.const 0) (i32.const 1)) (i32.store (i32.const 16) (i32.const 1100)) (i32.store (i32.const 20) (i32.const 5))
        (i32.const 0)";
    let before = Policy { world: "policy/admission-policy@0.1.0", review: deny, ..Policy::default() }.bytes();
    let imports = r#"(import "mizzen:policy/context@0.2.0" "namespace" (func $namespace (param i32 i32 i32)))
        (data (i32.const 1300) "default")"#;
    let find = "(call $namespace (i32.const 1300) (i32.const 7) (i32.const 512)) (i32.store8 (i32.const 0) (i32.const 1))
        (i32.store (i32.const 16) (i32.load (i32.const 516))) (i32.store (i32.const 20) (i32.load (i32.const 520)))
        (i32.const 0)";
    let now = Policy { imports, review: find, ..Policy::default() }.bytes();
    let said = inspected(&cluster, &before);
    assert!(said.contains("an admission policy 0.1.0 (the minor version before the current one)"), "{said}");
    let said = inspected(&cluster, &now);
    assert!(said.contains("an admission policy 0.2.0\n"), "{said}");

    guard(&cluster, "before", &images::component(&registry, &before, "before:v1"), "configmaps");
    guard(&cluster, "now", &images::component(&registry, &now, "now:v1"), "secrets");
    let said = cluster.kubectl(&["create", "configmap", "a"]).err();
    assert!(said.contains("\"before\" denied the request: hello"), "{said}");
    // The current one can ask for the request's namespace, whatever it is granted.
    let said = cluster.kubectl(&["create", "secret", "generic", "a"]).err();
    assert!(said.contains("kubernetes.io/metadata.name"), "{said}");
}

#[test]
fn scheduler_plugins_of_both_minor_versions_are_asked() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    let _node = Hollow::start(&cluster, &["--nodes", "1"], "");
    // The one node is turned down, with `hello`.
    let filter = "(i32.store (i32.const 900) (i32.const 1))
        (i32.store (i32.const 0) (i32.const 900)) (i32.store (i32.const 4) (local.get $count))
        (i32.store (i32.const 8) (i32.const 1216)) (i32.store (i32.const 12) (i32.const 1)) (i32.const 0)";
    let describe = "(i32.store8 (i32.const 256) (i32.const 1)) (i32.const 256)";
    let before = Scheduler { world: "scheduler/scheduler-plugin@0.1.0", describe, filter, ..Scheduler::default() }.bytes();
    // The pod is turned down, with its own image.
    let imports = r#"(import "mizzen:scheduler/cluster@0.2.0" "pod-value" (func $value (param i64 i32 i32 i32)))
        (data (i32.const 1300) "/spec/containers/0/image")"#;
    let reject = "
        (call $value (i64.load (local.get $pod)) (i32.const 1300) (i32.const 24) (i32.const 512))
        (i32.store (i32.const 600) (i32.load (i32.const 516))) (i32.store (i32.const 604) (i32.load (i32.const 520)))
        (i32.store8 (i32.const 0) (i32.const 1)) (i32.store (i32.const 4) (i32.const 600)) (i32.store (i32.const 8) (i32.const 1))
        (i32.const 0)";
    let now = Scheduler { imports, describe, pre_filter: reject, ..Scheduler::default() }.bytes();
    assert!(inspected(&cluster, &before).contains("a scheduler plugin 0.1.0 (the minor version before the current one)"));
    assert!(inspected(&cluster, &now).contains("a scheduler plugin 0.2.0\n"));

    cluster.kubectl(&["run", "web", "--image=example.com/web"]).ok();
    for (name, bytes, told) in [("before", before, "before: hello"), ("now", now, "\"example.com/web\"")] {
        let image = images::component(&registry, &bytes, &format!("{name}:v1"));
        cluster.kubectl_apply(&format!(
            "apiVersion: mizzen.dev/v1alpha1\nkind: SchedulerPlugin\nmetadata: {{name: {name}}}\nspec:\n  image: {image}\n"
        ));
        cluster.kubectl_wait("condition=Ready", &[&format!("schedulerplugin/{name}")]);
        let pod = format!("for-{name}");
        cluster.kubectl(&["run", &pod, "--image=example.com/web"]).ok();
        eventually(&format!("{pod} is told: {told}"), || {
            cluster.kubectl(&["describe", "pod", &pod]).stdout.contains(told).then_some(())
        });
        cluster.kubectl(&["delete", "schedulerplugin", name]).ok();
    }
}
