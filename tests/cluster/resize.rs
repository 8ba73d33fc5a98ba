//! A pod is resized while it runs: the `kube` crate asks, the kernel's bounds tell.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use mizzen_tests::sample_server::administrator;
use mizzen_tests::wait::eventually;
use mizzen_tests::{Agent, Cluster, Registry, images};
use serde_json::{Value, json};

/// A file of one of the kernel's cgroup hierarchies, by its name with v1 or with v2.
fn bound(cgroup: &str, names: [&str; 2]) -> Option<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_cgroup = |line: &&str| line.split(" - ").nth(1).is_some_and(|end| end.starts_with("cgroup"));
    let roots = table.lines().filter(is_cgroup).filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let files = roots.flat_map(|root| names.map(|file| root.join(cgroup).join(file)));
    let text = files.into_iter().find_map(|file| std::fs::read_to_string(file).ok())?;
    Some(text.split_whitespace().next()?.to_owned())
}

/// What the kernel gives a cgroup of CPU time in a tenth of a second, in microseconds.
fn quota(cgroup: &str) -> Option<String> {
    bound(cgroup, ["cpu.cfs_quota_us", "cpu.max"])
}

/// Bytes.
fn memory(cgroup: &str) -> Option<String> {
    bound(cgroup, ["memory.limit_in_bytes", "memory.max"])
}

/// A pod of one container, `web`, which runs.
fn run(cluster: &Cluster, name: &str, container: &Value) {
    place(cluster, name, container, json!({}));
}

/// The same with more in its spec.
fn place(cluster: &Cluster, name: &str, container: &Value, mut spec: Value) {
    spec["terminationGracePeriodSeconds"] = json!(0);
    spec["containers"] = json!([container]);
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}).to_string());
    cluster.ready(name);
}

fn resize(cluster: &Cluster, pod: &str, resources: &Value) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let pods: Api<Pod> = Api::default_namespaced(administrator(cluster).await);
        let patch = json!({"spec": {"containers": [{"name": "web", "resources": resources}]}});
        pods.patch_subresource("resize", pod, &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    });
}

fn web(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

/// Waits until the container has these, and nothing is pending.
fn resized(cluster: &Cluster, pod: &str, resources: &Value) -> Value {
    cluster.until(&["pod", pod], &format!("has {resources}"), |pod| {
        let done = web(pod)["resources"] == *resources && conditions(pod).is_empty();
        done.then(|| pod.clone())
    })
}

/// Those about resizes: type, reason and message.
fn conditions(pod: &Value) -> Vec<(String, String, String)> {
    let all = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let of = |condition: &Value| (text(condition, "type"), text(condition, "reason"), text(condition, "message"));
    all.iter().map(of).filter(|(kind, ..)| kind.starts_with("PodResize")).collect()
}

/// Waits for a condition about a resize with this reason; answers its type and message.
fn told(cluster: &Cluster, pod: &str, reason: &str) -> (String, String) {
    cluster.until(&["pod", pod], &format!("has a resize that is {reason}"), |pod| {
        let found = conditions(pod).into_iter().find(|(_, told, _)| told == reason);
        found.map(|(kind, _, message)| (kind, message))
    })
}

fn cgroup(cluster_id: &str, class: &str, pod: &Value) -> String {
    format!("mizzen-{cluster_id}/{class}/pod{}", pod["metadata"]["uid"].as_str().unwrap())
}

fn own_cgroup(of_pod: &str, pod: &Value) -> String {
    format!("{of_pod}/{}", web(pod)["containerID"].as_str().unwrap().strip_prefix("mizzen://").unwrap())
}

#[test]
fn a_pod_that_runs_gets_other_amounts_without_a_restart() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let asks = |request: &str, limit: &str| json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
    run(&cluster, "web", &json!({"name": "web", "image": image, "resources": asks("100m", "500m")}));
    let pod = resized(&cluster, "web", &asks("100m", "500m"));
    let whole = cgroup(&cluster.id(), "burstable", &pod);
    let own = own_cgroup(&whole, &pod);
    assert_eq!(quota(&own).as_deref(), Some("50000"));

    // Greater, and then smaller than before: the pod's own cgroup is around the container's both times.
    for (limit, micros) in [("800m", "80000"), ("300m", "30000")] {
        resize(&cluster, "web", &asks("200m", limit));
        let now = resized(&cluster, "web", &asks("200m", limit));
        assert_eq!(quota(&own).as_deref(), Some(micros));
        assert_eq!(quota(&whole).as_deref(), Some(micros));
        assert_eq!((&web(&now)["restartCount"], &web(&now)["containerID"]), (&json!(0), &web(&pod)["containerID"]));
    }
    let events = eventually("the resizes are told", || {
        let events = cluster.whole_events("web");
        let done = events.iter().filter(|event| event["reason"] == "ResizeCompleted").count();
        (done == 2).then_some(events)
    });
    let started = events.iter().find(|event| event["reason"] == "ResizeStarted").unwrap();
    let said = r#"Pod resize started: {"containers":[{"name":"web","resources":{"limits":{"cpu":"800m"},"requests":{"cpu":"200m"}}}],"generation":2}"#;
    assert_eq!(started["message"], said);

    resize(&cluster, "web", &asks("1000", "2000"));
    let (kind, message) = told(&cluster, "web", "Infeasible");
    assert_eq!(kind, "PodResizePending");
    assert!(message.starts_with("Node didn't have enough capacity: cpu, requested: 1000000"), "{message}");
    assert_eq!(quota(&whole).as_deref(), Some("30000"), "what runs stays as it was");
    // What it does not have is taken from nobody.
    let beside = json!({"name": "web", "image": image, "resources": asks("100m", "100m")});
    place(&cluster, "beside", &beside, json!({"nodeName": "test-node"}));
    resize(&cluster, "web", &asks("200m", "300m"));
    resized(&cluster, "web", &asks("200m", "300m"));
}

#[test]
fn a_resize_waits_for_room_and_is_made_when_another_pod_goes() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let node = cluster.get(&["node", "test-node"]).unwrap();
    let cpus: u64 = node["status"]["allocatable"]["cpu"].as_str().unwrap().parse().expect("whole processors");
    let asks = |request: u64| json!({"requests": {"cpu": format!("{request}m")}});
    run(&cluster, "web", &json!({"name": "web", "image": image, "resources": asks(100)}));
    run(&cluster, "other", &json!({"name": "web", "image": image, "resources": asks(cpus * 1000 - 400)}));
    resize(&cluster, "web", &asks(600));
    let (kind, message) = told(&cluster, "web", "Deferred");
    assert_eq!(kind, "PodResizePending");
    let said = format!("cpu, requested: 600, used: {}, capacity: {}", cpus * 1000 - 400, cpus * 1000);
    assert_eq!(message, format!("Node didn't have enough resource: {said}"));
    let pod = cluster.get(&["pod", "web"]).unwrap();
    assert_eq!((&web(&pod)["resources"], &web(&pod)["allocatedResources"]), (&asks(100), &json!({"cpu": "100m"})));

    cluster.mizzen(&["delete", "pod", "other"]).ok();
    let pod = resized(&cluster, "web", &asks(600));
    assert_eq!((&web(&pod)["restartCount"], &web(&pod)["allocatedResources"]), (&json!(0), &json!({"cpu": "600m"})));
    let events = cluster.whole_events("web");
    assert!(events.iter().any(|event| event["reason"] == "ResizeDeferred"), "{events:#?}");
}

#[test]
fn memory_is_not_bounded_below_what_is_used() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let asks = |limit: &str| json!({"requests": {"memory": "1Mi"}, "limits": {"memory": limit}});
    let script = "a=xxxxxxxxxxxxxxxx; until [ ${#a} -ge 16777216 ]; do a=$a$a; done; touch /tmp/grown; while :; do sleep 1; done";
    let grown = json!({"exec": {"command": ["cat", "/tmp/grown"]}, "periodSeconds": 1});
    let container = json!({"name": "web", "image": image, "command": ["sh", "-c", script], "resources": asks("256Mi"),
        "readinessProbe": grown});
    run(&cluster, "web", &container);
    let pod = resized(&cluster, "web", &asks("256Mi"));
    let whole = cgroup(&cluster.id(), "burstable", &pod);
    resize(&cluster, "web", &asks("4Mi"));
    let (kind, message) = told(&cluster, "web", "Error");
    assert_eq!(kind, "PodResizeInProgress");
    assert!(
        message.starts_with("cannot decrease memory limits: [attempting to set pod memory limit (4194304) below"),
        "{message}"
    );
    assert_eq!(memory(&whole), Some((256 << 20).to_string()), "what runs stays as it was");
    resize(&cluster, "web", &asks("200Mi"));
    let now = resized(&cluster, "web", &asks("200Mi"));
    assert_eq!(memory(&whole), Some((200 << 20).to_string()));
    assert_eq!(web(&now)["restartCount"], 0);
    let events = cluster.whole_events("web");
    assert_eq!(events.iter().filter(|event| event["reason"] == "ResizeError").count(), 1, "{events:#?}");
}

#[test]
fn a_container_whose_policy_says_so_starts_again_with_what_it_asks_for() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let asks =
        |cpu: &str, limit: &str| json!({"requests": {"cpu": cpu, "memory": limit}, "limits": {"cpu": cpu, "memory": limit}});
    let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    let container = json!({"name": "web", "image": image, "resources": asks("200m", "64Mi"), "resizePolicy": policy});
    run(&cluster, "web", &container);
    resize(&cluster, "web", &asks("300m", "64Mi"));
    let pod = resized(&cluster, "web", &asks("300m", "64Mi"));
    assert_eq!(web(&pod)["restartCount"], 0, "CPU does without");
    resize(&cluster, "web", &asks("300m", "96Mi"));
    let pod = resized(&cluster, "web", &asks("300m", "96Mi"));
    assert_eq!(web(&pod)["restartCount"], 1);
    let whole = format!("mizzen-{}/pod{}", cluster.id(), pod["metadata"]["uid"].as_str().unwrap());
    let own = own_cgroup(&whole, &pod);
    assert_eq!((memory(&whole), memory(&own)), (Some((96 << 20).to_string()), Some((96 << 20).to_string())));
}

#[test]
fn what_was_asked_back_while_the_agent_was_away_is_given_back() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::server();
    let mut agent = Agent::join(&cluster, "n1");
    let asks = |limit: &str| json!({"requests": {"cpu": "100m"}, "limits": {"cpu": limit}});
    run(&cluster, "web", &json!({"name": "web", "image": image, "resources": asks("500m")}));
    resize(&cluster, "web", &asks("800m"));
    let pod = resized(&cluster, "web", &asks("800m"));
    let whole = cgroup(&mizzen_tests::leftovers::cluster_id(&agent.data()), "burstable", &pod);
    let own = own_cgroup(&whole, &pod);
    assert_eq!(quota(&own).as_deref(), Some("80000"));
    agent.kill();
    resize(&cluster, "web", &asks("500m"));
    agent.start();
    agent.wait_ready();
    eventually("it has what it had at first", || (quota(&own)? == "50000" && quota(&whole)? == "50000").then_some(()));
    assert_eq!(web(&resized(&cluster, "web", &asks("500m")))["restartCount"], 0);
}
