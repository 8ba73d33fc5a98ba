//! Who may talk to whom: NetworkPolicies, for containers and Wasm pods alike.

use std::net::IpAddr;
use std::process::Command;

use mizzen_tests::command::run;
use mizzen_tests::{Cluster, Kubectl, Lan, Registry, eventually, images};

use crate::nodes::{Nodes, field, nodes};

/// A pod that answers HTTP at a port with a name, and can be sent to ask others.
fn pod(name: &str, namespace: &str, image: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: '{image}'
{spec}
    readinessProbe: {{httpGet: {{path: /, port: http}}, periodSeconds: 1}}
---
"
    )
}

fn container(name: &str, namespace: &str, image: &str) -> String {
    let spec = "    command: [/bin/sh, -c, 'hostname > /tmp/index.html; httpd -p 8081 -h /tmp; exec httpd -f -p 8080 -h /tmp']
    ports: [{name: http, containerPort: 8080}]";
    pod(name, namespace, image, spec)
}

fn policy(name: &str, spec: &str) -> String {
    format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n")
}

struct World {
    cluster: Cluster,
    _registry: Registry,
    image: String,
}

impl World {
    /// Containers `web`, `client` and `stranger`, one `friend` in a namespace of that name, and a Wasm pod `fetcher`.
    fn start() -> Self {
        let registry = Registry::start();
        let image = images::busybox(&registry, "web:v1");
        let component = images::wasm(&registry, "tryout_http", "tryout:v1");
        let cluster = Cluster::up();
        cluster.kubectl(&["create", "namespace", "friends"]).ok();
        let mut pods: String = ["web", "client", "stranger"].map(|name| container(name, "default", &image)).concat();
        pods += &container("friend", "friends", &image);
        pods += &pod("fetcher", "default", &component, "    ports: [{name: http, containerPort: 8090}]");
        cluster.kubectl_apply(&pods);
        cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
        cluster.kubectl_wait("condition=Ready", &["pod", "--all", "-n", "friends"]);
        Self { cluster, _registry: registry, image }
    }

    fn address(&self, pod: &str) -> IpAddr {
        let namespace = if pod == "friend" { "friends" } else { "default" };
        let address = self.cluster.kubectl(&["get", "pod", pod, "-n", namespace, "-o", "jsonpath={.status.podIP}"]).ok();
        address.parse().unwrap()
    }

    fn connects(&self, from: &str, to: IpAddr, port: u16) -> bool {
        if from == "fetcher" {
            let ask = format!("http://{}:8090/fetch?http://{to}:{port}/", self.address("fetcher"));
            return run(Command::new("curl").args(["-sSf", "--max-time", "4", &ask])).code == Some(0);
        }
        let namespace = if from == "friend" { "friends" } else { "default" };
        let ask = format!("nc -w 3 {to} {port} </dev/null >/dev/null && echo reached");
        self.cluster.kubectl(&["exec", from, "-n", namespace, "--", "sh", "-c", &ask]).stdout.trim() == "reached"
    }

    #[track_caller]
    fn reaches(&self, from: &str, to: &str, port: u16) {
        let address = self.address(to);
        eventually(&format!("{from} reaches {to} at {port}"), || self.connects(from, address, port).then_some(()));
    }

    #[track_caller]
    fn misses(&self, from: &str, to: &str, port: u16) {
        let address = self.address(to);
        eventually(&format!("{from} does not reach {to} at {port}"), || (!self.connects(from, address, port)).then_some(()));
    }

    fn node_reaches(&self, to: &str, port: u16) {
        let url = format!("http://{}:{port}/", self.address(to));
        run(Command::new("curl").args(["-sS", "--max-time", "10", &url])).ok();
    }
}

#[test]
fn pods_are_reached_by_whom_policies_name_and_by_nobody_else() {
    let world = World::start();
    let cluster = &world.cluster;
    for client in ["client", "stranger", "friend", "fetcher"] {
        world.reaches(client, "web", 8080);
    }
    cluster.kubectl_apply(&policy("deny", "{podSelector: {}}"));
    for client in ["client", "friend", "fetcher"] {
        world.misses(client, "web", 8080);
    }
    world.misses("client", "fetcher", 8090);
    for (server, port) in [("web", 8080), ("fetcher", 8090)] {
        world.node_reaches(server, port);
    }
    world.reaches("client", "friend", 8080);
    cluster.kubectl_apply(&container("late", "default", &world.image));
    cluster.kubectl_wait("condition=Ready", &["pod/late"]);
    let late = world.address("late");
    assert!(!world.connects("stranger", late, 8080), "its policies are in place before it runs");

    let named = "{podSelector: {matchExpressions: [{key: app, operator: In, values: [web, fetcher]}]},
  ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: In, values: [client, fetcher]}]}}], ports: [{port: http}]}]}";
    cluster.kubectl_apply(&policy("clients", named));
    for (client, server, port) in [("client", "web", 8080), ("fetcher", "web", 8080), ("client", "fetcher", 8090)] {
        world.reaches(client, server, port);
    }
    for (client, port) in [("client", 8081), ("fetcher", 8081), ("stranger", 8080), ("friend", 8080)] {
        world.misses(client, "web", port);
    }
    let described = cluster.kubectl(&["describe", "networkpolicy", "clients"]).ok();
    assert!(described.contains("To Port: http/TCP") && described.contains("PodSelector: app in (client,fetcher)"), "{described}");

    cluster.kubectl(&["label", "namespace", "friends", "team=friends"]).ok();
    let friends = "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: friends}}, podSelector: {matchLabels: {app: friend}}}]}]}";
    cluster.kubectl_apply(&policy("friends", friends));
    for (server, port) in [("web", 8080), ("web", 8081), ("fetcher", 8090)] {
        world.reaches("friend", server, port);
    }
    world.misses("stranger", "web", 8080);
    cluster.kubectl(&["label", "namespace", "friends", "team-"]).ok();
    world.misses("friend", "web", 8080);

    let table = format!("mizzen_{}_policies", cluster.id());
    for damage in ["flush", "delete"] {
        run(Command::new("nft").args([damage, "table", "ip", &table])).ok();
        world.misses("stranger", "web", 8080);
        world.reaches("client", "web", 8080);
    }
    let name = cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]).ok();
    eventually("an event says so", || {
        let told = |event: &serde_json::Value| event["reason"] == "NetworkPolicyRulesRestored" && event["type"] == "Warning";
        cluster.whole_events(&name).iter().any(told).then_some(())
    });

    cluster.kubectl(&["delete", "networkpolicy", "clients", "friends"]).ok();
    let block = format!(
        "{{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: 10.0.0.0/8, except: [{}/32]}}}}]}}]}}",
        world.address("client")
    );
    cluster.kubectl_apply(&policy("block", &block));
    for client in ["stranger", "fetcher", "friend"] {
        world.reaches(client, "web", 8080);
    }
    for server in [("web", 8080), ("fetcher", 8090)] {
        world.misses("client", server.0, server.1);
    }
    cluster.kubectl(&["delete", "networkpolicy", "--all"]).ok();
    world.reaches("client", "web", 8080);
    world.reaches("client", "fetcher", 8090);
}

#[test]
fn pods_go_where_policies_let_them_and_find_names_if_they_may() {
    let world = World::start();
    let cluster = &world.cluster;
    cluster.kubectl(&["expose", "pod", "web", "--port=80", "--target-port=http"]).ok();
    let service: IpAddr = cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]).ok().parse().unwrap();
    let finds = || cluster.kubectl(&["exec", "client", "--", "nslookup", "web.default.svc.cluster.local"]).code == Some(0);
    eventually("the service leads to its pod", || world.connects("client", service, 80).then_some(()));
    eventually("it is found by name", || finds().then_some(()));

    let deny = "{podSelector: {matchExpressions: [{key: app, operator: In, values: [client, fetcher]}]}, policyTypes: [Egress]}";
    cluster.kubectl_apply(&policy("deny", deny));
    for client in ["client", "fetcher"] {
        for server in ["web", "friend"] {
            world.misses(client, server, 8080);
        }
    }
    assert!(!world.connects("client", service, 80) && !finds());
    world.reaches("stranger", "client", 8080);
    world.reaches("client", "client", 8080);
    world.node_reaches("fetcher", 8090);

    let names = "{podSelector: {}, policyTypes: [Egress], egress: [{
  to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}],
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]}]}";
    cluster.kubectl_apply(&policy("names", names));
    eventually("names are found", || finds().then_some(()));
    assert!(!world.connects("client", service, 80));
    let web = "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8080, endPort: 8090}]}]}";
    cluster.kubectl_apply(&policy("web", web));
    for client in ["client", "fetcher"] {
        world.reaches(client, "web", 8080);
        let what = format!("{client} reaches the pod behind the service");
        eventually(&what, || world.connects(client, service, 80).then_some(()));
        world.misses(client, "friend", 8080);
    }
    cluster.kubectl(&["delete", "networkpolicy", "--all"]).ok();
    world.reaches("client", "friend", 8080);
    world.reaches("fetcher", "friend", 8080);
}

#[test]
fn policies_hold_between_pods_of_two_nodes_in_both_directions() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let lan = Lan::switched(&["m1", "m2"]);
    let Nodes { agents: _agents, cluster, _doors } = nodes(&lan, &["m1", "m2"], &registry, "");
    let on = |name: &str, node: &str| {
        container(name, "default", &image).replace("spec:\n  termination", &format!("spec:\n  nodeName: {node}\n  termination"))
    };
    cluster.kubectl_apply(&[on("web", "test-node"), on("client", "m2"), on("stranger", "m2")].concat());
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
    let reaches = |from: &str, to: &str| {
        let address = field(&cluster, &["pod", to], ".status.podIP");
        let ask = format!("nc -w 3 {address} 8080 </dev/null >/dev/null && echo reached");
        cluster.kubectl(&["exec", from, "--", "sh", "-c", &ask]).stdout.trim() == "reached"
    };
    let becomes = |from: &str, to: &str, wanted: bool| {
        eventually(&format!("{from} to {to}: {wanted}"), || (reaches(from, to) == wanted).then_some(()));
    };
    for client in ["client", "stranger"] {
        becomes(client, "web", true);
    }
    let to_web = "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}";
    cluster.kubectl_apply(&policy("web", to_web));
    becomes("stranger", "web", false);
    becomes("client", "web", true);
    // The sender's node keeps it from sending, whatever the receiver's allows.
    let from_client = "{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: []}";
    cluster.kubectl_apply(&policy("client", from_client));
    becomes("client", "web", false);
    becomes("web", "client", true);
    cluster.kubectl(&["delete", "networkpolicy", "client"]).ok();
    becomes("client", "web", true);
    // One that comes is known to the other node.
    cluster.kubectl(&["label", "pod", "stranger", "app=client", "--overwrite"]).ok();
    becomes("stranger", "web", true);
}
