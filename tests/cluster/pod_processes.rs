//! Containers that see each other's processes.

use mizzen_tests::{Cluster, Registry, eventually, images};

#[test]
fn the_containers_of_a_pod_that_shares_its_processes_see_and_signal_each_other() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let mut cluster = Cluster::up();
    cluster.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: shared}}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 0
  containers:
  - {{name: one, image: '{image}'}}
  - {{name: two, image: '{image}', command: [sh, -c, 'sleep 1111; exit 7']}}
"
    ));
    cluster.ready("shared");
    let sh = |cluster: &Cluster, container: &str, script: &str| {
        cluster.mizzen(&["exec", "shared", "-c", container, "--", "sh", "-c", script]).ok()
    };
    let programs = "for p in /proc/[0-9]*; do cat $p/cmdline; echo; done";
    let seen = eventually("both programs are seen", || {
        let seen = sh(&cluster, "one", programs);
        (seen.contains("/bin/httpd\0") && seen.contains("sleep\x001111\0")).then_some(seen)
    });
    assert!(seen.starts_with("/pause\0"), "{seen:?}");

    // One ends the other's program, whose container starts again and is seen again.
    let end = "for p in /proc/[0-9]*; do if grep -q 1111 $p/cmdline && grep -q sleep $p/comm; then kill ${p#/proc/}; fi; done";
    cluster.mizzen(&["exec", "shared", "-c", "one", "--", "sh", "-c", end]);
    cluster.until(&["pod", "shared"], "has started its second container again", |pod| {
        let two = pod["status"]["containerStatuses"].as_array()?.iter().find(|status| status["name"] == "two")?;
        (two["restartCount"] == 1 && two["state"]["running"].is_object()).then_some(())
    });
    eventually("it is seen again", || sh(&cluster, "one", programs).contains("sleep\x001111\0").then_some(()));
    cluster.kill();
    cluster.start();
    eventually("a new agent finds both", || sh(&cluster, "two", programs).contains("/bin/httpd\0").then_some(()));
    cluster.mizzen(&["delete", "pod", "shared"]).ok();
    cluster.run("alone", &image);
    let alone = cluster.mizzen(&["exec", "alone", "--", "sh", "-c", programs]).ok();
    assert!(alone.starts_with("/bin/httpd\0"), "{alone:?}");
}
