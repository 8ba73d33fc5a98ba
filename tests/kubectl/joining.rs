//! Machines that join by a token (docs/joining.md): reached through their own connection alone, cut off, back again.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use mizzen_tests::client::is;
use mizzen_tests::command::{Ran, run};
use mizzen_tests::executables::mizzen;
use mizzen_tests::{Agent, Cluster, FarMachine, Kubectl, Registry, eventually, images};

fn token(cluster: &Cluster, arguments: &[&str]) -> Ran {
    run(mizzen().arg("token").args(arguments).arg("--kubeconfig").arg(cluster.kubeconfig()))
}

fn new_token(cluster: &Cluster) -> String {
    token(cluster, &["create"]).ok().trim().to_owned()
}

/// A machine that reaches the server and the registry, and that nobody reaches.
fn far(cluster: &Cluster, registry: &Registry) -> FarMachine {
    FarMachine::with_ports(&[cluster.api().port(), registry.address().port()])
}

fn web(image: &str) -> String {
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{colour: blue}}
---
apiVersion: v1
kind: Secret
metadata: {{name: keys}}
stringData: {{key: s3cret}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  terminationGracePeriodSeconds: 0
  nodeSelector: {{site: roof}}
  tolerations: [{{key: edge, operator: Exists}}]
  volumes:
  - {{name: settings, configMap: {{name: settings}}}}
  - {{name: keys, secret: {{secretName: keys}}}}
  containers:
  - name: web
    image: {image}
    env: [{{name: KEY, valueFrom: {{secretKeyRef: {{name: keys, key: key}}}}}}]
    command: [sh, -c, 'echo up with $KEY $(cat /settings/colour /keys/key); exec httpd -f -p 8080 -h /www']
    volumeMounts: [{{name: settings, mountPath: /settings}}, {{name: keys, mountPath: /keys}}]
    readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
"
    )
}

const ROOF: [&str; 4] = ["--node-labels", "site=roof", "--register-with-taints", "edge=yes:NoSchedule"];

#[test]
fn a_machine_that_nobody_reaches_joins_by_a_token_and_gives_logs_exec_and_ports() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::server();
    let made = token(&cluster, &["create", "--ttl", "1h", "--description", "for the roof"]).ok();
    let listed = token(&cluster, &["list"]).ok();
    assert!(listed.contains("for the roof") && listed.contains("59m"), "{listed}");
    let id = listed.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(made.contains(&format!("::{id}.")) && !listed.contains(made.trim().split('.').next_back().unwrap()), "{listed}");

    let mut agent = Agent::start_by_token(&cluster, "far-1", made.trim(), &ROOF, Some(far(&cluster, &registry)));
    agent.wait_ready();
    let node = cluster.get(&["node", "far-1"]).unwrap();
    assert_eq!(node["metadata"]["labels"]["site"], "roof");
    let taints = node["spec"]["taints"].as_array().unwrap();
    assert!(taints.iter().any(|taint| taint["key"] == "edge" && taint["value"] == "yes" && taint["effect"] == "NoSchedule"));
    let identity = agent.data().join("identity/kubeconfig");
    assert_eq!(std::fs::metadata(&identity).unwrap().permissions().mode() & 0o777, 0o600);
    eventually("both certificates were given by request", || {
        let signers = cluster
            .kubectl(&[
                "get",
                "csr",
                "-o",
                "jsonpath={range .items[*]}{.spec.signerName} {.status.conditions[*].type} {.spec.username}\n{end}",
            ])
            .ok();
        let serving = "kubernetes.io/kubelet-serving Approved system:node:far-1";
        let client = format!("kubernetes.io/kube-apiserver-client-kubelet Approved system:bootstrap:{id}");
        (signers.contains(serving) && signers.contains(&client)).then_some(())
    });

    cluster.kubectl_apply(&web(&image));
    cluster.kubectl_wait("condition=Ready", &["pod/web"]);
    assert_eq!(cluster.kubectl(&["logs", "web"]).ok(), "up with s3cret blues3cret\n");
    assert_eq!(cluster.kubectl(&["exec", "web", "--", "sh", "-c", "hostname; exit 7"]).code, Some(7));
    let echoed = cluster.pipe(&["exec", "-i", "web", "--", "cat"], "there and back").ok();
    assert_eq!(echoed, "there and back");
    let proxied = cluster.kubectl(&["get", "--raw", "/api/v1/nodes/far-1/proxy/pods"]).ok();
    assert!(proxied.contains("\"name\":\"web\""), "{proxied}");
    cluster.kubectl(&["label", "pod", "web", "app=web"]).ok();
    cluster.kubectl(&["expose", "pod", "web", "--port=80", "--target-port=8080"]).ok();
    for path in ["pods/web:8080", "services/web:80"] {
        eventually(&format!("a proxy to {path} goes through the tunnel"), || {
            let said = cluster.kubectl(&["get", "--raw", &format!("/api/v1/namespaces/default/{path}/proxy/")]);
            (said.stdout == "hello from web:v1\n").then_some(())
        });
    }
    let said = cluster.kubectl(&["get", "--raw", "/api/v1/namespaces/default/pods/web:9/proxy/"]).stderr;
    assert!(said.contains("connect: connection refused"), "{said}");
    let mut forward = cluster.kubectl_command(&["port-forward", "pod/web", ":8080"]);
    let mut forward = forward.stdout(Stdio::piped()).spawn().unwrap();
    // It goes on to tell of connections, and would end if nobody could hear it.
    let mut told = BufReader::new(forward.stdout.take().unwrap()).lines();
    let said = told.next().unwrap().unwrap();
    let port = said.rsplit("127.0.0.1:").next().and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    let page = run(Command::new("curl").args(["-sS", "--max-time", "30", &format!("http://127.0.0.1:{port}/")])).ok();
    forward.kill().unwrap();
    forward.wait().unwrap();
    assert_eq!(page, "hello from web:v1\n");
    let attached = [
        "run",
        "once",
        "--rm",
        "-i",
        "--restart=Never",
        "--image",
        &image,
        "--overrides",
        r#"{"spec":{"nodeSelector":{"site":"roof"},"tolerations":[{"operator":"Exists"}]}}"#,
        "--command",
        "--",
        "sh",
        "-c",
        "echo ask; cat; echo bye",
    ];
    let said = cluster.pipe(&attached, "answer\n").ok();
    assert!(said.contains("answer\n") && said.contains("bye\n"), "{said}");

    agent.machine().cut();
    eventually("its tunnel is missed", || {
        let said = cluster.kubectl(&["exec", "web", "--", "true"]);
        (said.code != Some(0)).then_some(())
    });
    agent.machine().mend();
    eventually("it is there again", || (cluster.kubectl(&["exec", "web", "--", "true"]).code == Some(0)).then_some(()));

    let revoked = token(&cluster, &["revoke", &id]).ok();
    assert_eq!(revoked, format!("token \"{id}\" revoked\n"));
    assert!(token(&cluster, &["list"]).stderr.contains("No tokens found"));
    assert!(token(&cluster, &["revoke", &id]).err().contains("there is no token"));

    cluster.kubectl(&["drain", "far-1", "--force", "--ignore-daemonsets", "--timeout=60s"]).ok();
    assert_eq!(cluster.get(&["node", "far-1"]).unwrap()["spec"]["unschedulable"], true);
    assert!(cluster.get(&["pod", "web"]).is_none());
    agent.kill();
    cluster.kubectl(&["delete", "node", "far-1"]).ok();
    agent.forget_arguments();
    agent.start();
    agent.wait_ready();
    let node = cluster.get(&["node", "far-1"]).unwrap();
    assert!(node["spec"]["unschedulable"].is_null(), "a Node that was deleted comes back as a new one");

    agent.kill();
    agent.lose_disk();
    cluster.kubectl(&["delete", "node", "far-1"]).ok();
    agent.join_with(&cluster, &new_token(&cluster), &ROOF);
    agent.start();
    agent.wait_ready();
    cluster.kubectl_apply(&web(&image));
    cluster.kubectl_wait("condition=Ready", &["pod/web"]);
    assert_eq!(cluster.kubectl(&["logs", "web"]).ok(), "up with s3cret blues3cret\n");
}

#[test]
fn a_node_that_is_cut_off_keeps_its_pods_over_a_reboot_and_catches_up() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::server();
    let mut agent = Agent::start_by_token(&cluster, "far-1", &new_token(&cluster), &ROOF, Some(far(&cluster, &registry)));
    agent.wait_ready();
    cluster.kubectl_apply(&web(&image));
    cluster.kubectl_apply(&web(&image).replace("name: web}", "name: unwanted}"));
    cluster.kubectl_wait("condition=Ready", &["pod/web", "pod/unwanted"]);
    let uid = cluster.get(&["pod", "web"]).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    let token = "cat /var/run/secrets/kubernetes.io/serviceaccount/token";
    assert_eq!(cluster.kubectl(&["exec", "web", "--", "sh", "-c", token]).ok().split('.').count(), 3);

    agent.machine().cut();
    agent.kill();
    let said_before = agent.said().len();
    agent.forget_arguments();
    agent.start();
    eventually("it goes on without the server", || {
        agent.said()[said_before..].contains("the node goes on from what it remembers").then_some(())
    });
    let logs = agent.data().join(format!("node/pods/default_web_{uid}/web"));
    let log = |attempt: u32| logs.join(format!("{attempt}.log"));
    assert!(!log(1).exists(), "what runs goes on");
    cluster.kubectl(&["delete", "pod", "unwanted", "--wait=false"]).ok();

    agent.kill();
    agent.lose_power();
    agent.start();
    eventually("the pod runs again though nobody said so", || {
        let text = std::fs::read_to_string(log(1)).unwrap_or_default();
        text.contains("up with s3cret blues3cret").then_some(())
    });

    agent.machine().mend();
    agent.wait_ready();
    eventually("what was deleted meanwhile is gone", || cluster.get(&["pod", "unwanted"]).is_none().then_some(()));
    let pod = eventually("the server is told that it is Ready", || {
        let pod = cluster.get(&["pod", "web"]).unwrap();
        let counted = pod["status"]["containerStatuses"][0]["restartCount"] == 1;
        (counted && is(&pod, "Ready") && is(&cluster.get(&["node", "far-1"]).unwrap(), "Ready")).then_some(pod)
    });
    assert_eq!(pod["metadata"]["uid"], uid.as_str());
    for arguments in [&["logs", "web"][..], &["logs", "web", "--previous"]] {
        assert_eq!(cluster.kubectl(arguments).ok(), "up with s3cret blues3cret\n");
    }
    assert_eq!(cluster.kubectl(&["exec", "web", "--", "sh", "-c", token]).ok().split('.').count(), 3);
}

#[test]
fn a_machine_says_in_one_line_why_it_cannot_join() {
    let (cluster, other) = (Cluster::server(), Cluster::server());
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = format!("https://{}", cluster.api());
    let agent = |arguments: &[&str]| {
        let error = run(mizzen().args(["agent", "--data-dir"]).arg(&data).args(arguments)).err();
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!data.exists(), "what cannot join leaves nothing");
        error
    };
    let join = |token: &str, name: &str| agent(&["--server", &server, "--token", token, "--node-name", name]);
    let good = new_token(&cluster);
    let error = agent(&[]);
    assert!(error.contains("an agent needs --server and --token"), "{error}");
    let error = agent(&["--server", &server, "--node-name", "far-1"]);
    assert!(error.contains("this machine has not joined yet"), "{error}");
    let error = agent(&["--server", "http://192.0.2.1", "--token", &good]);
    assert!(error.contains("\"http://192.0.2.1\" is no server's URL"), "{error}");
    let error = join(good.rsplit("::").next().unwrap(), "far-1");
    assert!(error.contains("the token does not name the server's authority"), "{error}");
    let error = join(&new_token(&other), "far-1");
    assert!(error.contains("the token is another cluster's, or somebody is in between"), "{error}");
    let wrong = format!("{}{}", good.rsplit_once('.').unwrap().0, ".0123456789abcdef");
    let error = join(&wrong, "far-1");
    assert!(error.contains("does not take the token") && error.contains("mizzen token list"), "{error}");
    let error = join(&good, "localhost");
    assert!(error.contains("\"localhost\" cannot be a node's name"), "{error}");
    let error = agent(&["--server", &server, "--token", &good, "--node-labels", "node-role.kubernetes.io/x=y"]);
    assert!(error.contains("is no label that a node may give itself"), "{error}");

    let _first = Agent::join(&cluster, "far-1");
    let error = join(&good, "far-1");
    assert!(error.contains("a Node with name \"far-1\" and status \"Ready\" already exists in the cluster"), "{error}");
    let short = token(&cluster, &["create", "--ttl", "1s"]).ok();
    eventually("the token has expired and is gone", || {
        token(&cluster, &["list"]).stdout.lines().skip(1).count().eq(&1).then_some(())
    });
    let error = join(short.trim(), "far-2");
    assert!(error.contains("it is wrong, has expired or was revoked"), "{error}");
    let command = token(&cluster, &["create", "--print-join-command"]);
    assert!(command.ok().starts_with("mizzen agent --server https://"));
}

#[test]
fn a_nodes_certificates_are_renewed_while_it_runs() {
    let cluster = Cluster::server_configured("clusterSigningDuration: 40s\n");
    let mut agent = Agent::start_by_token(&cluster, "far-1", &new_token(&cluster), &[], None);
    agent.wait_ready();
    let read = |name: &str| std::fs::read_to_string(agent.data().join("identity").join(name)).unwrap_or_default();
    let mut seen = (read("kubeconfig"), read("serving.pem"));
    // Each holds for 40 seconds and is renewed when half of them are over: after the third, the first has ended.
    for turn in 1..=3 {
        seen = eventually(&format!("certificates are renewed, {turn}"), || {
            let now = (read("kubeconfig"), read("serving.pem"));
            (now.0 != seen.0 && now.1 != seen.1).then_some(now)
        });
    }
    let requests = cluster.kubectl(&["get", "csr", "-o", "jsonpath={.items[*].spec.username}"]).ok();
    // Those of certificates that have ended are cleaned up.
    assert!(requests.contains("system:node:far-1"), "{requests}");
    cluster.kubectl(&["get", "--raw", "/api/v1/nodes/far-1/proxy/healthz"]).ok();
    assert!(is(&cluster.get(&["node", "far-1"]).unwrap(), "Ready"));
    assert!(!agent.said().contains("is not renewed"), "{}", agent.said());
}
