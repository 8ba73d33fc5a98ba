//! An ordinary container image, from the registry to its answer.

use mizzen_tests::cluster::http;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};

fn deployment(image: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: {image}
        readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
"
    )
}

#[test]
fn a_deployment_answers_http_gives_logs_and_exec_survives_a_kill_and_goes_away() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let mut cluster = Cluster::up();

    cluster.kubectl_apply(&deployment(&image, 2));
    cluster.kubectl_wait("condition=Available", &["deployment/web"]);
    let pods = cluster.pods("app=web");
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        assert_eq!(http(cluster.pod_address(pod), 8080).ok(), "hello from web:v1\n");
    }

    let said = cluster.kubectl(&["exec", &pods[0], "--", "sh", "-c", "echo to-the-log >/proc/1/fd/1; echo out; exit 7"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(7), "out\n"), "{}", said.stderr);
    eventually("the log has the line", || cluster.kubectl(&["logs", &pods[0]]).ok().contains("to-the-log").then_some(()));

    let started = |cluster: &Cluster| {
        let pod = cluster.get(&["pod", &pods[0]]).unwrap();
        pod["status"]["containerStatuses"][0]["containerID"].clone()
    };
    let before = started(&cluster);
    cluster.kill();
    assert_eq!(http_of(&registry, &cluster, &pods), None, "the API is gone");
    cluster.start();
    assert_eq!(started(&cluster), before, "the container went on running");
    assert_eq!(http(cluster.pod_address(&pods[0]), 8080).ok(), "hello from web:v1\n");
    assert_eq!(cluster.kubectl(&["exec", &pods[0], "--", "echo", "again"]).ok(), "again\n");

    cluster.kubectl(&["delete", "deployment", "web"]).ok();
    eventually("all pods are gone", || cluster.pods("app=web").is_empty().then_some(()));
}

/// Whether the API still answers, through kubectl.
fn http_of(_: &Registry, cluster: &Cluster, pods: &[String]) -> Option<String> {
    let ran = cluster.kubectl(&["get", "pod", &pods[0], "--request-timeout=2s"]);
    (ran.code == Some(0)).then_some(ran.stdout)
}
