//! Several nodes: the network between their pods, services that lead from one to another, and what becomes of it when somebody
//! takes routes away or a node goes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mizzen_tests::names::NameServer;
use mizzen_tests::{Agent, Cluster, Door, Kubectl, Lan, Machine, Registry, eventually, images};
use serde_json::Value;

/// A pod on a node that tells who asks, and its own name.
pub(crate) fn teller(name: &str, node: &str, image: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: teller, teller: {name}}}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: '{image}'
    command:
    - /bin/sh
    - -c
    - |
      busybox mkdir -p /tmp/cgi-bin
      printf '#!/bin/sh\\necho\\necho $REMOTE_ADDR {name}\\n' > /tmp/cgi-bin/who
      busybox chmod 755 /tmp/cgi-bin/who
      exec httpd -f -p 8080 -h /tmp
    readinessProbe: {{httpGet: {{path: /cgi-bin/who, port: 8080}}, periodSeconds: 1}}
---
"
    )
}

/// A pod of a component on a node, which fetches what it is asked to.
fn fetcher(name: &str, node: &str, image: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: fetcher}}}}
spec:
  nodeName: {node}
  containers:
  - name: main
    image: {image}
    ports: [{{containerPort: 8090}}]
    readinessProbe: {{httpGet: {{path: /, port: 8090}}, periodSeconds: 1}}
---
"
    )
}

/// (who asked, who answered)
pub(crate) fn told(said: &str) -> (String, String) {
    let (asked, answered) = said.trim().split_once(' ').unwrap_or_else(|| panic!("{said:?} is no teller's"));
    // Of an IPv6 socket.
    let asked = asked.trim_matches(['[', ']']).trim_start_matches("::ffff:");
    (asked.to_owned(), answered.to_owned())
}

/// What a container is told by a teller.
pub(crate) fn asked_in(cluster: &Cluster, pod: &str, address: &str, port: u16) -> (String, String) {
    let ask = format!("printf 'GET /cgi-bin/who HTTP/1.0\\r\\n\\r\\n' | nc -w 10 {address} {port}");
    let said = cluster.kubectl(&["exec", pod, "--", "sh", "-c", &ask]).ok();
    told(said.rsplit_once("\n\n").or_else(|| said.rsplit_once("\r\n\r\n")).map_or("", |(_, body)| body))
}

pub(crate) fn asked_on(machine: &Machine, address: IpAddr, port: u16) -> (String, String) {
    told(&machine.http(address, port, "/cgi-bin/who").ok())
}

pub(crate) fn field(cluster: &Cluster, what: &[&str], path: &str) -> String {
    cluster.kubectl(&[&["get"], what, &["-o", &format!("jsonpath={{{path}}}")]].concat()).ok()
}

fn block(cluster: &Cluster, node: &str) -> String {
    field(cluster, &["node", node], ".spec.podCIDR")
}

/// The address that a node's own programs have among pods.
fn gateway(block: &str) -> String {
    block.replace(".0/24", ".1")
}

/// Everybody answers, and says that it was `client` who asked.
pub(crate) fn all_answer(expected: &[&str], client: Option<&str>, ask: impl Fn() -> (String, String)) {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    let mut answered = BTreeSet::new();
    eventually("everybody has answered", || {
        let (asked, name) = ask();
        assert!(client.is_none_or(|client| client == asked), "{name} was asked by {asked}, not {client:?}");
        answered.insert(name);
        (answered == expected).then_some(())
    });
}

fn event(cluster: &Cluster, node: &str, reason: &str) {
    eventually(&format!("an event {reason}"), || {
        cluster.whole_events(node).iter().any(|event: &Value| event["reason"] == reason).then_some(())
    });
}

/// A cluster with a node on each machine, the server on the first, with this configuration, and the registry at hand on all.
pub(crate) struct Nodes {
    pub(crate) agents: Vec<Agent>,
    pub(crate) cluster: Cluster,
    pub(crate) _doors: Vec<Door>,
}

pub(crate) fn nodes(lan: &Lan, names: &[&str], registry: &Registry, config: &str) -> Nodes {
    let port = registry.address().port();
    let doors = names.iter().map(|name| Door::open(Some(lan.machine(name).pin()), None, port)).collect();
    let cluster = Cluster::up_on(lan.machine(names[0]), config);
    let mut agents: Vec<_> = names[1..].iter().map(|name| Agent::start_on(&cluster, lan.machine(name), "")).collect();
    agents.iter_mut().for_each(Agent::wait_ready);
    Nodes { agents, cluster, _doors: doors }
}

#[test]
fn pods_of_three_nodes_on_a_link_reach_each_other_and_every_service_by_plain_routes() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let component = images::wasm(&registry, "tryout_http", "tryout:v1");
    let lan = Lan::switched(&["m1", "m2", "m3"]);
    let Nodes { mut agents, cluster, _doors } = nodes(&lan, &["m1", "m2", "m3"], &registry, "");
    let (m1, m2, m3, hub) = (lan.machine("m1"), lan.machine("m2"), lan.machine("m3"), lan.hub());

    let said = cluster.kubectl(&["get", "nodes"]).ok();
    assert_eq!(said.lines().filter(|line| line.contains(" Ready ")).count(), 3, "{said}");
    let first = field(&cluster, &["node", "test-node"], ".status.addresses[0].address");
    assert_eq!(first, m1.address.to_string(), "by which other machines reach it");
    let blocks: Vec<_> = ["test-node", "m2", "m3"].iter().map(|node| block(&cluster, node)).collect();
    assert_eq!(blocks.iter().filter(|block| block.ends_with(".0/24")).collect::<BTreeSet<_>>().len(), 3, "{blocks:?}");

    for (name, node) in [("t1", "test-node"), ("t2", "m2"), ("t3", "m3")] {
        cluster.kubectl_apply(&teller(name, node, &image));
    }
    cluster.kubectl_apply(&(fetcher("w2", "m2", &component) + &fetcher("w3", "m3", &component)));
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
    let address = |pod: &str| cluster.pod_address(pod);
    let (t1, t2, t3, w2, w3) = (address("t1"), address("t2"), address("t3"), address("w2"), address("w3"));

    // Pods see each other by the addresses they have, and so do nodes.
    assert_eq!(asked_in(&cluster, "t1", &t2.to_string(), 8080), (t1.to_string(), "t2".into()));
    assert_eq!(asked_in(&cluster, "t2", &t3.to_string(), 8080), (t2.to_string(), "t3".into()));
    assert_eq!(asked_on(m3, t1, 8080), (gateway(&blocks[2]), "t1".into()));
    assert_eq!(asked_on(m1, t3, 8080), (gateway(&blocks[0]), "t3".into()));
    let fetched = |from: &Machine, wasm: IpAddr, url: &str| told(&from.curl(&format!("http://{wasm}:8090/fetch?{url}")).ok());
    assert_eq!(fetched(m1, w2, &format!("http://{t3}:8080/cgi-bin/who")), (w2.to_string(), "t3".into()));
    assert_eq!(m1.curl(&format!("http://{w2}:8090/fetch?http://{w3}:8090/there")).ok().trim(), "/there", "Wasm to Wasm");
    let links = m1.run(&["ip", "-o", "link", "show", "type", "vxlan"]) + &m2.run(&["ip", "-o", "link", "show", "type", "vxlan"]);
    assert_eq!(links, "", "machines on one link need no tunnel");

    // Nodes and what is outside: the ones see a pod as it is, the other its node.
    cluster.kubectl_apply(&teller("host3", "m3", &image).replace("  nodeName", "  hostNetwork: true\n  nodeName"));
    cluster.kubectl_wait("condition=Ready", &["pod/host3"]);
    assert_eq!(asked_in(&cluster, "t1", &m3.address.to_string(), 8080), (t1.to_string(), "host3".into()));
    cluster.kubectl(&["delete", "pod", "host3"]).ok();
    let outside = Outside::start(&hub);
    let ask = format!("nc -w 5 {} {} </dev/null", hub.address, outside.port);
    let seen = cluster.kubectl(&["exec", "t2", "--", "sh", "-c", &ask]).ok();
    assert_eq!(seen.trim(), m2.address.to_string());
    drop(outside);

    // A service leads from every node and every kind of pod to all of its pods.
    let all = ["t1", "t2", "t3"];
    cluster.kubectl_apply(
        "apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: teller}, ports: [{port: 80, targetPort: 8080}]}
",
    );
    let service: IpAddr = field(&cluster, &["service", "web"], ".spec.clusterIP").parse().unwrap();
    let node_port: u16 = field(&cluster, &["service", "web"], ".spec.ports[0].nodePort").parse().unwrap();
    for machine in [m1, m2, m3] {
        eventually("the service is known", || (machine.http(service, 80, "/cgi-bin/who").code == Some(0)).then_some(()));
        all_answer(&all, None, || asked_on(machine, service, 80));
    }
    let client = t3.to_string();
    all_answer(&all, Some(&client), || {
        let (asked, name) = asked_in(&cluster, "t3", &service.to_string(), 80);
        // One that calls itself sees the bridge.
        let is_itself = name == "t3";
        (if is_itself { client.clone() } else { asked }, name)
    });
    all_answer(&all, Some(&w2.to_string()), || fetched(m2, w2, &format!("http://{service}/cgi-bin/who")));
    for machine in [m1, m2, m3] {
        all_answer(&all, None, || asked_on(&hub, machine.address.into(), node_port));
    }
    all_answer(&all, None, || asked_in(&cluster, "t2", &m3.address.to_string(), node_port));

    // To the node's own while it has one.
    cluster.kubectl_apply(
        "apiVersion: v1
kind: Service
metadata: {name: home}
spec: {trafficDistribution: PreferSameNode, selector: {app: teller}, ports: [{port: 80, targetPort: 8080}]}
",
    );
    let home: IpAddr = field(&cluster, &["service", "home"], ".spec.clusterIP").parse().unwrap();
    let answers = |machine: &Machine| -> BTreeSet<_> {
        (0..8)
            .map(|_| machine.http(home, 80, "/cgi-bin/who").stdout.trim().rsplit(' ').next().unwrap_or_default().to_owned())
            .collect()
    };
    let only = |name: &str| BTreeSet::from([name.to_owned()]);
    for (machine, name) in [(m1, "t1"), (m2, "t2"), (m3, "t3")] {
        eventually("its own pod answers", || (answers(machine) == only(name)).then_some(()));
    }

    // Only where a pod is, and with the client as it is.
    cluster.kubectl(&["label", "pod", "t1", "t3", "app=other", "--overwrite"]).ok();
    cluster.kubectl_apply(
        "apiVersion: v1
kind: Service
metadata: {name: near}
spec: {type: NodePort, externalTrafficPolicy: Local, selector: {app: teller}, ports: [{port: 80, targetPort: 8080}]}
",
    );
    let near: u16 = field(&cluster, &["service", "near"], ".spec.ports[0].nodePort").parse().unwrap();
    eventually("who has none of its own is led to another's", || (answers(m1) == only("t2")).then_some(()));
    eventually("the pod's node leads to it", || (hub.http(m2.address.into(), near, "/").code == Some(0)).then_some(()));
    assert_eq!(asked_on(&hub, m2.address.into(), near), (hub.address.to_string(), "t2".into()));
    for machine in [m1, m3] {
        assert_ne!(hub.http(machine.address.into(), near, "/").code, Some(0), "{} has no pod of it", machine.name);
    }

    // Names.
    let said = cluster.kubectl(&["exec", "t3", "--", "nslookup", "web.default.svc.cluster.local"]).ok();
    assert!(said.contains(&service.to_string()), "{said}");

    // What somebody takes away comes back, and what is a node's that is gone goes.
    m1.run(&["ip", "route", "flush", "proto", "109"]);
    eventually("the ways are back", || (m1.http(t3, 8080, "/cgi-bin/who").code == Some(0)).then_some(()));
    event(&cluster, "test-node", "PodRoutesRestored");
    agents[1].kill();
    cluster.kubectl(&["delete", "node", "m3"]).ok();
    eventually("nobody has a way to a node that is gone", || {
        let routes = m1.run(&["ip", "route", "show", "proto", "109"]) + &m2.run(&["ip", "route", "show", "proto", "109"]);
        (!routes.contains(&blocks[2]) && routes.contains(&blocks[1])).then_some(())
    });
    agents[1].start();
    agents[1].wait_ready();
    eventually("it is back with what it had", || (block_now(&cluster, "m3") == Some(blocks[2].clone())).then_some(()));
    eventually("and is reached", || (m1.http(t2, 8080, "/cgi-bin/who").code == Some(0)).then_some(()));
    assert_eq!(m1.run(&["ip", "route", "show", "proto", "109"]).lines().count(), 2, "one to each of the others");
}

fn block_now(cluster: &Cluster, node: &str) -> Option<String> {
    cluster.get(&["node", node])?["spec"]["podCIDR"].as_str().map(str::to_owned)
}

#[test]
fn machines_with_a_router_between_them_are_joined_by_vxlan_which_is_kept_whole() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let component = images::wasm(&registry, "tryout_http", "tryout:v1");
    let lan = Lan::routed(&["m1", "m2"]);
    let Nodes { agents: _agents, cluster, _doors } = nodes(&lan, &["m1", "m2"], &registry, "");
    let m1 = lan.machine("m1");
    cluster.kubectl_apply(&(teller("t1", "test-node", &image) + &teller("t2", "m2", &image) + &fetcher("w2", "m2", &component)));
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
    let (t1, t2, w2) = (cluster.pod_address("t1"), cluster.pod_address("t2"), cluster.pod_address("w2"));
    let reached = || (m1.http(t2, 8080, "/cgi-bin/who").code == Some(0)).then_some(());
    eventually("the tunnel is there", reached);

    assert_eq!(asked_in(&cluster, "t1", &t2.to_string(), 8080), (t1.to_string(), "t2".into()));
    assert_eq!(asked_in(&cluster, "t2", &t1.to_string(), 8080), (t2.to_string(), "t1".into()));
    assert_eq!(asked_on(m1, t2, 8080), (gateway(&block(&cluster, "test-node")), "t2".into()));
    let fetch = format!("http://{w2}:8090/fetch?http://{t1}:8080/cgi-bin/who");
    assert_eq!(told(&m1.curl(&fetch).ok()), (w2.to_string(), "t1".into()));
    cluster.kubectl(&["expose", "pod", "t2", "--selector=teller=t2", "--port=80", "--target-port=8080", "--type=NodePort"]).ok();
    let node_port: u16 = field(&cluster, &["service", "t2"], ".spec.ports[0].nodePort").parse().unwrap();
    let hub = lan.hub();
    eventually("the service is known", || (hub.http(m1.address.into(), node_port, "/").code == Some(0)).then_some(()));
    assert_eq!(asked_on(&hub, m1.address.into(), node_port).1, "t2", "by a node that it is not on");

    // Packets fit, whatever their way: the link takes 1500 bytes, the tunnel 50 less.
    let links = m1.run(&["ip", "-o", "link", "show", "type", "vxlan"]);
    assert!(links.contains("mtu 1450"), "{links}");
    let big = "busybox dd if=/dev/zero bs=1024 count=2048 of=/tmp/big 2>/dev/null; busybox wc -c < /tmp/big";
    assert_eq!(cluster.kubectl(&["exec", "t2", "--", "sh", "-c", big]).ok().trim(), "2097152");
    let get = format!("printf 'GET /big HTTP/1.0\\r\\n\\r\\n' | nc -w 20 {t2} 8080 | busybox wc -c");
    let got: usize = cluster.kubectl(&["exec", "t1", "--", "sh", "-c", &get]).ok().trim().parse().unwrap();
    assert!(got > 2_097_152, "{got} bytes with the headers");

    let tunnel = links.split(": ").nth(1).unwrap().to_owned();
    let far = m1.run(&["bridge", "fdb", "show", "dev", &tunnel]);
    let (mac, _) = far.split_once(' ').unwrap();
    for damage in [
        vec!["bridge", "fdb", "del", mac, "dev", &tunnel, "dst", "198.18.2.11"],
        vec!["ip", "neigh", "flush", "dev", &tunnel, "nud", "permanent"],
        vec!["ip", "link", "del", &tunnel],
    ] {
        m1.run(&damage);
        eventually(&format!("the tunnel is whole again after {damage:?}"), reached);
    }
    event(&cluster, "test-node", "PodRoutesRestored");

    lan.cut_off("m2");
    assert_ne!(m1.http(t2, 8080, "/").code, Some(0));
    lan.heal();
    eventually("all is well again", reached);
}

/// Somebody outside of the cluster who tells who asks.
pub(crate) struct Outside {
    process: std::process::Child,
    pub(crate) port: u16,
}

impl Outside {
    pub(crate) fn start(hub: &Machine) -> Self {
        let port = 7077;
        let script = "import socket\ns = socket.create_server(('::', 7077), family=socket.AF_INET6, dualstack_ipv6=True)\nwhile True:\n    c, a = s.accept()\n    c.sendall(a[0].removeprefix('::ffff:').encode() + b'\\n')\n    c.close()\n";
        let mut command = std::process::Command::new("python3");
        let process = hub.inside(command.args(["-c", script])).spawn().unwrap();
        eventually("somebody listens outside", || {
            let connect = "import socket; socket.create_connection(('127.0.0.1', 7077))";
            hub.try_run(&["python3", "-c", connect]).code.filter(|code| *code == 0)
        });
        Self { process, port }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process of a further node's agent.
fn agent_of(cluster: &Cluster, node: &str) -> Option<i32> {
    let all = mizzen_tests::command::run(std::process::Command::new("ps").args(["-eo", "pid=,args="])).ok();
    let (name, data) = (format!("--node-name {node} "), cluster.data().display().to_string());
    let line = all.lines().find(|line| line.contains(&name) && line.contains(&data))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn mizzen_up_makes_three_nodes_on_one_machine_and_down_takes_all_of_them_away() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let mut cluster = Cluster::up_with_arguments(&["--nodes", "3"]);
    let said = cluster.kubectl(&["get", "nodes"]).ok();
    assert_eq!(said.lines().filter(|line| line.contains(" Ready ")).count(), 3, "{said}");
    // The registry is on this machine's loopback, which the others have not.
    let pods = [("t1", "test-node"), ("t2", "test-node-2"), ("t3", "test-node-3")];
    cluster.kubectl_apply(&pods.map(|(name, node)| teller(name, node, &image)).concat());
    cluster.kubectl(&["create", "service", "nodeport", "teller", "--tcp=80:8080"]).ok();
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
    let (t1, t3) = (cluster.pod_address("t1"), cluster.pod_address("t3"));
    assert_eq!(asked_in(&cluster, "t2", &t3.to_string(), 8080).1, "t3");
    assert_eq!(asked_in(&cluster, "t1", &t3.to_string(), 8080), (t1.to_string(), "t3".into()));
    let service = field(&cluster, &["service", "teller"], ".spec.clusterIP");
    all_answer(&["t1", "t2", "t3"], None, || asked_in(&cluster, "t3", &service, 80));
    // The first node leads a pod of the third back to a pod of the third.
    let first = field(&cluster, &["node", "test-node"], ".status.addresses[?(@.type==\"InternalIP\")].address");
    let port = field(&cluster, &["service", "teller"], ".spec.ports[0].nodePort").parse().unwrap();
    all_answer(&["t1", "t2", "t3"], None, || asked_in(&cluster, "t3", &first, port));
    let logs = cluster.kubectl(&["exec", "t3", "--", "echo", "by kubectl"]).ok();
    assert_eq!(logs.trim(), "by kubectl");

    // An agent that is killed comes back, and its pods have gone on.
    let killed = agent_of(&cluster, "test-node-2").expect("runs");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(killed), nix::sys::signal::Signal::SIGKILL).expect("is there");
    eventually("the agent is started again", || agent_of(&cluster, "test-node-2").filter(|pid| *pid != killed));
    eventually("its node answers", || (cluster.kubectl(&["exec", "t2", "--", "true"]).code == Some(0)).then_some(()));
    assert_eq!(field(&cluster, &["pod", "t2"], ".status.containerStatuses[0].restartCount"), "0");

    // A first node that is killed leaves the others, which the next one takes the place of; the pods go on.
    cluster.kill();
    cluster.start();
    assert_eq!(asked_in(&cluster, "t2", &t3.to_string(), 8080).1, "t3");
    let (id, data) = (cluster.id(), cluster.data());
    cluster.down().ok();
    assert_eq!(mizzen_tests::leftovers::of(&id, &data), [""; 0]);
}

#[test]
fn further_nodes_reach_name_servers_on_the_loopback_of_this_machine() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let [outside, corp] = [("www.example.test.", [192, 0, 2, 77]), ("db.corp.test.", [192, 0, 2, 78])]
        .map(|(name, address)| NameServer::knowing(&[(name, address.into())]));
    let servers = format!("upstreams: ['{}'], stubDomains: {{corp.test: ['{}']}}", outside.address(), corp.address());
    let cluster = Cluster::up_configured_with_arguments(&format!("dns: {{{servers}}}\n"), &["--nodes", "2"]);
    cluster.kubectl_apply(&teller("t2", "test-node-2", &image));
    cluster.kubectl_wait("condition=Ready", &["pod/t2"]);
    for (name, address) in [("www.example.test", "192.0.2.77"), ("db.corp.test", "192.0.2.78")] {
        let said = cluster.kubectl(&["exec", "t2", "--", "nslookup", &format!("{name}.")]).ok();
        assert!(said.contains(address), "{name}: {said}");
    }
}

#[test]
fn an_agent_serves_ingresses_where_it_is_told_to() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let lan = Lan::switched(&["m1", "m2"]);
    let Nodes { cluster, _doors, .. } = nodes(&lan, &["m1"], &registry, "");
    let m2 = lan.machine("m2");
    let _door = Door::open(Some(m2.pin()), None, registry.address().port());
    // What a proxy reads, a node may not by itself.
    cluster
        .kubectl(&[
            "create",
            "clusterrolebinding",
            "m2",
            "--clusterrole=system:controller:ingress-proxy",
            "--user=system:node:m2",
        ])
        .ok();
    let mut agent = Agent::start_on(&cluster, m2, "ingress: {enabled: true}\n");
    agent.wait_ready();
    cluster.kubectl_apply(&teller("t1", "test-node", &image));
    cluster.kubectl_apply(&teller("t2", "m2", &image));
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
    cluster.kubectl(&["expose", "pod", "t2", "--name=tell", "--port=80", "--target-port=8080"]).ok();
    cluster.kubectl(&["create", "ingress", "tell", "--rule=tell.example/*=tell:80"]).ok();
    let through = |address: IpAddr| {
        let url = format!("http://{address}/cgi-bin/who");
        lan.hub().try_run(&["curl", "-sS", "--max-time", "5", "-H", "Host: tell.example", &url]).stdout
    };
    for address in [lan.machine("m1").address, m2.address] {
        eventually(&format!("the ingress is served at {address}"), || through(address.into()).ends_with(" t2\n").then_some(()));
    }
}
