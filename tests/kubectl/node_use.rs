//! What a node and its pods use, as `kubectl top` and scrapers learn it.

use std::process::Command;

use mizzen_tests::command::run;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};
use serde_json::Value;

const SCRAPER: &str = "apiVersion: v1
kind: ServiceAccount
metadata: {name: scraper}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: scraper}
rules: [{apiGroups: [''], resources: [nodes/metrics], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: scraper}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: scraper}
subjects: [{kind: ServiceAccount, name: scraper, namespace: default}]
";

/// Works, ends, and rests when it is started again.
const AGAIN: &str = "apiVersion: v1
kind: Pod
metadata: {name: again}
spec:
  volumes: [{name: work, emptyDir: {}}]
  containers:
  - name: again
    image: IMAGE
    volumeMounts: [{name: work, mountPath: /work}]
    command: [sh, -c, 'test -e /work/done && exec sleep 3600; touch /work/done; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done']
";

/// The value of a line of Prometheus' text format.
fn metric(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.split_whitespace().next()?.parse().ok())
}

#[test]
fn a_node_tells_what_its_pods_use_to_those_who_may_ask() {
    let registry = Registry::start();
    let cluster = Cluster::up();
    let image = images::busybox(&registry, "web:v1");
    cluster.run("web", &image);
    cluster.kubectl_apply(&AGAIN.replace("IMAGE", &image));
    cluster.ready("web");
    let node = cluster.get(&["pod", "web"]).unwrap()["spec"]["nodeName"].as_str().unwrap().to_owned();
    let raw = |path: &str| cluster.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy{path}")]).ok();

    let container = r#"{container="web",namespace="default",pod="web"}"#;
    let pod = r#"{namespace="default",pod="web"}"#;
    let seconds = |page: &str| metric(page, &format!("container_cpu_usage_seconds_total{container}"));
    let first = raw("/metrics/resource");
    assert!(metric(&first, &format!("container_memory_working_set_bytes{container}")) > Some(4096.0), "{first}");
    assert!(metric(&first, &format!("container_start_time_seconds{container}")) > Some(1.7e9), "{first}");
    assert!(metric(&first, &format!("pod_memory_working_set_bytes{pod}")) > Some(4096.0), "{first}");
    assert!(
        metric(&first, "node_memory_working_set_bytes") > Some(1e6) && metric(&first, "scrape_error") == Some(0.0),
        "{first}"
    );
    cluster.kubectl(&["exec", "web", "--", "sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"]).ok();
    let then = raw("/metrics/resource");
    assert!(seconds(&then) > seconds(&first).map(|seconds| seconds + 0.05), "work is counted: {first}{then}");

    eventually("the pod has started again", || {
        let again = cluster.get(&["pod", "again"]).unwrap();
        let status = &again["status"]["containerStatuses"][0];
        (status["restartCount"] == 1 && status["state"]["running"].is_object()).then_some(())
    });
    let page = raw("/metrics/resource");
    let of_pod = metric(&page, r#"pod_cpu_usage_seconds_total{namespace="default",pod="again"}"#);
    let of_container = metric(&page, r#"container_cpu_usage_seconds_total{container="again",namespace="default",pod="again"}"#);
    assert!(of_pod > of_container.map(|seconds| seconds + 0.05), "what ended is counted: {page}");

    let summary: Value = eventually("a second look tells the pace", || {
        let summary: Value = serde_json::from_str(&raw("/stats/summary")).unwrap();
        summary["node"]["cpu"]["usageNanoCores"].is_u64().then_some(summary)
    });
    assert_eq!(summary["node"]["nodeName"], *node);
    assert!(summary["node"]["fs"]["capacityBytes"].as_u64() > Some(0), "{summary}");
    let web = summary["pods"].as_array().unwrap().iter().find(|pod| pod["podRef"]["name"] == "web").unwrap();
    assert_eq!(web["podRef"]["namespace"], "default");
    assert_eq!(web["containers"][0]["name"], "web");
    assert!(web["containers"][0]["memory"]["workingSetBytes"].as_u64() > Some(4096), "{web}");
    assert!(web["cpu"]["usageCoreNanoSeconds"].as_u64() > Some(0) && web["startTime"].is_string(), "{web}");

    cluster.kubectl_apply(SCRAPER);
    let token = cluster.kubectl(&["create", "token", "scraper"]).ok();
    let about = cluster.get(&["node", &node]).unwrap();
    let addresses = about["status"]["addresses"].as_array().unwrap();
    let address = addresses.iter().find(|address| address["type"] == "InternalIP").unwrap()["address"].as_str().unwrap();
    let port = &about["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"];
    let scrape = |path: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sSk", "--max-time", "30", "-H", &format!("Authorization: Bearer {}", token.trim())]);
        run(curl.arg(format!("https://{address}:{port}{path}"))).ok()
    };
    assert_eq!(metric(&scrape("/metrics/resource"), "scrape_error"), Some(0.0));
    let refused = "Forbidden (user=system:serviceaccount:default:scraper, verb=get, resource=nodes, subresource(s)=[\"stats\"])";
    assert_eq!(scrape("/stats/summary"), refused);
}
