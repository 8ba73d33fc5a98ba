//! How pods begin and end by their spec: deadlines, and configuration that is not there yet.

use mizzen_tests::client::is;
use mizzen_tests::{Cluster, Registry, eventually, images};
use serde_json::Value;

#[test]
fn a_pod_over_its_deadline_gets_its_grace_and_has_failed_when_it_ended() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    // It ends when its volume says so, some time after it was asked to.
    let late = |deadline: &str| {
        cluster.apply(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: late}}
spec:
  {deadline}
  restartPolicy: Never
  terminationGracePeriodSeconds: 600
  volumes: [{{name: work, emptyDir: {{}}}}]
  containers:
  - name: main
    image: '{image}'
    command: [sh, -c, 'trap \"touch /work/asked\" TERM; touch /work/began; until [ -e /work/end ]; do sleep 0.1; done']
    volumeMounts: [{{name: work, mountPath: /work}}]
"
        ))
    };
    late("");
    cluster.ready("late");
    let sh = |script: &str| cluster.mizzen(&["exec", "late", "--", "sh", "-c", script]);
    eventually("it listens", || (sh("ls /work").ok() == "began\n").then_some(()));
    late("activeDeadlineSeconds: 1");
    let ended = cluster.until(&["pod", "late"], "is unready for its age", |pod| {
        let conditions = pod["status"]["conditions"].as_array()?;
        conditions.iter().any(|condition| condition["reason"] == "PodFailed").then(|| pod.clone())
    });
    eventually("it was asked to end", || (sh("ls /work").ok() == "asked\nbegan\n").then_some(()));
    assert_eq!((&ended["status"]["phase"], &ended["status"]["reason"]), (&"Running".into(), &Value::Null), "{ended}");
    assert!(!is(&ended, "Ready"));
    sh("touch /work/end").ok();
    let failed = cluster.until(&["pod", "late"], "has failed", |pod| (pod["status"]["phase"] == "Failed").then(|| pod.clone()));
    assert_eq!(failed["status"]["reason"], "DeadlineExceeded");
    let message = "Pod was active on the node longer than the specified deadline";
    assert_eq!(failed["status"]["message"], message);
    assert!(failed["status"]["containerStatuses"][0]["state"]["terminated"].is_object(), "{failed}");
    let event = eventually("the event is there", || {
        cluster.whole_events("late").into_iter().find(|event| event["reason"] == "DeadlineExceeded")
    });
    assert_eq!((&event["message"], &event["type"]), (&message.into(), &"Normal".into()));
}

#[test]
fn a_pod_recovers_as_soon_as_its_configuration_is_there_and_says_once_what_it_lacks() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: early}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: main, image: '{image}', envFrom: [{{configMapRef: {{name: late}}}}]}}]
"
    ));
    let waiting = |pod: &Value| {
        let waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"].clone();
        (waiting["reason"] == "CreateContainerConfigError").then_some(waiting)
    };
    let said = cluster.until(&["pod", "early"], "waits for its ConfigMap", waiting);
    assert_eq!(said["message"], "configmap \"late\" not found");
    cluster.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late}\ndata: {A: b}\n");
    cluster.ready("early");
    // Events are told in order, after the status.
    let events = eventually("its start is told", || {
        Some(cluster.whole_events("early")).filter(|events| events.iter().any(|event| event["reason"] == "Started"))
    });
    let failed: Vec<_> = events.iter().filter(|event| event["reason"] == "Failed").collect();
    assert_eq!(failed.len(), 1, "repetitions are counted: {failed:#?}");
    assert_eq!(failed[0]["message"], "Error: configmap \"late\" not found");
}

#[test]
fn a_pod_that_must_not_be_root_is_refused_in_words_that_name_it() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: careful}}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {{runAsNonRoot: true}}
  containers: [{{name: main, image: '{image}'}}]
"
    ));
    let (message, uid) = cluster.until(&["pod", "careful"], "is refused", |pod| {
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        let message = waiting["message"].as_str().filter(|_| waiting["reason"] == "CreateContainerConfigError")?;
        Some((message.to_owned(), pod["metadata"]["uid"].as_str()?.to_owned()))
    });
    let place = format!("(pod: \"careful_default({uid})\", container: main)");
    assert_eq!(message, format!("container has runAsNonRoot and image will run as root {place}"));
}
