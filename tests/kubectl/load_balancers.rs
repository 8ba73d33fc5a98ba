//! Load balancers without a cloud: addresses of the nodes' link, which one node at a time answers for.

use mizzen_tests::{Cluster, Kubectl, Lan, Machine, Registry, eventually, images};

use crate::nodes::{Nodes, asked_on, field, nodes, teller};

/// Who the hub believes has an address, by ARP.
fn believed(hub: &Machine, address: &str) -> Option<String> {
    let said = hub.run(&["ip", "neigh", "show", address]);
    said.split_once("lladdr ").and_then(|(_, rest)| Some(rest.split_whitespace().next()?.to_owned()))
}

fn mac(machine: &Machine) -> String {
    let said = machine.run(&["ip", "-o", "link", "show", "eth0"]);
    said.split_once("link/ether ").unwrap().1.split_whitespace().next().unwrap().to_owned()
}

fn announcer(cluster: &Cluster, service: &str) -> String {
    field(cluster, &["service", service], ".metadata.annotations.mizzen\\.dev/announced-by")
}

#[test]
fn a_load_balancers_address_is_answered_for_by_one_node_and_moves_to_another() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let lan = Lan::switched(&["m1", "m2"]);
    let pool = "loadBalancerAddresses: [198.18.0.240-198.18.0.241, 198.18.9.5-198.18.9.7]\n";
    let Nodes { cluster, .. } = &nodes(&lan, &["m1", "m2"], &registry, pool);
    let hub = lan.hub();
    let machine = |node: &str| lan.machine(if node == "test-node" { "m1" } else { node });
    cluster.kubectl_apply(&(teller("t1", "test-node", &image) + &teller("t2", "m2", &image)));
    cluster.kubectl(&["label", "pod", "t2", "node=second"]).ok();
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
    let service = |name: &str, spec: &str| {
        cluster.kubectl_apply(&format!(
            "apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{type: LoadBalancer, {spec}, ports: [{{port: 80, targetPort: 8080}}]}}
"
        ));
        let address = eventually("the service has an address", || {
            Some(field(cluster, &["service", name], ".status.loadBalancer.ingress[0].ip")).filter(|address| !address.is_empty())
        });
        eventually("somebody answers for it", || (hub.curl(&format!("http://{address}/")).code == Some(0)).then_some(()));
        address
    };

    let address = service("web", "selector: {app: teller}");
    assert_eq!(address, "198.18.0.240");
    let first = announcer(cluster, "web");
    assert_eq!(believed(&hub, &address), Some(mac(machine(&first))));
    let other = if first == "m2" { "test-node" } else { "m2" };
    cluster.kubectl(&["label", "node", &first, "node.kubernetes.io/exclude-from-external-load-balancers=true"]).ok();
    eventually("the other one has told the neighbours", || (believed(&hub, &address) == Some(mac(machine(other)))).then_some(()));
    assert_eq!(announcer(cluster, "web"), other);
    eventually("and leads to the service", || (hub.curl(&format!("http://{address}/")).code == Some(0)).then_some(()));
    eventually("the first one answers for it no more", || {
        machine(&first).run(&["ip", "neigh", "show", "proxy"]).is_empty().then_some(())
    });
    cluster.kubectl(&["label", "node", &first, "node.kubernetes.io/exclude-from-external-load-balancers-"]).ok();

    let near = service("near", "externalTrafficPolicy: Local, selector: {node: second}");
    assert_eq!((near.as_str(), announcer(cluster, "near").as_str()), ("198.18.0.241", "m2"), "where the pod is");
    assert_eq!(asked_on(&hub, near.parse().unwrap(), 80), (hub.address.to_string(), "t2".into()), "the client as it is");
    assert_ne!(hub.curl(&format!("http://{near}:22/")).code, Some(0), "nothing but the service is reached by it");

    lan.machine("m2").run(&["ip", "addr", "add", "198.18.9.2/24", "dev", "eth0"]);
    let links = || field(cluster, &["node", "m2"], ".metadata.annotations.mizzen\\.dev/link-ranges");
    eventually("the node tells of its new network", || links().contains("198.18.9.0/24").then_some(()));
    hub.run(&["ip", "addr", "add", "198.18.9.1/24", "dev", "switch"]);
    for last in 5..8 {
        let name = format!("there-{last}");
        let address = service(&name, &format!("loadBalancerIP: 198.18.9.{last}, selector: {{app: teller}}"));
        assert_eq!((address, announcer(cluster, &name)), (format!("198.18.9.{last}"), "m2".into()), "who is on the link");
    }

    cluster.kubectl(&["create", "service", "loadbalancer", "late", "--tcp=80"]).ok();
    eventually("an event says that there are no more", || {
        cluster.whole_events("late").iter().any(|event| event["reason"] == "AllocationFailed").then_some(())
    });
    cluster.kubectl(&["patch", "service", "near", "--type=merge", "-p", r#"{"spec": {"type": "ClusterIP"}}"#]).ok();
    eventually("who is none any more gives its address back", || {
        field(cluster, &["service", "near"], ".status.loadBalancer.ingress").is_empty().then_some(())
    });
    eventually("to the next one", || {
        (field(cluster, &["service", "late"], ".status.loadBalancer.ingress[0].ip") == near).then_some(())
    });
}
