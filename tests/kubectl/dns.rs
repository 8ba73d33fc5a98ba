//! Names: of services and pods, of what is outside, for containers, pods in the host's network and Wasm alike.

use std::net::Ipv4Addr;

use mizzen_tests::names::{NameServer, ask, served_at};
use mizzen_tests::{Agent, Cluster, Kubectl, Registry, eventually, images};

const WORLD: &str = "apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: pg, port: 5432, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: site}
spec: {type: ExternalName, externalName: www.example.test}
---
";

/// A pod behind both services, with a name of its own; it has getent, which resolves as every program with a C library does.
fn pod(name: &str, image: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: web}}}}
spec:
  hostname: {name}-host
  subdomain: db
  terminationGracePeriodSeconds: 0
  containers: [{{name: main, image: '{image}'}}]
{spec}---
"
    )
}

/// The address of the service of names: the tenth of the range, of which that of `kubernetes` is the first.
fn tenth(cluster: &Cluster) -> String {
    let first = cluster.kubectl(&["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"]).ok();
    Ipv4Addr::from(u32::from(first.parse::<Ipv4Addr>().unwrap()) + 9).to_string()
}

/// What the program in a pod finds for a name: its addresses.
fn found(cluster: &Cluster, pod: &str, name: &str) -> String {
    let ran = cluster.kubectl(&["exec", pod, "--", "/usr/bin/getent", "ahostsv4", name]);
    ran.stdout.lines().filter(|line| line.contains("STREAM")).filter_map(|line| line.split_whitespace().next()).collect()
}

fn outside() -> NameServer {
    NameServer::knowing(&[
        ("www.example.test.", Ipv4Addr::new(192, 0, 2, 77)),
        ("other.example.test.", Ipv4Addr::new(192, 0, 2, 78)),
    ])
}

#[test]
fn pods_find_services_pods_and_what_is_outside_by_name() {
    let registry = Registry::start();
    let image = images::busybox_with(&registry, "names:v1", &["/usr/bin/getent"]);
    let (outside, corp) = (outside(), NameServer::knowing(&[("vpn.corp.test.", Ipv4Addr::new(192, 0, 2, 99))]));
    let servers = format!("dns: {{upstreams: ['{}'], stubDomains: {{corp.test: ['{}']}}}}\n", outside.address(), corp.address());
    let cluster = Cluster::up_configured(&servers);
    let server = served_at(&cluster);
    let policies = [
        ("a", ""),
        ("host", "  hostNetwork: true\n  dnsPolicy: ClusterFirstWithHostNet\n"),
        ("machine", "  dnsPolicy: Default\n"),
        (
            "own",
            "  dnsPolicy: None\n  dnsConfig: {nameservers: [192.0.2.1], searches: [my.test], options: [{name: ndots, value: '2'}]}\n",
        ),
    ];
    // The pod in the host's network would have the port of another one of it.
    let command = |manifest: String| manifest.replace("image:", "command: [sleep, '3600'], image:");
    let pods = policies.map(|(name, spec)| if name == "a" { pod(name, &image, spec) } else { command(pod(name, &image, spec)) });
    cluster.kubectl_apply(&(WORLD.to_owned() + &pods.concat()));
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);

    let conf = |pod: &str| cluster.kubectl(&["exec", pod, "--", "cat", "/etc/resolv.conf"]).ok();
    let ours = conf("a");
    assert!(ours.starts_with("search default.svc.cluster.local svc.cluster.local cluster.local"), "{ours}");
    assert!(ours.ends_with(&format!("nameserver {}\noptions ndots:5\n", server.ip())), "{ours}");
    assert_eq!(conf("host"), ours);
    assert!(!conf("machine").contains("cluster.local"));
    assert_eq!(conf("own"), "search my.test\nnameserver 192.0.2.1\noptions ndots:2\n");
    let hosts = cluster.kubectl(&["exec", "a", "--", "cat", "/etc/hosts"]).ok();
    let address = cluster.pod_address("a").to_string();
    assert!(hosts.contains(&format!("{address}\ta-host.db.default.svc.cluster.local\ta-host\n")), "{hosts}");

    let service = cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]).ok();
    let kubernetes = cluster.kubectl(&["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"]).ok();
    for pod in ["a", "host"] {
        for (name, expected) in [
            ("web", service.as_str()),
            ("web.default", &service),
            ("web.default.svc", &service),
            ("web.default.svc.cluster.local", &service),
            ("kubernetes.default", &kubernetes),
            ("www.example.test", "192.0.2.77"),
            ("site", "192.0.2.77"),
            ("vpn.corp.test", "192.0.2.99"),
            ("nobody.example.test", ""),
            ("nobody", ""),
        ] {
            assert_eq!(found(&cluster, pod, name), expected, "{name} in {pod}");
        }
        eventually("the pod's own name leads to it", || (found(&cluster, pod, "a-host.db") == address).then_some(()));
    }
    let said = cluster.kubectl(&["exec", "a", "--", "nslookup", "web.default.svc.cluster.local"]).ok();
    assert!(said.contains(&service), "{said}");

    let answers = |name: &str, kind: &str| ask(server, name, kind).unwrap_or_else(|code| vec![code.to_string()]);
    let target = "_http._tcp.web.default.svc.cluster.local.";
    assert_eq!(answers(target, "SRV"), ["0 100 80 web.default.svc.cluster.local."]);
    let srv = answers("_pg._tcp.db.default.svc.cluster.local.", "SRV");
    assert!(srv.iter().any(|srv| srv.ends_with(" 8080 a-host.db.default.svc.cluster.local.")), "{srv:?}");
    let reversed = |address: &str| address.split('.').rev().collect::<Vec<_>>().join(".") + ".in-addr.arpa.";
    assert_eq!(answers(&reversed(&service), "PTR"), ["web.default.svc.cluster.local."]);
    assert_eq!(answers(&reversed(&address), "PTR"), ["a-host.db.default.svc.cluster.local."]);
    let named = address.replace('.', "-") + ".default.pod.cluster.local.";
    assert_eq!(answers(&named, "A"), [address.as_str()]);
    assert_eq!(answers("dns-version.cluster.local.", "TXT"), ["1.1.0"]);
    assert_eq!(answers("web.default.svc.cluster.local.", "AAAA"), Vec::<String>::new());
    assert_eq!(answers("nobody.default.svc.cluster.local.", "A"), ["Non-Existent Domain"]);

    let known = cluster.kubectl(&["get", "service", "kube-dns", "-n", "kube-system", "-o", "jsonpath={.spec.clusterIP}"]).ok();
    assert_eq!(known, tenth(&cluster));
}

#[test]
fn names_follow_what_becomes_of_their_services() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let outside = outside();
    let cluster = Cluster::up_configured(&format!("clusterDomain: k8s.test\ndns: {{upstreams: ['{}']}}\n", outside.address()));
    let server = served_at(&cluster);
    let answers = |name: &str| ask(server, name, "A").unwrap_or_else(|code| vec![code.to_string()]);
    let eventually_says = |name: &str, expected: &[String]| {
        eventually(&format!("{name} is {expected:?}"), || (answers(name) == expected).then_some(()));
    };
    cluster.kubectl_apply(WORLD);
    let site = "site.default.svc.k8s.test.";
    eventually_says(site, &["192.0.2.77".to_owned(), "www.example.test.".to_owned()]);
    cluster.kubectl(&["patch", "service", "site", "-p", r#"{"spec": {"externalName": "other.example.test"}}"#]).ok();
    eventually_says(site, &["192.0.2.78".to_owned(), "other.example.test.".to_owned()]);
    let port = r#"{"spec": {"type": "ClusterIP", "externalName": null, "ports": [{"name": "http", "port": 80}]}}"#;
    cluster.kubectl(&["patch", "service", "site", "-p", port]).ok();
    let address = cluster.kubectl(&["get", "service", "site", "-o", "jsonpath={.spec.clusterIP}"]).ok();
    eventually_says(site, &[address]);

    let db = "db.default.svc.k8s.test.";
    let absent = ["Non-Existent Domain".to_owned()];
    assert_eq!(answers(db), absent);
    // Not ready: it listens elsewhere than it is asked.
    let probe = "readinessProbe: {tcpSocket: {port: 9}, periodSeconds: 1}, image:";
    cluster.kubectl_apply(&pod("early", &image, "").replace("image:", probe));
    eventually("the pod runs", || {
        (cluster.kubectl(&["get", "pod", "early", "-o", "jsonpath={.status.phase}"]).ok() == "Running").then_some(())
    });
    eventually("the service knows the endpoint that is not ready", || {
        let path = "jsonpath={.items[*].endpoints[*].conditions.ready}";
        let label = "kubernetes.io/service-name=db";
        (cluster.kubectl(&["get", "endpointslices", "-l", label, "-o", path]).ok() == "false").then_some(())
    });
    assert_eq!(answers(db), absent);
    let early = r#"{"spec": {"publishNotReadyAddresses": true}}"#;
    cluster.kubectl(&["patch", "service", "db", "-p", early]).ok();
    eventually_says(db, &[cluster.pod_address("early").to_string()]);
    eventually_says("early-host.db.default.svc.k8s.test.", &[cluster.pod_address("early").to_string()]);
    cluster.kubectl(&["delete", "pod", "early"]).ok();
    eventually_says(db, &absent);
    cluster.kubectl(&["delete", "service", "kube-dns", "-n", "kube-system"]).ok();
    eventually("the service of names is put back", || {
        let known = cluster.kubectl(&["get", "service", "kube-dns", "-n", "kube-system", "-o", "jsonpath={.spec.clusterIP}"]);
        (known.stdout == tenth(&cluster)).then_some(())
    });
    assert_eq!(served_at(&cluster), server);
}

#[test]
fn wasm_pods_find_services_by_their_short_names() {
    let registry = Registry::start();
    let (server, guest) = (images::busybox(&registry, "web:v1"), images::wasm(&registry, "hello-cli", "cli:v1"));
    let outside = outside();
    let cluster = Cluster::up_configured(&format!("dns: {{upstreams: ['{}']}}\n", outside.address()));
    cluster.kubectl_apply(&(WORLD.to_owned() + &pod("a", &server, "")));
    cluster.kubectl_wait("condition=Ready", &["pod/a"]);
    let address = cluster.pod_address("a").to_string();
    let service = cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]).ok();
    eventually("the service has its endpoint", || {
        let path = "jsonpath={.items[*].endpoints[*].conditions.ready}";
        let label = "kubernetes.io/service-name=db";
        (cluster.kubectl(&["get", "endpointslices", "-l", label, "-o", path]).ok() == "true").then_some(())
    });
    let names = [("web", service.as_str()), ("db", &address), ("a-host.db.default", &address), ("site", "192.0.2.77")];
    for (number, (name, expected)) in names.into_iter().enumerate() {
        let pod = format!("wasm-{number}");
        cluster.kubectl(&["run", &pod, "--image", &guest, "--restart=Never", "--", "lookup", name]).ok();
        cluster.kubectl_wait("jsonpath={.status.phase}=Succeeded", &[&format!("pod/{pod}")]);
        assert_eq!(cluster.kubectl(&["logs", &pod]).ok().trim(), expected, "{name}");
    }
}

#[test]
fn names_are_known_while_the_server_is_away_and_follow_it_when_it_is_back() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let mut cluster = Cluster::server();
    let mut agent = Agent::join(&cluster, "edge-1");
    let server = served_at(&cluster);
    cluster.kubectl_apply(&(WORLD.to_owned() + &pod("a", &image, "")));
    cluster.kubectl_wait("condition=Ready", &["pod/a"]);
    let address = cluster.pod_address("a").to_string();
    let answers = |name: &str| ask(server, name, "A").unwrap_or_else(|code| vec![code.to_string()]);
    let web = [cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]).ok()];
    eventually("the service has its name", || (answers("web.default.svc.cluster.local.") == web).then_some(()));
    eventually("the pod has its name", || (answers("a-host.db.default.svc.cluster.local.") == [address.clone()]).then_some(()));
    cluster.kill();
    assert_eq!(answers("a-host.db.default.svc.cluster.local."), [address]);
    assert_eq!(answers("web.default.svc.cluster.local."), web);
    assert_eq!(answers("later.default.svc.cluster.local."), ["Non-Existent Domain"]);
    agent.stop();
    agent.start();
    eventually("a node that was restarted knows them as well", || {
        (answers("web.default.svc.cluster.local.") == web).then_some(())
    });
    cluster.start();
    cluster.kubectl(&["create", "service", "clusterip", "later", "--tcp=80"]).ok();
    let later = cluster.kubectl(&["get", "service", "later", "-o", "jsonpath={.spec.clusterIP}"]).ok();
    eventually("what came later has a name", || (answers("later.default.svc.cluster.local.") == [later.clone()]).then_some(()));
}
