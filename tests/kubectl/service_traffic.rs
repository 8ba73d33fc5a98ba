//! Packets to services: by their addresses and ports, from the node, from containers and from Wasm pods.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use mizzen_tests::command::{Ran, run};
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images, leftovers};

/// A Deployment whose pods answer HTTP with their names, also while they are ending.
fn named(name: &str, image: &str, replicas: u8) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 3
      containers:
      - name: main
        image: '{image}'
        command: [/bin/sh, -c, 'hostname > /tmp/index.html; exec httpd -f -p 8080 -h /tmp']
        ports: [{{name: web, containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /, port: web}}, periodSeconds: 1}}
"
    )
}

/// A pod of a component that answers with what it is asked to fetch, or with the path.
fn fetcher(image: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: fetcher, labels: {{app: fetcher}}}}
spec:
  containers:
  - name: main
    image: {image}
    ports: [{{containerPort: 8090}}]
    readinessProbe: {{httpGet: {{path: /, port: 8090}}, periodSeconds: 1}}
"
    )
}

fn curl(url: &str) -> Ran {
    run(Command::new("curl").args(["-sS", "--max-time", "10", url]))
}

/// What a container's netcat is answered.
fn asked_in(cluster: &Cluster, pod: &str, address: IpAddr, port: u16) -> String {
    let ask = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 10 {address} {port}");
    let said = cluster.kubectl(&["exec", pod, "--", "sh", "-c", &ask]).ok();
    said.rsplit("\r\n").next().unwrap_or_default().trim().to_owned()
}

fn cluster_ip(cluster: &Cluster, service: &str) -> IpAddr {
    cluster.kubectl(&["get", "service", service, "-o", "jsonpath={.spec.clusterIP}"]).ok().parse().unwrap()
}

/// Who has answered when each has, asking again and again.
fn all_answer(expected: &BTreeSet<String>, ask: impl Fn() -> String) {
    let mut answered = BTreeSet::new();
    eventually("every pod has answered", || {
        let name = ask();
        assert!(expected.contains(&name), "{name:?} is none of {expected:?}");
        answered.insert(name);
        (answered == *expected).then_some(())
    });
}

#[test]
fn a_service_answers_on_all_its_addresses_to_everybody_and_is_mended_when_its_rules_are_flushed() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let component = images::wasm(&registry, "tryout_http", "tryout:v1");
    let mut cluster = Cluster::up();
    cluster.kubectl_apply(&named("web", &image, 2));
    cluster.kubectl_apply(&fetcher(&component));
    cluster.kubectl(&["expose", "deployment", "web", "--port=80", "--target-port=web", "--type=NodePort"]).ok();
    cluster.kubectl(&["expose", "pod", "fetcher", "--port=80", "--target-port=8090"]).ok();
    cluster.kubectl_wait("condition=Available", &["deployment/web"]);
    cluster.kubectl_wait("condition=Ready", &["pod/fetcher"]);
    let pods: BTreeSet<String> = cluster.pods("app=web").into_iter().collect();
    let (web, fetch) = (cluster_ip(&cluster, "web"), cluster_ip(&cluster, "fetcher"));
    eventually("the service leads somewhere", || (curl(&format!("http://{web}/")).code == Some(0)).then_some(()));

    all_answer(&pods, || curl(&format!("http://{web}/")).ok().trim().to_owned());
    let client = pods.first().unwrap();
    all_answer(&pods, || asked_in(&cluster, client, web, 80));
    let fetcher = cluster.pod_address("fetcher");
    all_answer(&pods, || curl(&format!("http://{fetcher}:8090/fetch?http://{web}/")).ok().trim().to_owned());
    eventually("a Wasm pod's service leads to it", || (curl(&format!("http://{fetch}/")).code == Some(0)).then_some(()));
    assert_eq!(curl(&format!("http://{fetch}/by/node")).ok(), "/by/node\n");
    assert_eq!(asked_in(&cluster, client, fetch, 80), "/");
    assert_eq!(curl(&format!("http://{fetcher}:8090/fetch?http://{fetch}/itself")).ok().trim(), "/itself", "by its own service");

    let port = cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}"]).ok();
    let node = cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].status.addresses[0].address}"]).ok();
    all_answer(&pods, || curl(&format!("http://{node}:{port}/")).ok().trim().to_owned());
    all_answer(&pods, || curl(&format!("http://127.0.0.1:{port}/")).ok().trim().to_owned());
    all_answer(&pods, || asked_in(&cluster, client, node.parse().unwrap(), port.parse().unwrap()));

    let told = cluster.kubectl(&["exec", client, "--", "env"]).ok();
    let api = cluster_ip(&cluster, "kubernetes");
    assert!(
        told.contains(&format!("KUBERNETES_SERVICE_HOST={api}\n")) && told.contains("KUBERNETES_SERVICE_PORT=443\n"),
        "{told}"
    );
    let version = run(Command::new("curl").args(["-sSk", "--max-time", "10", &format!("https://{api}/version")])).ok();
    assert!(version.contains("gitVersion"), "{version}");
    let reached = format!("nc -w 10 {api} 443 </dev/null && echo reached");
    assert_eq!(cluster.kubectl(&["exec", client, "--", "sh", "-c", &reached]).ok().trim(), "reached");

    let table = format!("mizzen_{}_services", cluster.id());
    for damage in [["delete", "table", "ip", &table], ["flush", "table", "ip", &table]] {
        run(Command::new("nft").args(damage)).ok();
        eventually("the rules are back", || (curl(&format!("http://{web}/")).code == Some(0)).then_some(()));
    }
    let name = cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]).ok();
    eventually("an event says so", || {
        let told = |event: &serde_json::Value| event["reason"] == "ServiceRulesRestored" && event["type"] == "Warning";
        cluster.whole_events(&name).iter().any(told).then_some(())
    });

    cluster.kill();
    all_answer(&pods, || curl(&format!("http://{web}/")).ok().trim().to_owned());
    cluster.start();
    assert_eq!(curl(&format!("http://{web}/")).code, Some(0), "nothing is interrupted by a restart");
    cluster.kubectl(&["scale", "deployment", "web", "--replicas=0"]).ok();
    eventually("without endpoints it refuses", || (curl(&format!("http://{web}/")).code == Some(7)).then_some(()));

    let (id, data) = (cluster.id(), cluster.data());
    cluster.down().ok();
    assert_eq!(leftovers::of(&id, &data), [""; 0]);
}

#[test]
fn no_request_fails_while_pods_are_replaced_and_clients_stay_with_one_that_is_sticky() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.kubectl_apply(&named("web", &image, 3));
    cluster.kubectl(&["expose", "deployment", "web", "--port=80", "--target-port=8080"]).ok();
    cluster
        .kubectl(&[
            "expose",
            "deployment",
            "web",
            "--name=sticky",
            "--port=80",
            "--target-port=8080",
            "--session-affinity=ClientIP",
        ])
        .ok();
    cluster.kubectl_wait("condition=Available", &["deployment/web"]);
    let pods: BTreeSet<String> = cluster.pods("app=web").into_iter().collect();
    let (web, sticky) = (cluster_ip(&cluster, "web"), cluster_ip(&cluster, "sticky"));
    for ip in [web, sticky] {
        eventually("the service leads somewhere", || (curl(&format!("http://{ip}/")).code == Some(0)).then_some(()));
    }
    all_answer(&pods, || curl(&format!("http://{web}/")).ok().trim().to_owned());
    let ask = || curl(&format!("http://{sticky}/")).ok().trim().to_owned();
    let first = ask();
    assert_eq!((0..20).map(|_| ask()).collect::<BTreeSet<_>>(), BTreeSet::from([first.clone()]));
    cluster.kubectl(&["delete", "pod", &first, "--wait=false"]).ok();
    let other = eventually("another pod takes the client over", || Some(ask()).filter(|name| *name != first));
    assert_eq!((0..20).map(|_| ask()).collect::<BTreeSet<_>>(), BTreeSet::from([other]));

    let done = AtomicBool::new(false);
    let (asked, failed) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut asked, mut failed) = (0, Vec::new());
            while !done.load(Ordering::SeqCst) {
                let ran = curl(&format!("http://{web}/"));
                asked += 1;
                if ran.code != Some(0) {
                    failed.push(ran.stderr);
                }
            }
            (asked, failed)
        });
        cluster.kubectl(&["rollout", "restart", "deployment", "web"]).ok();
        cluster.kubectl(&["rollout", "status", "deployment", "web", "--timeout=120s"]).ok();
        eventually("the old pods are gone", || {
            let now: BTreeSet<String> = cluster.pods("app=web").into_iter().collect();
            (now.len() == 3 && now.is_disjoint(&pods)).then_some(())
        });
        done.store(true, Ordering::SeqCst);
        asking.join().unwrap()
    });
    assert_eq!(failed, [""; 0], "of {asked} requests");
    assert!(asked > 20, "{asked}");
}
