//! `mizzen server` and `mizzen agent`: nodes that are processes of their own and reach the server over HTTPS.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use mizzen_tests::client::is;
use mizzen_tests::cluster::http;
use mizzen_tests::command::{Ran, run};
use mizzen_tests::executables::mizzen;
use mizzen_tests::{Agent, Cluster, Registry, eventually, images};

/// A pod of the deployment `web`: its name, node, address and container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Web {
    node: String,
    name: String,
    address: IpAddr,
    container: String,
    restarts: i64,
}

fn web_pods(cluster: &Cluster) -> Vec<Web> {
    let mut pods: Vec<Web> = cluster
        .pods("app=web")
        .iter()
        .map(|name| {
            let pod = cluster.get(&["pod", name]).unwrap();
            let status = &pod["status"]["containerStatuses"][0];
            Web {
                node: pod["spec"]["nodeName"].as_str().unwrap().to_owned(),
                name: name.clone(),
                address: cluster.pod_address(name),
                container: status["containerID"].as_str().unwrap().to_owned(),
                restarts: status["restartCount"].as_i64().unwrap(),
            }
        })
        .collect();
    pods.sort();
    pods
}

fn deploy_web(cluster: &Cluster, image: &str) {
    cluster.apply(&format!(
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
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
      - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {{matchLabels: {{app: web}}}}}}
      volumes:
      - {{name: settings, configMap: {{name: settings}}}}
      - {{name: keys, secret: {{secretName: keys}}}}
      containers:
      - name: web
        image: {image}
        command: [sh, -c, 'echo web is up; exec httpd -f -p 8080 -h /www']
        volumeMounts: [{{name: settings, mountPath: /settings}}, {{name: keys, mountPath: /keys}}]
        readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
"
    ));
    cluster.until(&["deployment", "web"], "has two ready pods", |web| (web["status"]["readyReplicas"] == 2).then_some(()));
}

#[test]
fn two_agents_run_a_deployment_and_give_logs_exec_volumes_and_tokens() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let component = images::wasm(&registry, "hello_http", "hello:v1");
    let cluster = Cluster::server();
    let _agents = [Agent::join(&cluster, "edge-1"), Agent::join(&cluster, "edge-2")];
    deploy_web(&cluster, &image);
    let pods = web_pods(&cluster);
    assert_eq!(pods.iter().map(|pod| pod.node.as_str()).collect::<Vec<_>>(), ["edge-1", "edge-2"]);
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    for pod in &pods {
        assert_eq!(http(pod.address, 8080).ok(), "hello from web:v1\n");
        eventually("its log is there", || (cluster.mizzen(&["logs", &pod.name]).ok() == "web is up\n").then_some(()));
        let exec = |command: &str| cluster.mizzen(&["exec", &pod.name, "--", "sh", "-c", command]);
        assert_eq!(exec("hostname; cat /settings/colour /keys/key").ok(), format!("{}\nblues3cret", pod.name));
        assert_eq!(exec("exit 7").code, Some(7));
        assert_eq!(exec(&format!("cat {token}")).ok().split('.').count(), 3, "a token is a JWT");
        let started = format!("involvedObject.name={},reason=Started", pod.name);
        let event = cluster
            .until(&["events", "--field-selector", &started], "tell of its start", |events| events["items"].get(0).cloned());
        assert_eq!(event["source"]["host"], pod.node.as_str(), "{event}");
    }

    cluster.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: hello}}
spec:
  nodeSelector: {{kubernetes.io/hostname: edge-2}}
  containers: [{{name: hello, image: '{component}', ports: [{{containerPort: 8090}}]}}]
"
    ));
    cluster.ready("hello");
    eventually("the component answers", || (http(cluster.pod_address("hello"), 8090).stdout.ends_with("at /\n")).then_some(()));
    eventually("its log has the request", || cluster.mizzen(&["logs", "hello"]).ok().contains("request for /\n").then_some(()));
}

#[test]
fn pods_outlive_the_server_and_their_agent_and_are_taken_up_again() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let mut cluster = Cluster::server();
    let mut first = Agent::join(&cluster, "edge-1");
    let second = Agent::join(&cluster, "edge-2");
    deploy_web(&cluster, &image);
    let pods = web_pods(&cluster);

    cluster.kill();
    for agent in [&first, &second] {
        eventually("the agent notices", || agent.said().contains("the API server is lost").then_some(()));
    }
    for pod in &pods {
        assert_eq!(http(pod.address, 8080).ok(), "hello from web:v1\n", "the pod runs on");
    }
    cluster.start();
    for agent in [&first, &second] {
        eventually("the agent is back", || agent.said().contains("the API server is back").then_some(()));
    }
    assert_eq!(web_pods(&cluster), pods, "nothing was started again");
    cluster.run("later", &image);

    first.kill();
    let (here, there) = (&pods[0], &pods[1]);
    assert_eq!(http(here.address, 8080).ok(), "hello from web:v1\n", "the pod runs on");
    let said = cluster.mizzen(&["logs", &here.name]).err();
    assert!(said.contains("connect to node edge-1 at ") && said.contains("refused"), "{said}");
    eventually("the other's log is there", || (cluster.mizzen(&["logs", &there.name]).ok() == "web is up\n").then_some(()));
    first.start();
    first.wait_ready();
    eventually("the agent has its pods again", || {
        (cluster.mizzen(&["exec", &here.name, "--", "hostname"]).stdout == format!("{}\n", here.name)).then_some(())
    });
    assert_eq!(web_pods(&cluster), pods, "nothing was started again");
    cluster.mizzen(&["delete", "deployment", "web"]).ok();
    eventually("all pods are gone", || cluster.pods("app=web").is_empty().then_some(()));
    assert!(http(here.address, 8080).code != Some(0), "its container is gone as well");
}

/// A field of a kubeconfig, from base64 into a file.
fn extract(kubeconfig: &Path, field: &str, to: &Path) {
    let text = std::fs::read_to_string(kubeconfig).unwrap();
    let encoded = text.lines().find_map(|line| line.trim().strip_prefix(field)?.strip_prefix(": ")).unwrap();
    std::fs::write(to, encoded).unwrap();
    let decoded = run(Command::new("base64").arg("-d").arg(to)).ok();
    std::fs::write(to, decoded).unwrap();
}

#[test]
fn a_node_shows_its_own_certificate_and_answers_those_whom_the_api_lets() {
    let cluster = Cluster::server();
    let agent = Agent::join(&cluster, "edge-1");
    let node = cluster.get(&["node", "edge-1"]).unwrap();
    let addresses = node["status"]["addresses"].as_array().unwrap();
    let address = addresses.iter().find(|address| address["type"] == "InternalIP").unwrap()["address"].as_str().unwrap();
    let port = &node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"];
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    extract(&cluster.kubeconfig(), "certificate-authority-data", &file("ca"));
    let curl = |path: &str, more: &[&str]| -> Ran {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "30", "--resolve", &format!("edge-1:{port}:{address}")]);
        run(curl.arg("--cacert").arg(file("ca")).args(more).arg(format!("https://edge-1:{port}{path}")))
    };
    let ask = |kubeconfig: &Path| -> String {
        extract(kubeconfig, "client-certificate-data", &file("crt"));
        extract(kubeconfig, "client-key-data", &file("key"));
        let (certificate, key) = (file("crt"), file("key"));
        curl("/pods", &["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()]).ok()
    };
    let refused = "Forbidden (user=system:node:edge-1, verb=get, resource=nodes, subresource(s)=[\"pods\", \"proxy\"])";
    assert_eq!(ask(&agent.kubeconfig()), refused);
    assert!(ask(&cluster.kubeconfig()).starts_with("{\"apiVersion\":\"v1\""), "an administrator may");
    assert_eq!(curl("/pods", &[]).ok(), "Unauthorized");
    assert_eq!(curl("/pods", &["-H", "Authorization: Bearer made.up.token"]).ok(), "Unauthorized");

    let as_node = |what: &[&str]| run(mizzen().arg("get").arg("--kubeconfig").arg(agent.kubeconfig()).args(what));
    as_node(&["node", "edge-1"]).ok();
    let said = as_node(&["clusterroles"]).err();
    assert!(said.contains("User \"system:node:edge-1\" cannot list resource \"clusterroles\""), "{said}");
}

#[test]
fn an_agent_says_in_one_line_why_it_cannot_join() {
    let (cluster, other) = (Cluster::server(), Cluster::server());
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let server = format!("https://{}", cluster.api());
    for (name, from) in [("own", &cluster), ("others", &other)] {
        let made = mizzen().args(["kubeconfig", "--node", "edge-1", "--server", &server, "--data-dir"]).arg(from.data()).output();
        std::fs::write(file(name), made.unwrap().stdout).unwrap();
    }
    let agent = |kubeconfig: &Path, more: &[&str]| {
        let mut agent = mizzen();
        agent.args(["agent", "--data-dir"]).arg(file("data")).arg("--kubeconfig").arg(kubeconfig).args(more);
        let error = run(&mut agent).err();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let error = agent(&file("none"), &[]);
    assert!(error.contains("cannot read the kubeconfig") && error.contains("No such file"), "{error}");
    let error = agent(&cluster.kubeconfig(), &[]);
    assert!(error.contains("\"kubernetes-admin\"'s and no node's"), "{error}");
    let error = agent(&file("own"), &["--node-name", "edge-2"]);
    assert!(error.contains("is node edge-1's, not edge-2's"), "{error}");
    assert!(!file("data").exists(), "what cannot join makes nothing");
    let error = agent(&file("others"), &[]);
    assert!(error.contains("do not belong together") && error.contains("invalid peer certificate"), "{error}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let error = agent(&file("own"), &["--node-api-address", &taken.to_string()]);
    assert!(error.contains(&format!("listen on {taken}")) && error.contains("Address already in use"), "{error}");
    let error = run(mizzen().args(["kubeconfig", "--node", "Edge_1", "--data-dir"]).arg(cluster.data())).err();
    assert!(error.contains("\"Edge_1\" is no DNS name"), "{error}");
}

#[test]
fn an_agent_waits_for_a_server_that_is_away_and_says_so() {
    let mut cluster = Cluster::server();
    cluster.kill();
    let mut agent = Agent::start_for(&cluster, "edge-1");
    eventually("the agent says that it waits", || agent.said().contains("waiting for the server: https://").then_some(()));
    assert!(agent.said().contains("Connection refused"), "{}", agent.said());
    cluster.start();
    agent.wait_ready();
    assert!(is(&cluster.get(&["node", "edge-1"]).unwrap(), "Ready"));
}

#[test]
fn a_server_without_a_node_is_ready_when_its_store_is() {
    let cluster = Cluster::server();
    let ask = |path: &str| run(Command::new("curl").args(["-sSk", &format!("https://{}/{path}", cluster.api())])).ok();
    assert_eq!(ask("readyz"), "ok");
    assert_eq!(ask("readyz?verbose"), "[+]ping ok\n[+]etcd ok\n[+]shutdown ok\nreadyz check passed\n");
}
