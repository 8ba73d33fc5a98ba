//! StatefulSets, Jobs and CronJobs, and how a node treats their pods.

use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};
use serde_json::Value;

fn stateful_set(image: &str, replicas: u8) -> String {
    format!(
        "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  serviceName: db
  replicas: {replicas}
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {{name: main, image: '{image}', command: [/bin/sh, -c, 'hostname; exec sleep 3600']}}
"
    )
}

fn images_of(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.kubectl(&["get", "pods", "-l", "app=db", "-o", "jsonpath={.items[*].spec.containers[0].image}"]).ok();
    pods.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_stateful_set_keeps_pods_by_number_and_rolls_out_and_back_from_the_last() {
    let registry = Registry::start();
    let (first, second) = (images::busybox(&registry, "db:v1"), images::busybox(&registry, "db:v2"));
    let cluster = Cluster::up();
    let kubectl = |arguments: &[&str]| cluster.kubectl(arguments).ok();
    cluster.kubectl_apply(&stateful_set(&first, 2));
    let status = || kubectl(&["rollout", "status", "sts/db", "--timeout=120s"]);
    status();
    assert_eq!(kubectl(&["get", "pods", "-l", "app=db", "-o", "name"]), "pod/db-0\npod/db-1\n");
    assert_eq!(kubectl(&["logs", "db-1"]), "db-1\n");
    kubectl(&["delete", "pod", "db-0"]);
    cluster.kubectl_wait("condition=Ready", &["pod/db-0"]);

    kubectl(&["patch", "sts", "db", "-p", r#"{"spec":{"updateStrategy":{"rollingUpdate":{"partition":1}}}}"#]);
    kubectl(&["set", "image", "sts/db", &format!("main={second}")]);
    eventually("the last pod alone is new", || (images_of(&cluster) == [first.clone(), second.clone()]).then_some(()));
    kubectl(&["patch", "sts", "db", "-p", r#"{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}"#]);
    status();
    assert_eq!(images_of(&cluster), [second.clone(), second]);
    assert!(kubectl(&["rollout", "undo", "sts/db"]).contains("rolled back"));
    status();
    assert_eq!(images_of(&cluster), [first.clone(), first]);

    kubectl(&["scale", "sts/db", "--replicas=0"]);
    eventually("no pod is left", || images_of(&cluster).is_empty().then_some(()));
}

fn job(name: &str, image: &str, script: &str, spec: &str) -> String {
    format!(
        "apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  {spec}
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers:
      - {{name: main, image: '{image}', command: [/bin/sh, -c, '{script}']}}
"
    )
}

fn reason(cluster: &Cluster, job: &str, condition: &str) -> String {
    let path = format!("jsonpath={{.status.conditions[?(@.type==\"{condition}\")].reason}}");
    cluster.kubectl(&["get", "job", job, "-o", &path]).ok()
}

#[test]
fn jobs_run_to_their_end_and_say_how_they_ended() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "job:v1");
    let cluster = Cluster::up();
    let kubectl = |arguments: &[&str]| cluster.kubectl(arguments).ok();
    let indexed = "completions: 3\n  parallelism: 2\n  completionMode: Indexed";
    cluster.kubectl_apply(&job("count", &image, "echo $JOB_COMPLETION_INDEX; hostname", indexed));
    let rule = "{action: FailJob, onExitCodes: {operator: In, values: [42]}}";
    let policy = format!("podFailurePolicy: {{rules: [{rule}]}}");
    cluster.kubectl_apply(&job("fatal", &image, "exit 42", &policy));
    cluster.kubectl_apply(&job("late", &image, "sleep 3600", "activeDeadlineSeconds: 2"));
    let one =
        "completions: 2\n  parallelism: 2\n  completionMode: Indexed\n  successPolicy: {rules: [{succeededIndexes: \"0\"}]}";
    cluster.kubectl_apply(&job("enough", &image, "[ $JOB_COMPLETION_INDEX = 0 ] || sleep 3600", one));

    cluster.kubectl_wait("condition=Complete", &["job/count", "job/enough"]);
    cluster.kubectl_wait("condition=Failed", &["job/fatal", "job/late"]);
    let status: Value = serde_json::from_str(&kubectl(&["get", "job", "count", "-o", "jsonpath={.status}"])).unwrap();
    assert_eq!((&status["succeeded"], &status["completedIndexes"]), (&3.into(), &"0-2".into()));
    assert_eq!(status["uncountedTerminatedPods"], serde_json::json!({}));
    let second = "job-name=count,batch.kubernetes.io/job-completion-index=1";
    assert_eq!(kubectl(&["logs", "-l", second]), "1\ncount-1\n");
    assert_eq!(reason(&cluster, "count", "Complete"), "CompletionsReached");
    assert_eq!(reason(&cluster, "enough", "Complete"), "SuccessPolicy");
    assert_eq!(reason(&cluster, "fatal", "Failed"), "PodFailurePolicy");
    assert_eq!(reason(&cluster, "late", "Failed"), "DeadlineExceeded");
    let held = "jsonpath={.items[*].metadata.finalizers}";
    eventually("every pod is counted", || kubectl(&["get", "pods", "-o", held]).is_empty().then_some(()));
    assert!(kubectl(&["get", "job", "count"]).contains("Complete   3/3"));

    kubectl(&["delete", "job", "--all"]);
    eventually("the pods went with their jobs", || kubectl(&["get", "pods", "-o", "name"]).is_empty().then_some(()));
}

#[test]
fn a_cron_job_starts_a_job_each_time_it_is_due() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "tick:v1");
    let cluster = Cluster::up();
    let kubectl = |arguments: &[&str]| cluster.kubectl(arguments).ok();
    kubectl(&["create", "cronjob", "tick", "--schedule=@every 2s", "--image", &image, "--", "/bin/true"]);
    kubectl(&["patch", "cronjob", "tick", "-p", r#"{"spec":{"successfulJobsHistoryLimit":1}}"#]);
    let told = |field: &str| kubectl(&["get", "cronjob", "tick", "-o", &format!("jsonpath={{.status.{field}}}")]);
    eventually("one of its jobs is complete", || (!told("lastSuccessfulTime").is_empty()).then_some(()));
    kubectl(&["patch", "cronjob", "tick", "-p", r#"{"spec":{"suspend":true}}"#]);
    eventually("only the last is kept", || {
        let jobs = kubectl(&["get", "jobs", "-o", "jsonpath={.items[*].metadata.ownerReferences[0].name}"]);
        (jobs == "tick" && told("active").is_empty()).then_some(())
    });
    // It counts among the cron job's own, and may have begun within the same second.
    kubectl(&["patch", "cronjob", "tick", "-p", r#"{"spec":{"successfulJobsHistoryLimit":3}}"#]);
    let by_hand = kubectl(&["create", "job", "by-hand", "--from=cronjob/tick"]);
    assert_eq!(by_hand, "job.batch/by-hand created\n");
    cluster.kubectl_wait("condition=Complete", &["job/by-hand"]);
}

#[test]
fn a_pod_held_by_a_finalizer_tells_how_it_ended() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "held:v1");
    let cluster = Cluster::up();
    let kubectl = |arguments: &[&str]| cluster.kubectl(arguments).ok();
    cluster.kubectl_apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: held, finalizers: [example.com/held]}}
spec:
  containers:
  - {{name: main, image: '{image}', command: [/bin/sh, -c, 'trap \"exit 3\" TERM; while :; do sleep 1; done']}}
"
    ));
    cluster.kubectl_wait("condition=Ready", &["pod/held"]);
    // What others make of the node's own conditions does not stay.
    kubectl(&[
        "patch",
        "pod",
        "held",
        "--subresource=status",
        "-p",
        r#"{"status":{"conditions":[{"type":"Ready","status":"False"}]}}"#,
    ]);
    cluster.kubectl_wait("condition=Ready", &["pod/held"]);

    kubectl(&["delete", "pod", "held", "--wait=false"]);
    cluster.kubectl_wait("jsonpath={.status.phase}=Failed", &["pod/held"]);
    let code = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}";
    assert_eq!(kubectl(&["get", "pod", "held", "-o", code]), "3");
    kubectl(&["patch", "pod", "held", "--type=json", "-p", r#"[{"op":"remove","path":"/metadata/finalizers"}]"#]);
    eventually("it is gone", || kubectl(&["get", "pods", "-o", "name"]).is_empty().then_some(()));
}

#[test]
fn a_node_refuses_a_port_twice_and_gives_what_others_count_on_it() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "node:v1");
    let cluster = Cluster::up();
    let kubectl = |arguments: &[&str]| cluster.kubectl(arguments).ok();
    let node = kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let pod = |name: &str, more: &str| {
        format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  nodeName: {node}
  volumes: [{{name: files, image: {{reference: '{image}', pullPolicy: IfNotPresent}}}}]
  containers:
  - name: main
    image: '{image}'
    ports: [{{containerPort: 8080, hostPort: 21017}}]
    volumeMounts: [{{name: files, mountPath: /files}}]
    {more}
"
        )
    };
    cluster.kubectl_apply(&pod("first", ""));
    cluster.kubectl_wait("condition=Ready", &["pod/first"]);
    cluster.kubectl_apply(&pod("second", ""));
    cluster.kubectl_wait("jsonpath={.status.reason}=NodePorts", &["pod/second"]);
    // An image is a volume too, which nobody writes.
    assert_eq!(kubectl(&["exec", "first", "--", "cat", "/files/www/index.html"]), "hello from node:v1\n");
    let said = cluster.kubectl(&["exec", "first", "--", "touch", "/files/new"]).err();
    assert!(said.contains("Read-only file system"), "{said}");

    let patch = r#"[{"op":"add","path":"/status/capacity/example.com~1foo","value":"5"}]"#;
    kubectl(&["patch", "node", &node, "--subresource=status", "--type=json", "-p", patch]);
    let amount = r"jsonpath={.status.allocatable.example\.com/foo}";
    eventually("the amount can be asked for", || (kubectl(&["get", "node", &node, "-o", amount]) == "5").then_some(()));
}
