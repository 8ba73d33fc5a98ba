//! What holds for a pod holds for a Wasm pod: probes, hooks, restarts, limits, single files, names.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use mizzen_tests::cluster::http;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};
use serde_json::Value;

fn container(cluster: &Cluster, pod: &str) -> Option<Value> {
    Some(cluster.get(&["pod", pod])?["status"]["containerStatuses"][0].clone())
}

fn events(cluster: &Cluster, pod: &str) -> String {
    let path = format!("jsonpath={{range .items[?(@.involvedObject.name=='{pod}')]}}{{.reason}}: {{.message}}{{'\\n'}}{{end}}");
    cluster.kubectl(&["get", "events", "-o", &path]).ok()
}

#[test]
fn probes_hooks_and_restarts_are_those_of_any_pod() {
    let registry = Registry::start();
    let (serving, command) =
        (images::wasm(&registry, "tryout_http", "tryout:v1"), images::wasm(&registry, "hello-cli", "cli:v1"));
    let cluster = Cluster::up();
    cluster.kubectl_apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: good}}
spec:
  containers:
  - name: main
    image: {serving}
    ports: [{{name: web, containerPort: 8080}}]
    startupProbe: {{tcpSocket: {{port: web}}, periodSeconds: 1, timeoutSeconds: 60}}
    readinessProbe: {{httpGet: {{path: /status/204, port: web}}, periodSeconds: 1, timeoutSeconds: 60}}
    livenessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1, timeoutSeconds: 60}}
    lifecycle:
      postStart: {{httpGet: {{path: /wait/1, port: web}}}}
      preStop: {{httpGet: {{path: /wait/2, port: web}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: unready}}
spec:
  containers:
  - name: main
    image: {serving}
    readinessProbe: {{httpGet: {{path: /status/503, port: 8080}}, periodSeconds: 1, timeoutSeconds: 60}}
---
apiVersion: v1
kind: Pod
metadata: {{name: unhealthy}}
spec:
  containers:
  - name: main
    image: {serving}
    livenessProbe: {{httpGet: {{path: /status/500, port: 8080}}, periodSeconds: 1, failureThreshold: 1}}
---
apiVersion: v1
kind: Pod
metadata: {{name: hooked}}
spec:
  containers:
  - name: main
    image: {serving}
    lifecycle: {{postStart: {{httpGet: {{path: /, port: 1}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: trapping}}
spec:
  containers: [{{name: main, image: {command}, args: [trap]}}]
"
    ));
    cluster.kubectl_wait("condition=Ready", &["pod/good"]);
    eventually("the log tells that the postStart hook was run", || {
        cluster.kubectl(&["logs", "good"]).ok().contains("waiting for 1 ms").then_some(())
    });
    let unready = eventually("the probe's failure is told", || {
        let events = events(&cluster, "unready");
        events.contains("Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503").then_some(events)
    });
    assert!(!unready.contains("Killing"), "a pod that is not ready is left alone: {unready}");
    assert_eq!(container(&cluster, "unready").unwrap()["ready"], false);
    eventually("the unhealthy container is started anew", || {
        (container(&cluster, "unhealthy")?["restartCount"].as_i64()? > 0).then_some(())
    });
    eventually("a failed postStart hook ends the container", || {
        events(&cluster, "hooked").contains("FailedPostStartHook").then_some(())
    });
    let trapping = eventually("a trap backs off", || {
        let status = container(&cluster, "trapping")?;
        (status["state"]["waiting"]["reason"] == "CrashLoopBackOff").then_some(status)
    });
    assert_eq!(trapping["lastState"]["terminated"]["reason"], "WasmTrap");
    assert_eq!(trapping["lastState"]["terminated"]["exitCode"], 134);
    eventually("the back-off is told", || {
        events(&cluster, "trapping").contains("BackOff: Back-off restarting failed container main").then_some(())
    });
    let refused = cluster.kubectl(&["exec", "good", "--", "ls"]).err();
    assert!(refused.contains("a Wasm pod has no shell and no processes to add"), "{refused}");

    let mut following = cluster.kubectl_command(&["logs", "-f", "good"]);
    let mut following = following.stdout(Stdio::piped()).spawn().unwrap();
    let mut followed = BufReader::new(following.stdout.take().unwrap());
    let mut last = String::new();
    while !last.contains("waiting for 1 ms") {
        assert_ne!(followed.read_line(&mut last).unwrap(), 0, "the log ends before the pod: {last}");
    }
    cluster.kubectl(&["delete", "pod", "good", "--wait=true"]).ok();
    followed.read_to_string(&mut last).unwrap();
    assert!(following.wait().unwrap().success());
    assert!(last.contains("waiting for 2 ms"), "the preStop hook was run: {last}");
}

#[test]
fn limits_single_files_and_names_are_the_pods_own() {
    let registry = Registry::start();
    let (serving, command) =
        (images::wasm(&registry, "tryout_http", "tryout:v1"), images::wasm(&registry, "hello-cli", "cli:v1"));
    let cluster = Cluster::up();
    cluster.kubectl(&["create", "configmap", "settings", "--from-literal=colour=blue", "--from-literal=size=5"]).ok();
    let pod = |name: &str, arguments: &str, rest: &str| {
        format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  hostAliases: [{{ip: 192.0.2.7, hostnames: [printer]}}]
  dnsPolicy: None
  dnsConfig: {{nameservers: [192.0.2.53], searches: [corp.example]}}
  volumes:
  - {{name: settings, configMap: {{name: settings}}}}
  - {{name: socket, hostPath: {{path: /dev/null}}}}
  containers:
  - name: main
    image: {command}
    args: {arguments}
    {rest}
---
"
        )
    };
    let single = "volumeMounts: [{name: settings, mountPath: /etc/app/colour, subPath: colour}]";
    let device = "volumeMounts: [{name: socket, mountPath: /run/nothing}]";
    cluster.kubectl_apply(
        &[
            pod("file", "[cat, /etc/app/colour]", single),
            pod("alone", "[ls, /etc/app]", single),
            pod("hosts", "[lookup, printer]", ""),
            pod("resolver", "[cat, /etc/resolv.conf]", ""),
            pod("last-words", "[write, /dev/termination-log, good bye]", ""),
            pod("device", "[env]", device),
            pod("loop", "[spin]", "resources: {limits: {cpu: 200m, memory: 32Mi}}"),
        ]
        .concat(),
    );
    for (name, said) in [
        ("file", "blue"),
        ("alone", "colour\n"),
        ("hosts", "192.0.2.7\n"),
        ("resolver", "search corp.example\nnameserver 192.0.2.53\n"),
    ] {
        cluster.kubectl_wait("jsonpath={.status.phase}=Succeeded", &[&format!("pod/{name}")]);
        assert_eq!(cluster.kubectl(&["logs", name]).ok(), said, "{name}");
    }
    cluster.kubectl_wait("jsonpath={.status.phase}=Succeeded", &["pod/last-words"]);
    assert_eq!(container(&cluster, "last-words").unwrap()["state"]["terminated"]["message"], "good bye");
    eventually("what cannot be mounted is told by its name", || {
        events(&cluster, "device").contains("on /run/nothing: a Wasm pod can be given folders and files").then_some(())
    });

    // Its host process stands below the cluster's cgroup, and nothing of that is left when the cluster is down.
    cluster.kubectl_wait("condition=Ready", &["pod/loop"]);
    cluster.kubectl(&["run", "beside", "--image", &serving]).ok();
    cluster.kubectl_wait("condition=Ready", &["pod/beside"]);
    assert_eq!(http(cluster.pod_address("beside"), 8080).ok(), "/\n", "others answer beside a loop");
    let below = format!("mizzen-{}/wasm/", cluster.id());
    let hosts: Vec<String> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|process| {
            let read = |name: &str| std::fs::read(process.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&read("cmdline")).contains("mizzen-wasm\0host")
                && String::from_utf8_lossy(&read("cgroup")).contains(&below)
        })
        .map(|process| std::fs::read_to_string(process.path().join("status")).unwrap_or_default())
        .collect();
    assert_eq!(hosts.len(), 1, "one host for the namespace");
    assert!(hosts[0].lines().any(|line| line.starts_with("Uid:\t65534")), "unprivileged: {}", hosts[0]);
    cluster.kubectl(&["delete", "pod", "--all", "--grace-period=0", "--force"]).ok();
}

#[test]
fn a_wasm_pod_reads_its_token_and_secrets_whatever_user_its_manifest_names() {
    let registry = Registry::start();
    let command = images::wasm(&registry, "hello-cli", "cli:v1");
    let cluster = Cluster::up();
    cluster.kubectl(&["create", "secret", "generic", "keys", "--from-literal=key=s3cret"]).ok();
    let pod = |name: &str, security: &str, arguments: &str| {
        format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  securityContext: {security}
  volumes: [{{name: keys, secret: {{secretName: keys, defaultMode: 0400}}}}]
  containers:
  - name: main
    image: {command}
    args: {arguments}
    volumeMounts:
    - {{name: keys, mountPath: /keys}}
    - {{name: keys, mountPath: /etc/one/key, subPath: key}}
---
"
        )
    };
    let token = "[cat, /var/run/secrets/kubernetes.io/serviceaccount/token]";
    let strict = "{runAsUser: 1000, runAsNonRoot: true, runAsGroup: 1000, fsGroup: 2000}";
    let mut manifests = String::new();
    for (kind, security) in [("plain", "{}"), ("user", "{runAsUser: 1000}"), ("group", "{fsGroup: 2000}"), ("strict", strict)] {
        manifests += &pod(&format!("{kind}-token"), security, token);
        manifests += &pod(&format!("{kind}-secret"), security, "[cat, /keys/key]");
        manifests += &pod(&format!("{kind}-file"), security, "[cat, /etc/one/key]");
    }
    cluster.kubectl_apply(&manifests);
    for kind in ["plain", "user", "group", "strict"] {
        for (file, said) in [("token", "ey"), ("secret", "s3cret"), ("file", "s3cret")] {
            let name = format!("{kind}-{file}");
            cluster.kubectl_wait("jsonpath={.status.phase}=Succeeded", &[&format!("pod/{name}")]);
            let logs = cluster.kubectl(&["logs", &name]).ok();
            assert!(logs.starts_with(said), "{name}: {logs}");
        }
    }
}
