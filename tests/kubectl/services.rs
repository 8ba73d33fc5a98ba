//! Services' addresses, proxies to pods, services and nodes, and draining a node that a disruption budget guards.

use std::fs::File;

use mizzen_tests::command::Ran;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};

/// Two pods of a Deployment that answer HTTP, behind a service.
fn web(cluster: &Cluster, image: &str) {
    cluster.kubectl_apply(&format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: '{image}'
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: NodePort
  selector: {{app: web}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
"
    ));
    cluster.kubectl_wait("condition=Available", &["deployment/web"]);
}

#[test]
fn what_pods_answer_is_reached_through_the_api_server_and_a_node_is_drained_as_its_budget_allows() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    web(&cluster, &image);
    let text = |ran: Ran| ran.stdout + &ran.stderr;
    let raw = |path: &str| cluster.kubectl(&["get", "--raw", path]);
    let pod = cluster.kubectl(&["get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]).ok();
    let pods = "/api/v1/namespaces/default/pods";
    for path in [format!("{pods}/{pod}/proxy/"), format!("{pods}/http:{pod}:8080/proxy/index.html")] {
        assert_eq!(raw(&path).ok(), "hello from web:v1\n", "{path}");
    }
    let service = "/api/v1/namespaces/default/services/web";
    for port in ["http", "80"] {
        eventually("the service's endpoints", || {
            (text(raw(&format!("{service}:{port}/proxy/"))) == "hello from web:v1\n").then_some(())
        });
    }
    let nodes = cluster.kubectl(&["get", "nodes", "-o", "name"]).ok();
    let node = nodes.trim().trim_start_matches("node/");
    raw(&format!("/api/v1/nodes/{node}/proxy/containerLogs/default/{pod}/main")).ok();
    let shown = cluster.kubectl(&["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"]).ok();
    let range = cluster.kubectl(&["get", "servicecidr", "kubernetes", "-o", "jsonpath={.spec.cidrs[0]}"]).ok();
    assert_eq!(shown, range.replace(".0/16", ".1"), "the first of the range");
    let backends = cluster.kubectl(&["get", "endpointslices", "kubernetes", "-o", "jsonpath={.endpoints[0].addresses[0]}"]).ok();
    assert!(!backends.is_empty());

    // One may go at a time; nowhere else can it run, so that the second has to wait.
    cluster.kubectl(&["create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=1"]).ok();
    eventually("the budget is counted", || {
        let allowed = cluster.kubectl(&["get", "pdb", "web", "-o", "jsonpath={.status.disruptionsAllowed}"]).ok();
        (allowed == "1").then_some(())
    });
    let folder = tempfile::tempdir().unwrap();
    let output = File::create(folder.path().join("output")).unwrap();
    let said = || std::fs::read_to_string(folder.path().join("output")).unwrap();
    let mut drain = cluster.kubectl_command(&["drain", node, "--timeout=200s", "--ignore-daemonsets", "--delete-emptydir-data"]);
    let mut drain = drain.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
    eventually("one pod is evicted and the other must not be", || {
        let refused = "Cannot evict pod as it would violate the pod's disruption budget.";
        assert_eq!(drain.try_wait().unwrap(), None, "{}", said());
        (said().contains(" evicted\n") && said().contains(refused)).then_some(())
    });
    cluster.kubectl(&["delete", "pdb", "web"]).ok();
    assert!(drain.wait().unwrap().success() && said().contains(&format!("node/{node} drained")), "{}", said());
    eventually("no pod is left on the node", || {
        let left = cluster.kubectl(&["get", "pods", "-A", "-o", "name", &format!("--field-selector=spec.nodeName={node}")]).ok();
        left.is_empty().then_some(())
    });
    cluster.kubectl(&["uncordon", node]).ok();
    cluster.kubectl_wait("condition=Available", &["deployment/web"]);
}
