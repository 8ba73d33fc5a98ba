//! Pods and services with an address of each family.

use std::net::IpAddr;
use std::process::Command;

use mizzen_tests::command::{Ran, run};
use mizzen_tests::names::{ask, served_at};
use mizzen_tests::{Cluster, Kubectl, Lan, Machine, Registry, eventually, images, leftovers};
use serde_json::{Value, json};

use crate::nodes::{Nodes, Outside, field, nodes, teller};

const DUAL: &str = "podNetwork: {ipv6: auto}\n";

/// Pods that answer HTTP with their names, the one that is named on a node of its own, if it says which.
fn named(name: &str, image: &str, node: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: web}}}}
spec:
  nodeName: {node}
  hostname: {name}
  subdomain: peers
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: '{image}'
    command: [/bin/sh, -c, 'hostname > /tmp/index.html; exec httpd -f -p 8080 -h /tmp']
    ports: [{{name: web, containerPort: 8080}}]
    env: [{{name: IPS, valueFrom: {{fieldRef: {{fieldPath: status.podIPs}}}}}}]
    readinessProbe: {{httpGet: {{path: /, port: web}}, periodSeconds: 1}}
---
"
    )
}

fn service(name: &str, spec: &str) -> String {
    let ports = "ports: [{name: web, port: 80, targetPort: web}]";
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: web}}, {spec}, {ports}}}\n---\n")
}

fn curl(address: IpAddr, port: u16) -> Ran {
    let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    run(Command::new("curl").args(["-sS", "--max-time", "10", &format!("http://{host}:{port}/")]))
}

/// What a container's netcat is answered; nothing where nobody answers.
fn asked_in(cluster: &Cluster, pod: &str, address: IpAddr, port: u16) -> String {
    let ask = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} {port}");
    let said = cluster.kubectl(&["exec", pod, "--", "sh", "-c", &ask]).stdout;
    said.rsplit("\r\n").next().unwrap_or_default().trim().to_owned()
}

fn addresses(all: &Value) -> Vec<IpAddr> {
    let text = |ip: &Value| ip.as_str().or_else(|| ip["ip"].as_str()).map(str::to_owned);
    all.as_array().into_iter().flatten().filter_map(|ip| text(ip)?.parse().ok()).collect()
}

fn pod_addresses(cluster: &Cluster, pod: &str) -> [IpAddr; 2] {
    let pod = cluster.get(&["pod", pod]).unwrap();
    addresses(&pod["status"]["podIPs"]).try_into().unwrap()
}

fn spec(cluster: &Cluster, service: &str) -> Value {
    cluster.get(&["service", service]).unwrap()["spec"].clone()
}

#[test]
fn pods_and_services_are_reached_by_both_families_and_named_by_both() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let component = images::wasm(&registry, "tryout_http", "tryout:v1");
    let mut cluster = Cluster::up_configured(DUAL);
    let wasm = "apiVersion: v1
kind: Pod
metadata: {name: fetcher, labels: {app: fetcher}}
spec: {containers: [{name: main, image: IMAGE, ports: [{containerPort: 8090}]}]}
---
"
    .replace("IMAGE", &component);
    let both = "ipFamilyPolicy: PreferDualStack, type: NodePort";
    let services = service("both", both)
        + &service("turned", "ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6, IPv4]")
        + &service("single", "type: ClusterIP")
        + &service("sticky", "sessionAffinity: ClientIP, type: NodePort, ipFamilyPolicy: PreferDualStack")
        + &service("peers", "clusterIP: None, ipFamilyPolicy: RequireDualStack");
    cluster.kubectl_apply(&(named("a", &image, "test-node") + &named("b", &image, "test-node") + &wasm + &services));
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);

    let node = cluster.get(&["node", "test-node"]).unwrap();
    assert_eq!(node["spec"]["podCIDRs"].as_array().map(Vec::len), Some(2), "{}", node["spec"]);
    let inside = node["status"]["addresses"].as_array().unwrap().iter().filter(|address| address["type"] == "InternalIP");
    assert_eq!(inside.count(), 2, "{}", node["status"]["addresses"]);
    let (a, b) = (pod_addresses(&cluster, "a"), pod_addresses(&cluster, "b"));
    assert!(a[0].is_ipv4() && a[1].is_ipv6());
    let told = cluster.kubectl(&["exec", "a", "--", "sh", "-c", "echo $IPS"]).ok();
    assert_eq!(told.trim(), format!("{},{}", a[0], a[1]));
    for address in b {
        assert_eq!(asked_in(&cluster, "a", address, 8080), "b");
        assert_eq!(curl(address, 8080).ok().trim(), "b");
    }

    assert_eq!(spec(&cluster, "single")["ipFamilies"], json!(["IPv4"]));
    let (both, turned) = (spec(&cluster, "both"), spec(&cluster, "turned"));
    assert_eq!((&both["ipFamilies"], &turned["ipFamilies"]), (&json!(["IPv4", "IPv6"]), &json!(["IPv6", "IPv4"])));
    let (both_ips, turned_ips) = (addresses(&both["clusterIPs"]), addresses(&turned["clusterIPs"]));
    assert!(both_ips[0].is_ipv4() && both_ips[1].is_ipv6() && turned_ips[0].is_ipv6() && turned_ips[1].is_ipv4());
    let is_answer = |said: &str| ["a", "b"].contains(&said.trim());
    for address in both_ips.iter().chain(&turned_ips) {
        eventually("the service leads to its pods", || is_answer(&curl(*address, 80).stdout).then_some(()));
        eventually("from a pod, too, also to itself", || is_answer(&asked_in(&cluster, "a", *address, 80)).then_some(()));
    }
    let slices = cluster.get(&["endpointslices", "-l", "kubernetes.io/service-name=both"]).unwrap();
    let mut types: Vec<_> = slices["items"].as_array().unwrap().iter().map(|slice| slice["addressType"].clone()).collect();
    types.sort_by_key(Value::to_string);
    assert_eq!(types, [json!("IPv4"), json!("IPv6")]);
    let port = u16::try_from(both["ports"][0]["nodePort"].as_u64().unwrap()).unwrap();
    let own = addresses(&json!(
        node["status"]["addresses"].as_array().unwrap().iter().map(|a| a["address"].clone()).collect::<Vec<_>>()
    ));
    for address in own.clone() {
        eventually("by the node's port", || is_answer(&curl(address, port).stdout).then_some(()));
    }

    // A client stays with one of the two pods, at each address and port.
    let sticky = spec(&cluster, "sticky");
    let sticky_port = u16::try_from(sticky["ports"][0]["nodePort"].as_u64().unwrap()).unwrap();
    let own_six = own.iter().find(|address| address.is_ipv6()).unwrap();
    let doors = addresses(&sticky["clusterIPs"]).into_iter().map(|address| (address, 80)).chain([(*own_six, sticky_port)]);
    for (address, port) in doors {
        eventually("the sticky service leads to a pod", || is_answer(&curl(address, port).stdout).then_some(()));
        // Who draws has the same of two twenty times once in half a million.
        let first = curl(address, port).ok();
        (0..20).for_each(|_| assert_eq!(curl(address, port).ok(), first, "{address} port {port}"));
    }

    // Wasm pods: reached by both, and reaching both.
    let fetcher = pod_addresses(&cluster, "fetcher");
    for address in fetcher {
        assert_eq!(curl(address, 8090).ok(), "/\n");
        assert_eq!(asked_in(&cluster, "a", address, 8090), "/");
    }
    let fetch = format!("http://{}:8090/fetch?http://[{}]/", fetcher[0], both_ips[1]);
    let fetched = run(Command::new("curl").args(["-sS", "--max-time", "10", &fetch])).ok();
    assert!(is_answer(&fetched), "{fetched}");

    // Names.
    let server = served_at(&cluster);
    let ask = |name: &str, kind: &str| ask(server, name, kind).unwrap_or_default();
    let mut expected = vec![a[1].to_string(), b[1].to_string()];
    expected.sort();
    eventually("a headless service has both pods by IPv6", || {
        let mut found = ask("peers.default.svc.cluster.local.", "AAAA");
        found.sort();
        (found == expected).then_some(())
    });
    assert_eq!(ask("both.default.svc.cluster.local.", "AAAA"), [both_ips[1].to_string()]);
    assert_eq!(ask("both.default.svc.cluster.local.", "A"), [both_ips[0].to_string()]);
    assert_eq!(ask("single.default.svc.cluster.local.", "AAAA"), [""; 0]);
    assert_eq!(ask("a.peers.default.svc.cluster.local.", "AAAA"), [a[1].to_string()]);
    let IpAddr::V6(six) = both_ips[1] else { panic!("{both_ips:?}") };
    let nibbles: String = six.octets().iter().rev().map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4)).collect();
    assert_eq!(ask(&format!("{nibbles}ip6.arpa."), "PTR"), ["both.default.svc.cluster.local."]);

    // What is asked for later, or no more.
    let patch = |service: &str, spec: &str| cluster.kubectl(&["patch", "service", service, "--type=merge", "-p", spec]);
    patch("single", r#"{"spec": {"ipFamilyPolicy": "PreferDualStack"}}"#).ok();
    let upgraded = addresses(&spec(&cluster, "single")["clusterIPs"]);
    assert!(upgraded.len() == 2 && upgraded[1].is_ipv6(), "{upgraded:?}");
    eventually("the new address leads there", || is_answer(&curl(upgraded[1], 80).stdout).then_some(()));
    patch("single", r#"{"spec": {"ipFamilyPolicy": "SingleStack"}}"#).ok();
    assert_eq!(spec(&cluster, "single")["ipFamilies"], json!(["IPv4"]));
    assert!(cluster.get(&["ipaddress", &upgraded[1].to_string()]).is_none(), "it is given back");
    let refused = patch("both", r#"{"spec": {"ipFamilies": ["IPv6", "IPv4"], "clusterIPs": null}}"#);
    assert!(refused.stderr.contains("may not change once set"), "{}", refused.stderr);

    // The walls are of both families.
    let policy = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: wall}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: fetcher}}}]}]}
";
    cluster.kubectl_apply(policy);
    eventually("strangers are kept out", || b.iter().all(|b| asked_in(&cluster, "a", *b, 8080).is_empty()).then_some(()));
    let fetch = |address: &str| {
        let url = format!("http://{}:8090/fetch?http://{address}:8080/", fetcher[0]);
        run(Command::new("curl").args(["-sS", "--max-time", "10", &url])).stdout
    };
    assert_eq!((fetch(&b[0].to_string()).trim(), fetch(&format!("[{}]", b[1])).trim()), ("b", "b"), "friends are not");
    cluster.kubectl(&["delete", "networkpolicy", "wall"]).ok();

    cluster.kill();
    cluster.start();
    assert_eq!(pod_addresses(&cluster, "a"), a, "a restart changes nothing");
    for address in both_ips {
        eventually("the service leads on", || is_answer(&curl(address, 80).stdout).then_some(()));
    }
    let (id, data) = (cluster.id(), cluster.data());
    cluster.down().ok();
    assert_eq!(leftovers::of(&id, &data), [""; 0]);
}

#[test]
fn pods_of_several_nodes_reach_each_other_by_ipv6_by_routes_and_by_the_tunnel() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    for backend in ["auto", "vxlan"] {
        let config = format!("podNetwork: {{ipv6: 'fd00:ba5e::/48', backend: {backend}}}\n");
        let mut cluster = Cluster::up_configured_with_arguments(&config, &["--nodes", "2"]);
        let data = cluster.data().join("nodes/2/data");
        run(mizzen_tests::executables::mizzen().args(["image", "pull", &image, "--data-dir"]).arg(data)).ok();
        let pods = named("t1", &image, "test-node") + &named("t2", &image, "test-node-2");
        cluster.kubectl_apply(&(pods + &service("both", "ipFamilyPolicy: RequireDualStack")));
        cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
        let (t1, t2) = (pod_addresses(&cluster, "t1"), pod_addresses(&cluster, "t2"));
        for (pod, others, name) in [("t1", t2, "t2"), ("t2", t1, "t1")] {
            for other in others {
                eventually("pods of nodes reach each other", || (asked_in(&cluster, pod, other, 8080) == name).then_some(()));
            }
        }
        assert_eq!(curl(t2[1], 8080).ok().trim(), "t2", "the first node's programs reach them, too");
        let six = addresses(&spec(&cluster, "both")["clusterIPs"])[1];
        for name in ["t1", "t2"] {
            eventually("each is found by the service", || (asked_in(&cluster, "t2", six, 80) == name).then_some(()));
        }
        let (id, data) = (cluster.id(), cluster.data());
        cluster.down().ok();
        assert_eq!(leftovers::of(&id, &data), [""; 0]);
    }
}

#[test]
fn what_leaves_by_ipv6_is_seen_as_the_node_and_ingresses_are_served_by_it() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let lan = Lan::switched(&["m1"]);
    let (hub, m1) = (lan.hub(), lan.machine("m1"));
    hub.run(&["ip", "addr", "add", "fd00:1a::1/64", "dev", "switch", "nodad"]);
    m1.run(&["ip", "addr", "add", "fd00:1a::11/64", "dev", "eth0", "nodad"]);
    let Nodes { cluster, _doors, .. } = nodes(&lan, &["m1"], &registry, DUAL);
    cluster.kubectl_apply(&named("a", &image, "test-node"));
    cluster.kubectl_apply(&service("web", "ipFamilyPolicy: RequireDualStack"));
    cluster.kubectl(&["create", "ingress", "web", "--rule=web.example/*=web:80"]).ok();
    cluster.kubectl_wait("condition=Ready", &["pod/a"]);

    let outside = Outside::start(&hub);
    for (to, seen) in [("198.18.0.1", "198.18.0.11"), ("fd00:1a::1", "fd00:1a::11")] {
        let ask = format!("nc -w 5 {to} {} </dev/null", outside.port);
        assert_eq!(cluster.kubectl(&["exec", "a", "--", "sh", "-c", &ask]).ok().trim(), seen);
    }

    let served = eventually("the ingress says where it is served", || {
        let status = cluster.get(&["ingress", "web"])?["status"]["loadBalancer"]["ingress"].clone();
        Some(addresses(&status)).filter(|served| served.len() == 2)
    });
    assert_eq!(served, ["198.18.0.11".parse::<IpAddr>().unwrap(), "fd00:1a::11".parse().unwrap()]);
    for url in ["http://198.18.0.11/", "http://[fd00:1a::11]/"] {
        let ask = ["curl", "-sS", "--max-time", "5", "-H", "Host: web.example", url];
        eventually("the ingress leads to the pod", || (hub.try_run(&ask).stdout.trim() == "a").then_some(()));
    }
}

/// Who the hub believes has an address, by NDP.
fn believed(hub: &Machine, address: &str) -> Option<String> {
    let said = hub.run(&["ip", "-6", "neigh", "show", address]);
    said.split_once("lladdr ").and_then(|(_, rest)| Some(rest.split_whitespace().next()?.to_owned()))
}

#[test]
fn a_load_balancers_ipv6_address_is_answered_for_by_one_node_and_moves_to_another() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let lan = Lan::switched(&["m1", "m2"]);
    let hub = lan.hub();
    hub.run(&["ip", "addr", "add", "fd00:1a::1/64", "dev", "switch", "nodad"]);
    for (name, address) in [("m1", "fd00:1a::11/64"), ("m2", "fd00:1a::12/64")] {
        lan.machine(name).run(&["ip", "addr", "add", address, "dev", "eth0", "nodad"]);
    }
    let config = format!("loadBalancerAddresses: [198.18.0.240, 'fd00:1a::f0/124']\n{DUAL}");
    let Nodes { cluster, .. } = &nodes(&lan, &["m1", "m2"], &registry, &config);
    let machine = |node: &str| lan.machine(if node == "test-node" { "m1" } else { node });
    let mac = |node: &str| {
        let said = machine(node).run(&["ip", "-o", "link", "show", "eth0"]);
        said.split_once("link/ether ").unwrap().1.split_whitespace().next().unwrap().to_owned()
    };
    cluster.kubectl_apply(&(teller("t1", "test-node", &image) + &teller("t2", "m2", &image)));
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
    let spec =
        "type: LoadBalancer, ipFamilyPolicy: RequireDualStack, selector: {app: teller}, ports: [{port: 80, targetPort: 8080}]";
    cluster.kubectl_apply(&format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{{spec}}}\n"));
    let given = eventually("the service has an address of each family", || {
        let status = cluster.get(&["service", "web"])?["status"]["loadBalancer"]["ingress"].clone();
        let given: Vec<_> = status.as_array()?.iter().filter_map(|point| Some(point["ip"].as_str()?.to_owned())).collect();
        (given.len() == 2).then_some(given)
    });
    assert_eq!(given, ["198.18.0.240", "fd00:1a::f0"]);
    for url in ["http://198.18.0.240/", "http://[fd00:1a::f0]/"] {
        eventually("somebody answers for it", || (hub.curl(url).code == Some(0)).then_some(()));
    }
    let announcer = || field(cluster, &["service", "web"], ".metadata.annotations.mizzen\\.dev/announced-by");
    let first = announcer();
    assert_eq!(believed(&hub, "fd00:1a::f0"), Some(mac(&first)));
    let other = if first == "m2" { "test-node" } else { "m2" };
    cluster.kubectl(&["label", "node", &first, "node.kubernetes.io/exclude-from-external-load-balancers=true"]).ok();
    eventually("the other one has told the neighbours", || (believed(&hub, "fd00:1a::f0") == Some(mac(other))).then_some(()));
    eventually("and leads to the service", || (hub.curl("http://[fd00:1a::f0]/").code == Some(0)).then_some(()));
    eventually("the first one answers for it no more", || {
        machine(&first).run(&["ip", "-6", "neigh", "show", "proxy"]).is_empty().then_some(())
    });
}
