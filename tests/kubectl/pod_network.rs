//! One node's own network: bounds on what pods send and receive, the port of names, and what somebody else takes away.

use std::time::{Duration, Instant};

use mizzen_tests::{Cluster, Kubectl, Lan, Registry, eventually, images};
use serde_json::Value;

use crate::nodes::{Nodes, asked_on, field, nodes, teller};

/// A pod that serves three megabytes.
fn heavy(name: &str, annotations: &str, image: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, annotations: {{{annotations}}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: '{image}'
    command: [/bin/sh, -c, 'busybox dd if=/dev/zero of=/tmp/heavy bs=1M count=3; exec httpd -f -p 8080 -h /tmp']
    readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
---
"
    )
}

#[test]
fn what_a_pod_sends_and_receives_is_bounded_by_its_annotations() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let lan = Lan::switched(&["m1"]);
    let Nodes { cluster, _doors, .. } = nodes(&lan, &["m1"], &registry, "");
    let bounded = "kubernetes.io/ingress-bandwidth: 8M, kubernetes.io/egress-bandwidth: 8M";
    cluster.kubectl_apply(&(heavy("bounded", bounded, &image) + &heavy("free", "", &image)));
    cluster.kubectl_apply(&heavy("wrong", "kubernetes.io/ingress-bandwidth: fast", &image));
    cluster.kubectl_wait("condition=Ready", &["pod/bounded", "pod/free"]);
    let address = |pod: &str| field(&cluster, &["pod", pod], ".status.podIP");
    let took = |from: &str, to: &str| {
        let ask = format!("printf 'GET /heavy HTTP/1.0\\r\\n\\r\\n' | nc -w 60 {} 8080 | busybox wc -c", address(to));
        let begun = Instant::now();
        let said = cluster.kubectl(&["exec", from, "--", "sh", "-c", &ask]).ok();
        assert!(said.trim().parse::<u64>().unwrap() > 3 << 20, "{said}");
        begun.elapsed()
    };
    // 24 Mbit, of which one may pass at once.
    let least = Duration::from_millis(2700);
    assert!(took("bounded", "free") > least, "it receives 8 Mbit/s");
    assert!(took("free", "bounded") > least, "it sends 8 Mbit/s");
    // Wasm pods share an interface, and each has bounds of its own. One that fetches receives what it answers with.
    let component = images::wasm(&registry, "tryout_http", "tryout:v1");
    for (name, annotations) in [("wasm", bounded), ("quick", "")] {
        cluster.kubectl_apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}
spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: main, image: '{component}'}}]}}\n"
        ));
    }
    cluster.kubectl_wait("condition=Ready", &["pod/wasm", "pod/quick"]);
    let m1 = lan.machine("m1");
    let fetched = |by: &str| {
        let url = format!("http://{}:8080/fetch?http://{}:8080/heavy", address(by), address("free"));
        let begun = Instant::now();
        let size = m1.run(&["curl", "-sS", "--max-time", "60", "-o", "/dev/null", "-w", "%{size_download}", &url]);
        assert!(size.parse::<u64>().unwrap() > 3_000_000, "{size}");
        begun.elapsed()
    };
    assert!(fetched("wasm") > least, "it receives 8 Mbit/s");
    assert!(fetched("quick") < least, "its neighbour is not bounded");
    let classes = || m1.run(&["sh", "-c", "for link in $(ip -o link | cut -d: -f2); do tc class show dev ${link%@*}; done"]);
    assert!(classes().contains("rate 8Mbit"), "{}", classes());
    cluster.kubectl(&["delete", "pod", "wasm"]).ok();
    eventually("the bound goes with its pod", || (!classes().contains("rate 8Mbit")).then_some(()));
    eventually("what is no bandwidth is said", || {
        let events = cluster.events("wrong");
        events.iter().any(|message| message.contains("\"fast\" is no quantity")).then_some(())
    });
}

#[test]
fn what_somebody_takes_away_of_rules_and_routes_is_put_back_and_ranges_of_services_come_and_go() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let lan = Lan::switched(&["m1"]);
    let Nodes { cluster, _doors, .. } = nodes(&lan, &["m1"], &registry, "");
    let (m1, hub) = (lan.machine("m1"), lan.hub());
    let ports =
        "    ports: [{containerPort: 8080, hostPort: 8085}, {containerPort: 8080, hostPort: 53, protocol: UDP}]\n    command:";
    cluster.kubectl_apply(&teller("t1", "test-node", &image).replace("    command:", ports));
    cluster.kubectl_wait("condition=Ready", &["pod/t1"]);
    let names =
        |cluster: &Cluster| cluster.kubectl(&["exec", "t1", "--", "nslookup", "kubernetes.default.svc.cluster.local"]).ok();
    assert!(names(&cluster).contains("Name:"), "a pod that has the machine's port 53 has not that of names");
    assert_eq!(asked_on(&hub, m1.address.into(), 8085).1, "t1");

    let event = |reason: &str| {
        eventually(&format!("an event {reason}"), || {
            cluster.whole_events("test-node").iter().any(|event: &Value| event["reason"] == reason).then_some(())
        });
    };
    m1.run(&["nft", "flush", "ruleset"]);
    event("NodeRulesRestored");
    event("ServiceRulesRestored");
    assert_eq!(asked_on(&hub, m1.address.into(), 8085).1, "t1");
    let table = format!("mizzen_{}", cluster.id());
    m1.run(&["nft", "flush", "chain", "ip", &table, "postrouting"]);
    eventually("the chain is filled again", || {
        m1.run(&["nft", "list", "chain", "ip", &table, "postrouting"]).contains("masquerade").then_some(())
    });

    let range = field(&cluster, &["servicecidr", "kubernetes"], ".spec.cidrs[0]");
    m1.run(&["ip", "route", "del", &range]);
    event("ServiceRoutesRestored");
    assert!(m1.run(&["ip", "route", "show", &range]).contains("dev mz"));
    cluster.kubectl_apply(
        "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: further}\nspec: {cidrs: [172.31.0.0/24]}\n",
    );
    let routed = || !m1.run(&["ip", "route", "show", "172.31.0.0/24"]).is_empty();
    eventually("its route is there", || routed().then_some(()));
    cluster.kubectl(&["delete", "servicecidr", "further"]).ok();
    eventually("its route is gone", || (!routed()).then_some(()));

    cluster.kubectl(&["delete", "node", "test-node"]).ok();
    let begun = Instant::now();
    cluster.until(&["node", "test-node"], "is there again", |node| mizzen_tests::client::is(node, "Ready").then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(60), "a node says in seconds that it is there: {:?}", begun.elapsed());
}
