//! Wasm components as pods: deployed like any image, each with its own address, its ends told so that a person can act.

use mizzen_tests::cluster::http;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};
use serde_json::Value;

/// How the first container of a finished pod ended.
fn ended(cluster: &Cluster, pod: &str) -> Value {
    eventually(&format!("{pod} ends"), || {
        let pod = cluster.get(&["pod", pod])?;
        let ended = pod["status"]["containerStatuses"][0]["state"]["terminated"].clone();
        let phase = pod["status"]["phase"].as_str()?;
        (ended.is_object() && matches!(phase, "Succeeded" | "Failed")).then_some(ended)
    })
}

#[test]
fn a_component_that_serves_http_answers_on_its_pods_address_and_survives_a_kill() {
    let registry = Registry::start();
    let component = images::wasm(&registry, "hello_http", "hello:v1");
    let container = images::busybox(&registry, "client:v1");
    let mut cluster = Cluster::up();
    cluster.kubectl_apply(&format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: hello}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: hello}}}}
  template:
    metadata: {{labels: {{app: hello}}}}
    spec:
      containers:
      - name: hello
        image: {component}
        env: [{{name: GREETING, value: Good day}}]
        ports: [{{containerPort: 8090}}]
        readinessProbe: {{httpGet: {{path: /ready, port: 8090}}, periodSeconds: 1}}
"
    ));
    cluster.kubectl_wait("condition=Available", &["deployment/hello"]);
    let pods = cluster.pods("app=hello");
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        assert_eq!(http(cluster.pod_address(pod), 8090).ok(), "Good day at /\n", "two pods on one port");
        eventually("the log has the request", || cluster.kubectl(&["logs", pod]).ok().contains("request for /\n").then_some(()));
    }

    cluster.kubectl(&["run", "client", "--image", &container]).ok();
    cluster.kubectl_wait("condition=Ready", &["pod/client"]);
    let ask = format!("printf 'GET /from/a/pod HTTP/1.0\\r\\n\\r\\n' | nc {} 8090", cluster.pod_address(&pods[0]));
    let answer = cluster.kubectl(&["exec", "client", "--", "sh", "-c", &ask]).ok();
    assert!(answer.ends_with("Good day at /from/a/pod\n"), "{answer}");

    let refused = cluster.kubectl(&["exec", &pods[0], "--", "ls"]).err();
    assert!(refused.contains("no shell"), "{refused}");
    let called = format!("exec is not supported for container \"hello\" in pod \"default/{}\": ", pods[0]);
    assert!(refused.contains(&called), "{refused}");

    let address = cluster.pod_address(&pods[0]);
    cluster.kill();
    assert_eq!(http(address, 8090).ok(), "Good day at /\n", "the host goes on without the agent");
    cluster.start();
    let pod = cluster.get(&["pod", &pods[0]]).unwrap();
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    cluster.kubectl(&["delete", "deployment", "hello"]).ok();
    eventually("all pods are gone", || cluster.pods("app=hello").is_empty().then_some(()));
}

#[test]
fn commands_get_their_environment_arguments_and_volumes_and_end_with_their_exit_code() {
    let registry = Registry::start();
    let command = images::wasm(&registry, "hello-cli", "cli:v1");
    let cluster = Cluster::up();
    cluster.kubectl(&["create", "configmap", "settings", "--from-literal=colour=blue"]).ok();
    cluster.kubectl(&["create", "secret", "generic", "keys", "--from-literal=key=s3cret"]).ok();
    let pod = |name: &str, arguments: &str| {
        format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  volumes:
  - {{name: settings, configMap: {{name: settings}}}}
  - {{name: keys, secret: {{secretName: keys}}}}
  - {{name: scratch, emptyDir: {{}}}}
  containers:
  - name: main
    image: {command}
    args: {arguments}
    env:
    - {{name: COLOUR, valueFrom: {{configMapKeyRef: {{name: settings, key: colour}}}}}}
    volumeMounts:
    - {{name: settings, mountPath: /settings}}
    - {{name: keys, mountPath: /keys}}
    - {{name: scratch, mountPath: /scratch}}
    resources: {{limits: {{memory: 32Mi}}}}
---
"
        )
    };
    cluster.kubectl_apply(
        &[
            pod("environment", "[env]"),
            pod("config", "[cat, /settings/colour]"),
            pod("secret", "[cat, /keys/key]"),
            pod("scratch", "[write, /scratch/a, b]"),
            pod("outside", "[cat, /etc/passwd]"),
            pod("failing", "[exit, '7']"),
            pod("trap", "[trap]"),
            pod("memory", "[allocate]"),
        ]
        .concat(),
    );
    let outcome = |pod: &str| {
        let ended = ended(&cluster, pod);
        (ended["exitCode"].as_i64().unwrap(), ended["reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(outcome("environment"), (0, "Completed".to_owned()));
    assert!(cluster.kubectl(&["logs", "environment"]).ok().contains("COLOUR=blue\n"));
    assert_eq!(outcome("config").0, 0);
    assert_eq!(cluster.kubectl(&["logs", "config"]).ok(), "blue");
    assert_eq!(outcome("secret").0, 0);
    assert_eq!(cluster.kubectl(&["logs", "secret"]).ok(), "s3cret");
    assert_eq!(outcome("scratch"), (0, "Completed".to_owned()));
    assert_eq!(outcome("outside"), (1, "Error".to_owned()), "only what is mounted can be seen");
    // wasi:cli/exit in WASI 0.2 tells success from failure and no more.
    assert_eq!(outcome("failing"), (1, "Error".to_owned()));
    assert_eq!(outcome("trap"), (134, "WasmTrap".to_owned()));
    assert!(cluster.kubectl(&["logs", "trap"]).ok().contains("asked to trap"));
    assert_eq!(outcome("memory").1, "OOMKilled");
    assert!(ended(&cluster, "memory")["message"].as_str().unwrap().contains("memory"));
}

#[test]
fn an_endless_loop_and_a_file_that_is_no_wasm_leave_everything_else_running() {
    let registry = Registry::start();
    let command = images::wasm(&registry, "hello-cli", "cli:v1");
    let nonsense = images::not_wasm(&registry, "nonsense:v1");
    let cluster = Cluster::up();
    for name in ["first", "second"] {
        cluster.kubectl(&["run", name, "--image", &command, "--grace-period=1", "--", "serve", "9000"]).ok();
    }
    cluster.kubectl(&["run", "loop", "--image", &command, "--restart=Never", "--", "spin"]).ok();
    cluster.kubectl(&["run", "nonsense", "--image", &nonsense, "--restart=Never"]).ok();
    for name in ["first", "second", "loop"] {
        cluster.kubectl_wait("condition=Ready", &[&format!("pod/{name}")]);
    }
    let why = eventually("the pod says what is wrong with its file", || {
        let events =
            cluster.kubectl(&["get", "events", "-o", "jsonpath={.items[?(@.involvedObject.name=='nonsense')].message}"]).ok();
        events.contains("failed to parse WebAssembly module").then_some(events)
    });
    assert!(!why.is_empty());
    for name in ["first", "second"] {
        let address = cluster.pod_address(name);
        let line = eventually(&format!("{name} answers beside the loop"), || {
            use std::io::Read;
            let mut text = String::new();
            std::net::TcpStream::connect((address, 9000)).ok()?.read_to_string(&mut text).ok()?;
            Some(text)
        });
        assert_eq!(line, "hello from port 9000\n");
    }
    cluster.kubectl(&["delete", "pod", "loop", "--grace-period=1", "--wait=true"]).ok();
    assert_eq!(cluster.get(&["pod", "loop"]), None);
}
