//! In which order the containers of a pod start, and what their postStart hooks have to say about it.

use mizzen_tests::client::is;
use mizzen_tests::{Cluster, Registry, eventually, images};
use serde_json::Value;

fn of<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    pod["status"]["containerStatuses"].as_array()?.iter().find(|status| status["name"] == container)
}

#[test]
fn a_container_starts_when_the_post_start_hook_of_the_one_before_is_done() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: ordered}}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{{name: work, emptyDir: {{}}}}]
  containers:
  - name: first
    image: '{image}'
    lifecycle: {{postStart: {{exec: {{command: [sh, -c, 'touch /work/hooked; until [ -e /work/go ]; do sleep 0.1; done']}}}}}}
    volumeMounts: [{{name: work, mountPath: /work}}]
  - {{name: second, image: '{image}', args: [-f, -p, '8081', -h, /www]}}
"
    ));
    let sh = |script: &str| cluster.mizzen(&["exec", "ordered", "-c", "first", "--", "sh", "-c", script]);
    eventually("the first runs, and its hook", || (sh("ls /work").stdout == "hooked\n").then_some(()));
    // The node tells of a pod that starts later meanwhile, and would have told of this one before.
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: later}}, spec: {{containers: [{{name: main, image: '{image}'}}]}}}}"
    ));
    cluster.ready("later");
    let pod = cluster.until(&["pod", "ordered"], "tells of both containers", |pod| {
        ["first", "second"].iter().all(|container| of(pod, container).is_some()).then(|| pod.clone())
    });
    for container in ["first", "second"] {
        let status = of(&pod, container).unwrap();
        assert_eq!(status["state"]["waiting"]["reason"], "ContainerCreating", "{container}: {status}");
    }
    assert_eq!((&pod["status"]["phase"], is(&pod, "Ready")), (&"Pending".into(), false));
    sh("touch /work/go").ok();
    cluster.ready("ordered");
    let pod = cluster.get(&["pod", "ordered"]).unwrap();
    for container in ["first", "second"] {
        assert_eq!(of(&pod, container).unwrap()["restartCount"], 0);
    }
    let started = eventually("both starts are told", || {
        let events = cluster.whole_events("ordered");
        let about = |event: &Value| event["involvedObject"]["fieldPath"].as_str().unwrap_or_default().to_owned();
        let started: Vec<_> = events.iter().filter(|event| event["reason"] == "Started").map(about).collect();
        (started.len() == 2).then_some(started)
    });
    assert_eq!(started, ["spec.containers{first}", "spec.containers{second}"]);
}

#[test]
fn a_container_whose_hook_fails_is_ended_and_holds_up_nobody() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: failing}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: first
    image: '{image}'
    lifecycle: {{postStart: {{exec: {{command: [sh, -c, 'echo secret; exit 3']}}}}}}
  - {{name: second, image: '{image}', args: [-f, -p, '8081', -h, /www]}}
"
    ));
    let pod = cluster.until(&["pod", "failing"], "has ended its first container and runs the second", |pod| {
        let (first, second) = (of(pod, "first")?, of(pod, "second")?);
        (first["state"]["terminated"].is_object() && second["state"]["running"].is_object()).then(|| pod.clone())
    });
    let ended = &of(&pod, "first").unwrap()["state"]["terminated"];
    assert_eq!(ended["message"], "PostStartHook failed: command exited with 3: secret");
    let events = eventually("the end is told", || {
        Some(cluster.whole_events("failing")).filter(|events| events.iter().any(|event| event["reason"] == "Killing"))
    });
    let said = |reason: &str| {
        let event = events.iter().find(|event| event["reason"] == reason);
        event.and_then(|event| event["message"].as_str()).unwrap_or_default().to_owned()
    };
    assert_eq!(said("FailedPostStartHook"), "PostStartHook failed", "what a hook printed may be secret");
    assert_eq!(said("Killing"), "FailedPostStartHook");
}

#[test]
fn a_pod_whose_hook_takes_long_can_be_deleted() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: slow}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: main, image: '{image}', lifecycle: {{postStart: {{exec: {{command: [sleep, '500']}}}}}}}}]
"
    ));
    eventually("it is started", || cluster.whole_events("slow").iter().any(|event| event["reason"] == "Started").then_some(()));
    cluster.mizzen(&["delete", "pod", "slow"]).ok();
    eventually("the pod is gone", || cluster.get(&["pod", "slow"]).is_none().then_some(()));
}
