//! Nodes whose pods are not reached: who says so, and where.

use mizzen_tests::client::is;
use mizzen_tests::{Agent, Cluster, Lan, eventually};
use serde_json::Value;

use crate::nodes::field;

/// An event of the node that says all of it.
fn said(cluster: &Cluster, node: &str, reason: &str, words: &[&str]) {
    eventually(&format!("{node} says {reason} with {words:?}"), || {
        let says = |event: &Value| {
            let message = event["message"].as_str().unwrap_or_default();
            event["reason"] == reason && words.iter().all(|word| message.contains(word))
        };
        cluster.whole_events(node).iter().any(says).then_some(())
    });
}

/// What the node's condition says once it has this state.
fn condition(cluster: &Cluster, node: &str, is_unreachable: bool) -> String {
    let of = |node: &Value| {
        let all = node["status"]["conditions"].as_array()?;
        let found = all.iter().find(|condition| condition["type"] == "PeerUnreachable")?;
        (is(node, "PeerUnreachable") == is_unreachable).then(|| found["message"].as_str().unwrap_or_default().to_owned())
    };
    cluster.until(&["node", node], &format!("has PeerUnreachable {is_unreachable}"), of)
}

#[test]
fn machines_with_one_address_behind_different_routers_are_not_taken_for_each_other() {
    let lan = Lan::translated(&["m1"], &["m2", "m3"]);
    let cluster = Cluster::up_on(lan.machine("m1"), "");
    let mut agents = ["m2", "m3"].map(|name| Agent::start_on(&cluster, lan.machine(name), ""));
    agents.iter_mut().for_each(Agent::wait_ready);
    for (node, other) in [("m2", "node m3 "), ("m3", "node m2 ")] {
        let address = field(&cluster, &["node", node], ".status.addresses[?(@.type==\"InternalIP\")].address");
        assert_eq!(address, lan.machine(node).address.to_string());
        said(&cluster, node, "PeerUnreachable", &[other, "the same address as this one"]);
        assert!(condition(&cluster, node, true).contains("the same address"));
    }
}

#[test]
fn a_node_whose_tunnel_loses_everything_is_named_until_it_is_mended() {
    let lan = Lan::routed(&["m1", "m2"]);
    let cluster = Cluster::up_on(lan.machine("m1"), "");
    let mut agent = Agent::start_on(&cluster, lan.machine("m2"), "");
    agent.wait_ready();
    let gateway = |node: &str| field(&cluster, &["node", node], ".spec.podCIDR").replace(".0/24", ".1");
    let ends = [("test-node", "m2", gateway("m2")), ("m2", "test-node", gateway("test-node"))];
    for (node, _, _) in &ends {
        condition(&cluster, node, false);
    }
    lan.withhold("m2", "udp dport 4789");
    for (node, other, end) in &ends {
        said(&cluster, node, "PeerUnreachable", &[other, end]);
        assert!(condition(&cluster, node, true).contains(&format!("{other}: it does not answer echo requests")));
    }
    assert!(is(&cluster.get(&["node", "m2"]).unwrap(), "Ready"), "all else goes on");
    lan.heal();
    for (node, other, _) in &ends {
        said(&cluster, node, "PeerReached", &[other]);
        assert!(!condition(&cluster, node, false).contains(other));
    }
}
