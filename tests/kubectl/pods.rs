//! What a pod's spec asks for and its status tells: configuration, probes, restarts, limits, host ports.

use mizzen_tests::cluster::http;
use mizzen_tests::ports::Port;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};
use serde_json::Value;

/// A pod's first container status, once it is as asked.
fn container(cluster: &Cluster, pod: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{pod}: {what}"), || {
        let status = cluster.get(&["pod", pod])?["status"]["containerStatuses"][0].clone();
        is(&status).then_some(status)
    })
}

fn is_ready(cluster: &Cluster, pod: &str) -> bool {
    cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}"]).ok() == "True"
}

#[test]
fn a_pod_gets_its_configuration_as_variables_and_files_after_its_init_containers() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let mut cluster = Cluster::up();
    cluster.kubectl(&["create", "configmap", "settings", "--from-literal=COLOUR=blue", "--from-literal=app.conf=key=value"]).ok();
    cluster.kubectl(&["create", "secret", "generic", "keys", "--from-literal=PASSWORD=s3cret"]).ok();
    cluster.kubectl_apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: configured, labels: {{tier: back}}}}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
  - {{name: first, image: '{image}', command: [sh, -c, 'echo -n one >/work/order'], volumeMounts: [{{name: work, mountPath: /work}}]}}
  - {{name: second, image: '{image}', command: [sh, -c, 'echo -n \" two\" >>/work/order'], volumeMounts: [{{name: work, mountPath: /work}}]}}
  containers:
  - name: main
    image: '{image}'
    command: [sh, -c, 'while :; do sleep 1; done']
    envFrom: [{{configMapRef: {{name: settings}}, prefix: CM_}}]
    env:
    - {{name: PASSWORD, valueFrom: {{secretKeyRef: {{name: keys, key: PASSWORD}}}}}}
    - {{name: COLOUR, valueFrom: {{configMapKeyRef: {{name: settings, key: COLOUR}}}}}}
    - {{name: NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
    - {{name: GREETING, value: '$(NAME) is $(COLOUR)'}}
    volumeMounts:
    - {{name: work, mountPath: /work}}
    - {{name: settings, mountPath: /settings}}
    - {{name: keys, mountPath: /keys, readOnly: true}}
  volumes:
  - {{name: work, emptyDir: {{}}}}
  - {{name: settings, configMap: {{name: settings}}}}
  - {{name: keys, secret: {{secretName: keys, defaultMode: 0400}}}}
"
    ));
    cluster.kubectl_wait("condition=Ready", &["pod/configured"]);
    let sh = |script: &str| cluster.kubectl(&["exec", "configured", "--", "sh", "-c", script]);
    assert_eq!(sh("echo $CM_COLOUR $PASSWORD $GREETING").ok(), "blue s3cret configured is blue\n");
    assert_eq!(sh("cat /work/order /settings/app.conf /keys/PASSWORD").ok(), "one twokey=values3cret");
    assert!(sh("ls -lL /keys/PASSWORD").ok().starts_with("-r--------"));
    assert_ne!(sh("touch /keys/x").code, Some(0), "a read-only mount");
    assert_eq!(sh("cat /var/run/secrets/kubernetes.io/serviceaccount/namespace").ok(), "default");

    // Mounted files are looked at again every minute; a new agent does so at once.
    cluster.kubectl(&["patch", "cm", "settings", "-p", r#"{"data":{"app.conf":"key=other"}}"#]).ok();
    cluster.kill();
    cluster.start();
    let sh = |script: &str| cluster.kubectl(&["exec", "configured", "--", "sh", "-c", script]);
    eventually("the file follows its ConfigMap", || (sh("cat /settings/app.conf").ok() == "key=other").then_some(()));

    // What is missing holds the pod back, with a reason, and not for ever.
    cluster.kubectl_apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: early}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: main, image: '{image}', envFrom: [{{configMapRef: {{name: late}}}}]}}]
"
    ));
    container(&cluster, "early", "waits for its ConfigMap", |status| {
        status["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    });
    cluster.kubectl(&["create", "configmap", "late"]).ok();
    cluster.kubectl_wait("condition=Ready", &["pod/early"]);
}

#[test]
fn probes_decide_when_a_pod_is_ready_and_when_a_container_starts_again() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.kubectl_apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: probed}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: '{image}'
    command: [sh, -c, 'touch /tmp/alive; while :; do sleep 1; done']
    startupProbe: {{exec: {{command: [cat, /tmp/alive]}}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 60}}
    readinessProbe: {{exec: {{command: [cat, /tmp/ready]}}, periodSeconds: 1, timeoutSeconds: 60}}
    livenessProbe: {{exec: {{command: [cat, /tmp/alive]}}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1}}
"
    ));
    container(&cluster, "probed", "has started", |status| status["started"] == true);
    assert!(!is_ready(&cluster, "probed"), "a process that runs is not ready yet");
    cluster.kubectl(&["exec", "probed", "--", "touch", "/tmp/ready"]).ok();
    cluster.kubectl_wait("condition=Ready", &["pod/probed"]);
    cluster.kubectl(&["exec", "probed", "--", "/bin/busybox", "rm", "/tmp/ready"]).ok();
    cluster.kubectl_wait("condition=Ready=false", &["pod/probed"]);
    cluster.kubectl(&["exec", "probed", "--", "/bin/busybox", "rm", "/tmp/alive"]).ok();
    container(&cluster, "probed", "runs again", |status| status["restartCount"] == 1 && status["started"] == true);
    eventually("both are told", || {
        let about = ["get", "events", "--field-selector", "involvedObject.name=probed", "-o", "jsonpath={.items[*].reason}"];
        let events = cluster.kubectl(&about).ok();
        (events.contains("Unhealthy") && events.contains("Killing")).then_some(())
    });
}

#[test]
fn restart_policies_limits_and_a_broken_image_show_as_kubernetes_shows_them() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let pod = |name: &str, policy: &str, script: &str, more: &str| {
        cluster.kubectl_apply(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: {policy}
  containers: [{{name: main, image: '{image}', command: [sh, -c, '{script}']{more}}}]
"
        ));
    };
    pod("crashing", "Always", "exit 3", "");
    pod("done", "OnFailure", "exit 0", "");
    pod("failed", "Never", "exit 9", "");
    pod("greedy", "Never", "a=xxxxxxxxxxxxxxxx; while :; do a=$a$a; done", ", resources: {limits: {memory: 32Mi}}");
    pod("missing", "Never", "exit 0", "");
    cluster.kubectl(&["run", "nowhere", "--image", &registry.reference("none:v1"), "--restart=Never"]).ok();

    cluster.kubectl_wait("jsonpath={.status.phase}=Succeeded", &["pod/done"]);
    cluster.kubectl_wait("jsonpath={.status.phase}=Failed", &["pod/failed", "pod/greedy"]);
    let failed = container(&cluster, "failed", "ended", |_| true);
    assert_eq!(failed["state"]["terminated"]["exitCode"], 9);
    assert_eq!(failed["restartCount"], 0);
    let greedy = container(&cluster, "greedy", "ended", |_| true);
    assert_eq!(greedy["state"]["terminated"]["reason"], "OOMKilled", "{greedy}");
    assert_eq!(greedy["state"]["terminated"]["exitCode"], 137);

    let crashing =
        container(&cluster, "crashing", "backs off", |status| status["state"]["waiting"]["reason"] == "CrashLoopBackOff");
    assert_eq!(crashing["lastState"]["terminated"]["exitCode"], 3);
    assert!(crashing["state"]["waiting"]["message"].as_str().unwrap().starts_with("back-off "), "{crashing}");
    let table = eventually("kubectl shows it", || {
        let table = cluster.kubectl(&["get", "pods"]).ok();
        table.contains("CrashLoopBackOff").then_some(table)
    });
    for (name, status) in [("done", "Completed"), ("failed", "Error"), ("greedy", "OOMKilled")] {
        assert!(table.lines().any(|line| line.starts_with(name) && line.contains(status)), "{table}");
    }
    container(&cluster, "nowhere", "its image cannot be pulled", |status| {
        ["ErrImagePull", "ImagePullBackOff"].iter().any(|reason| status["state"]["waiting"]["reason"] == *reason)
    });
    eventually("kubectl tells why", || {
        let described = cluster.kubectl(&["describe", "pod", "nowhere"]).ok();
        (described.contains("Failed to pull image") && described.contains("none:v1")).then_some(())
    });
}

#[test]
fn a_pod_can_be_reached_by_host_port_and_can_use_the_hosts_network() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let ports = (Port::reserve(), Port::reserve());
    let (mapped, direct) = (ports.0.number(), ports.1.number());
    cluster.kubectl_apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: mapped}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: web, image: '{image}', ports: [{{containerPort: 8080, hostPort: {mapped}}}]}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: direct}}
spec:
  terminationGracePeriodSeconds: 0
  hostNetwork: true
  containers: [{{name: web, image: '{image}', args: [-f, -p, '127.0.0.1:{direct}', -h, /www]}}]
"
    ));
    cluster.kubectl_wait("condition=Ready", &["pod/mapped", "pod/direct"]);
    let node = cluster.get(&["node", "test-node"]).unwrap();
    let node = node["status"]["addresses"][0]["address"].as_str().unwrap().parse().unwrap();
    let loopback = "127.0.0.1".parse().unwrap();
    eventually("the host's port answers", || (http(node, mapped).stdout == "hello from web:v1\n").then_some(()));
    eventually("the host's network answers", || (http(loopback, direct).stdout == "hello from web:v1\n").then_some(()));
    let direct = cluster.get(&["pod", "direct"]).unwrap();
    assert_eq!(direct["status"]["podIP"], direct["status"]["hostIP"]);
    // A second pod with the port has no place on the only node.
    cluster.kubectl_apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: second}}
spec:
  containers: [{{name: web, image: '{image}', ports: [{{containerPort: 8080, hostPort: {mapped}}}]}}]
"
    ));
    cluster.kubectl_wait("condition=PodScheduled=false", &["pod/second"]);
    eventually("kubectl tells why", || {
        cluster.kubectl(&["describe", "pod", "second"]).ok().contains("didn't have free ports").then_some(())
    });
}
