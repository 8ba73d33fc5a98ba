//! Priorities, preemption, profiles, and the simulated nodes that show them.

use mizzen_tests::hollow::Hollow;
use mizzen_tests::{Cluster, Kubectl, eventually};

fn phase(cluster: &Cluster, pod: &str) -> String {
    cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.phase}"]).stdout
}

fn classes(cluster: &Cluster, values: &[(&str, i32)]) {
    for (name, value) in values {
        cluster.kubectl_apply(&format!(
            "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {{name: {name}}}\nvalue: {value}\n"
        ));
    }
}

/// A pod that asks for so much of the resource of [`NODE`].
fn pod(name: &str, class: &str, amount: u32) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  priorityClassName: {class}
  containers:
  - {{name: main, image: none, resources: {{requests: {{example.com/seats: {amount}}}, limits: {{example.com/seats: {amount}}}}}}}
"
    )
}

/// Profile of nodes with 1,000 of a resource, whose pods take a second to go.
const NODE: &str =
    "nodes: {capacity: {cpu: '8', memory: 8Gi, pods: '100', example.com/seats: '1000'}}\npods: [{stopAfter: 1s}]\n";

#[test]
fn a_pod_of_a_higher_priority_takes_the_place_of_others_which_are_told_why() {
    let cluster = Cluster::server();
    let _hollow = Hollow::start(&cluster, &["--nodes", "1"], NODE);
    classes(&cluster, &[("low", 1), ("high", 100)]);
    let kept = pod("low", "low", 600).replace("name: low}", "name: low, finalizers: [example.com/look]}");
    cluster.kubectl_apply(&kept);
    cluster.kubectl_apply(&pod("small", "low", 300));
    cluster.kubectl_wait("condition=Ready", &["pod/low", "pod/small"]);
    cluster.kubectl_apply(&pod("high", "high", 600));
    let low = eventually("the pod that is in the way ends", || {
        let low = cluster.get(&["pod", "low"])?;
        low.pointer("/metadata/deletionTimestamp").is_some().then_some(low)
    });
    let told = low["status"]["conditions"].as_array().expect("has conditions").iter();
    let told = told.clone().find(|condition| condition["type"] == "DisruptionTarget").expect("is told why");
    assert_eq!((told["status"].as_str(), told["reason"].as_str()), (Some("True"), Some("PreemptionByScheduler")));
    let high = cluster.until(&["pod", "high"], "has its place reserved", |high| {
        (high["status"]["nominatedNodeName"] == "hollow-0").then(|| high.clone())
    });
    let by = format!("Preempted by pod {} on node hollow-0", high["metadata"]["uid"].as_str().expect("has a uid"));
    eventually("an event says by whom", || {
        let events =
            cluster.kubectl(&["get", "events", "--field-selector", "reason=Preempted", "-o", "jsonpath={.items[*].message}"]);
        events.stdout.contains(&by).then_some(())
    });
    // It only goes with its finalizer, and until then nobody else gets its room.
    cluster.kubectl_apply(&pod("late", "low", 600));
    let wanted = "0/1 nodes are available: 1 Insufficient example.com/seats. preemption: 0/1 nodes are available: \
                  1 No preemption victims found for incoming pod.";
    eventually("the late one waits", || {
        let conditions = cluster.kubectl(&["get", "pod", "late", "-o", "jsonpath={.status.conditions[*].message}"]);
        (conditions.stdout == wanted).then_some(())
    });
    cluster.kubectl(&["patch", "pod", "low", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).ok();
    cluster.kubectl_wait("condition=Ready", &["pod/high"]);
    assert_eq!((phase(&cluster, "small").as_str(), phase(&cluster, "late").as_str()), ("Running", "Pending"));
}

#[test]
fn replica_sets_of_four_priorities_share_a_node_by_their_priorities() {
    let cluster = Cluster::server();
    let _hollow = Hollow::start(&cluster, &["--nodes", "1"], NODE);
    classes(&cluster, &[("p1", 1), ("p2", 2), ("p3", 3), ("p4", 4)]);
    let set = |name: &str, amount: u32| {
        let spec = pod("x", name, amount);
        let spec = spec.split("spec:\n").nth(1).expect("has a spec").replace("\n  ", "\n      ");
        cluster.kubectl_apply(&format!(
            "apiVersion: apps/v1
kind: ReplicaSet
metadata: {{name: {name}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
    {spec}"
        ));
    };
    let ready =
        |name: &str| cluster.kubectl(&["get", "replicaset", name, "-o", "jsonpath={.status.readyReplicas}"]).stdout == "1";
    for (name, amount) in [("p1", 200), ("p2", 300), ("p3", 450)] {
        set(name, amount);
        eventually(&format!("{name} runs"), || ready(name).then_some(()));
    }
    set("p4", 500);
    eventually("the most important one runs", || ready("p4").then_some(()));
    eventually("of the others, what still has room", || (ready("p3") && !ready("p1") && !ready("p2")).then_some(()));
    eventually("their sets make them anew", || {
        let waiting = cluster.kubectl(&["get", "pods", "--field-selector", "status.phase=Pending", "-o", "name"]).ok();
        (waiting.lines().count() == 2).then_some(())
    });
}

#[test]
fn pods_of_a_scheduler_name_are_decided_on_by_its_profile() {
    let config = "scheduler:
  profiles:
  - {}
  - schedulerName: careless
    plugins: {filter: {disabled: [{name: TaintToleration}]}}
";
    let cluster = Cluster::server_configured(config);
    let tainted = NODE.replace("nodes: {", "nodes: {taints: [{key: dedicated, value: db, effect: NoSchedule}], ");
    let _hollow = Hollow::start(&cluster, &["--nodes", "1"], &tainted);
    classes(&cluster, &[("low", 1)]);
    let of = |name: &str, scheduler: &str| {
        cluster.kubectl_apply(&pod(name, "low", 1).replace("spec:\n", &format!("spec:\n  schedulerName: {scheduler}\n")));
    };
    // The one that is nobody's comes first: whoever took all pods would have decided on it when the others are.
    of("foreign", "nobody");
    of("careless", "careless");
    of("careful", "default-scheduler");
    cluster.kubectl_wait("condition=Ready", &["pod/careless"]);
    cluster.kubectl_wait("condition=PodScheduled=False", &["pod/careful"]);
    let by = "jsonpath={.items[*].source.component}";
    let event = |reason: &str| {
        eventually(reason, || {
            let found = cluster.kubectl(&["get", "events", "--field-selector", &format!("reason={reason}"), "-o", by]).stdout;
            (!found.is_empty()).then_some(found)
        })
    };
    assert_eq!(event("Scheduled"), "careless");
    assert_eq!(event("FailedScheduling"), "default-scheduler");
    let foreign = cluster.get(&["pod", "foreign"]).expect("is there");
    assert_eq!(foreign["status"].get("conditions"), None, "no scheduler of ours looked at it");
}

#[test]
fn a_profile_spreads_pods_that_say_nothing_of_it_as_its_arguments_say() {
    let config = "scheduler:
  profiles:
  - {}
  - schedulerName: even
    pluginConfig:
    - name: PodTopologySpread
      args:
        defaultingType: List
        defaultConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule}]
";
    let cluster = Cluster::server_configured(config);
    let _hollow = Hollow::start(&cluster, &["--nodes", "2"], NODE);
    cluster.kubectl(&["cordon", "hollow-1"]).ok();
    let set = |name: &str, scheduler: &str| {
        cluster.kubectl_apply(&format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: 2\n  selector: {{matchLabels: {{app: \
             {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      schedulerName: {scheduler}\n      \
             containers: [{{name: main, image: none}}]\n"
        ));
    };
    set("even", "even");
    let events = ["get", "events", "--field-selector", "reason=FailedScheduling", "-o", "jsonpath={.items[*].message}"];
    eventually("the second one would lead by too much", || {
        let said = cluster.kubectl(&events).stdout;
        said.contains("1 node(s) didn't match pod topology spread constraints").then_some(())
    });
    set("uneven", "default-scheduler");
    cluster.kubectl(&["rollout", "status", "deployment/uneven"]).ok();
    cluster.kubectl(&["uncordon", "hollow-1"]).ok();
    cluster.kubectl(&["rollout", "status", "deployment/even"]).ok();
    let nodes = cluster.kubectl(&["get", "pods", "-l", "app=even", "-o", "jsonpath={.items[*].spec.nodeName}"]).ok();
    let mut nodes: Vec<&str> = nodes.split(' ').collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["hollow-0", "hollow-1"]);
}

#[test]
fn hollow_nodes_run_pods_by_their_profile_and_go_when_interrupted() {
    let cluster = Cluster::server();
    let profile = "nodes: {zones: 2}\npods:\n- {selector: app=ends, finishAfter: 1s}\n- {selector: app=fails, finishAfter: 1s, failPercent: 100}\n";
    let mut hollow = Hollow::start(&cluster, &["--nodes", "4"], profile);
    cluster.kubectl_wait("condition=Ready", &["node", "--all"]);
    let zones = cluster.kubectl(&["get", "nodes", "-l", "topology.kubernetes.io/zone=zone-1", "-o", "name"]).ok();
    assert_eq!(zones, "node/hollow-1\nnode/hollow-3\n");
    for name in ["ends", "fails", "stays"] {
        cluster.kubectl(&["run", name, "--image=none", "--restart=Never", &format!("--labels=app={name}")]).ok();
    }
    cluster.kubectl_wait("jsonpath={.status.phase}=Succeeded", &["pod/ends"]);
    cluster.kubectl_wait("jsonpath={.status.phase}=Failed", &["pod/fails"]);
    cluster.kubectl_wait("condition=Ready", &["pod/stays"]);
    cluster.kubectl(&["create", "deployment", "web", "--image=none", "--replicas=8"]).ok();
    cluster.kubectl(&["rollout", "status", "deployment/web"]).ok();
    let nodes = cluster.kubectl(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}"]).ok();
    let mut nodes: Vec<&str> = nodes.split(' ').collect();
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(nodes, ["hollow-0", "hollow-1", "hollow-2", "hollow-3"], "two on each");
    cluster.kubectl(&["delete", "pod", "stays", "--wait", "--timeout=120s"]).ok();
    assert_eq!(hollow.interrupt(), Some(0), "{}", hollow.said());
    assert_eq!(cluster.kubectl(&["get", "nodes", "-o", "name"]).ok(), "");
}

#[test]
fn hollow_nodes_go_when_interrupted_before_the_last_one_is_there() {
    let cluster = Cluster::server();
    let mut hollow = Hollow::begin(&cluster, &["--nodes", "2000"], NODE);
    eventually("one is there", || {
        let nodes = cluster.kubectl(&["get", "nodes", "-o", "name"]).stdout;
        (!nodes.is_empty()).then_some(())
    });
    assert_eq!(hollow.interrupt(), Some(0), "{}", hollow.said());
    assert_eq!(cluster.kubectl(&["get", "nodes", "-o", "name"]).ok(), "");
}
