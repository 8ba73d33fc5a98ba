//! The compiled rules against a plain reading of the specification: whether one pod may talk to another, for any policies.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use mizzen_api::ObjectRef;
use mizzen_network::{Family, Protocol};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::compile::Direction;
use crate::group::{Labels, Pod, protocol};
use crate::key::{Elements, Key};
use crate::pod::{NamedPort, PodView};
use crate::view::PolicyView;
use crate::world::World;

/// A connection to a pod of this node, or from one.
#[derive(Clone, Copy)]
struct Call {
    from: IpAddr,
    to: IpAddr,
    protocol: Protocol,
    port: u16,
}

/// The table, as the kernel would go through it.
struct Table(Elements);

impl Table {
    fn passes(&self, call: &Call) -> bool {
        call.from == call.to || Direction::ALL.iter().all(|direction| self.passes_one(*direction, call))
    }

    fn passes_one(&self, direction: Direction, call: &Call) -> bool {
        let own = if direction == Direction::Ingress { call.to } else { call.from };
        let way = self.0.get(&Key::Element(direction.map().to_owned(), own.to_string()));
        way.is_none_or(|way| self.verdict(way.strip_prefix("goto ").unwrap(), call).expect("ends with a verdict"))
    }

    fn verdict(&self, chain: &str, call: &Call) -> Option<bool> {
        let rules = &self.0[&Key::Chain(chain.to_owned())];
        rules.lines().find_map(|rule| self.rule(rule, call))
    }

    fn rule(&self, mut rule: &str, call: &Call) -> Option<bool> {
        let mut holds = true;
        loop {
            rule = rule.trim_start();
            if let Some(rest) = rule.strip_prefix("ip daddr . meta l4proto . th dport @") {
                let (set, rest) = rest.split_once(' ').unwrap();
                let element = format!("{} . {} . {}", call.to, protocol(call.protocol), call.port);
                holds &= self.0.contains_key(&Key::Element(set.to_owned(), element));
                rule = rest;
            } else if let Some(rest) = rule.strip_prefix("ip saddr ") {
                (holds, rule) = self.address(holds, rest, call.from);
            } else if let Some(rest) = rule.strip_prefix("ip daddr ") {
                (holds, rule) = self.address(holds, rest, call.to);
            } else if let Some(rest) = rule.strip_prefix("meta l4proto ") {
                let (over, rest) = rest.split_once(' ').unwrap();
                holds &= over == protocol(call.protocol);
                rule = rest;
            } else if let Some(rest) = rule.strip_prefix("th dport ") {
                let (is_in, rest) = among(rest, u128::from(call.port), |text| text.parse().unwrap());
                holds &= is_in;
                rule = rest;
            } else if let Some(chain) = rule.strip_prefix("jump ") {
                return self.verdict(chain.split(' ').next().unwrap(), call);
            } else {
                assert!(matches!(rule, "accept" | "drop"), "{rule:?}");
                return holds.then_some(rule == "accept");
            }
        }
    }

    fn address<'a>(&self, holds: bool, rule: &'a str, address: IpAddr) -> (bool, &'a str) {
        if let Some(rest) = rule.strip_prefix('@') {
            let (set, rest) = rest.split_once(' ').unwrap();
            return (holds && self.0.contains_key(&Key::Element(set.to_owned(), address.to_string())), rest);
        }
        let (is_in, rest) = among(rule, number(address), |text| number(text.parse().unwrap()));
        (holds && is_in, rest)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Whether a number is in `{ a-b, c }`; and what follows.
fn among(rule: &str, number: u128, parse: impl Fn(&str) -> u128) -> (bool, &str) {
    let (set, rest) = rule.strip_prefix("{ ").unwrap().split_once(" }").unwrap();
    let is_in = set.split(", ").any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (parse(first)..=parse(last)).contains(&number)
    });
    (is_in, rest)
}

// The specification, read plainly from the documents.

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let mut plain = selector["matchLabels"].as_object().into_iter().flatten();
    let expressions = list(selector, "matchExpressions").iter().all(|wanted| {
        let label = labels.get(wanted["key"].as_str().unwrap());
        let is_in = label.is_some_and(|label| list(wanted, "values").iter().any(|value| value == label));
        match wanted["operator"].as_str().unwrap() {
            "In" => is_in,
            "NotIn" => !is_in,
            "Exists" => label.is_some(),
            _ => label.is_none(),
        }
    });
    plain.all(|(key, value)| labels.get(key).is_some_and(|label| value == label)) && expressions
}

struct Side<'a> {
    address: IpAddr,
    /// `None` outside.
    pod: Option<&'a PodView>,
}

fn contains(cidr: &str, address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else { return false };
    let (network, prefix) = cidr.split_once('/').unwrap();
    let (network, prefix): (Ipv4Addr, u32) = (network.parse().unwrap(), prefix.parse().unwrap());
    let differs = u32::from(network) ^ u32::from(address);
    prefix == 0 || differs >> (32 - prefix) == 0
}

fn is_peer(peer: &Value, namespace: &str, other: &Side<'_>, namespaces: &BTreeMap<String, Labels>) -> bool {
    if let Some(cidr) = peer["ipBlock"]["cidr"].as_str() {
        let is_left_out = list(&peer["ipBlock"], "except").iter().any(|range| contains(range.as_str().unwrap(), other.address));
        return contains(cidr, other.address) && !is_left_out;
    }
    let Some(pod) = other.pod else { return false };
    let in_namespace = match peer.get("namespaceSelector") {
        None => pod.key.namespace == namespace,
        Some(selector) => selects(selector, &namespaces[&pod.key.namespace]),
    };
    in_namespace && peer.get("podSelector").is_none_or(|selector| selects(selector, &pod.labels))
}

fn is_port(port: &Value, call: &Call, server: Option<&PodView>) -> bool {
    let over = port["protocol"].as_str().unwrap_or("TCP").to_lowercase();
    let is_number = match &port["port"] {
        Value::Null => true,
        Value::String(name) => server.is_some_and(|pod| {
            pod.ports.iter().any(|own| own.name == *name && own.protocol == call.protocol && own.number == call.port)
        }),
        first => {
            let last = port["endPort"].as_u64().or(first.as_u64()).unwrap();
            (first.as_u64().unwrap()..=last).contains(&u64::from(call.port))
        }
    };
    over == protocol(call.protocol) && is_number
}

fn may(
    direction: Direction,
    policies: &[Value],
    own: &PodView,
    other: &Side<'_>,
    call: &Call,
    namespaces: &BTreeMap<String, Labels>,
) -> bool {
    let (kind, rules, peers) = match direction {
        Direction::Ingress => ("Ingress", "ingress", "from"),
        Direction::Egress => ("Egress", "egress", "to"),
    };
    let server = if direction == Direction::Ingress { Some(own) } else { other.pod };
    let about = policies.iter().filter(|policy| {
        let is_about =
            policy["metadata"]["namespace"] == own.key.namespace && selects(&policy["spec"]["podSelector"], &own.labels);
        is_about && list(&policy["spec"], "policyTypes").iter().any(|of| of == kind)
    });
    let mut about = about.peekable();
    about.peek().is_none()
        || about.any(|policy| {
            list(&policy["spec"], rules).iter().any(|rule| {
                let (among, ports) = (list(rule, peers), list(rule, "ports"));
                let is_from = among.iter().any(|peer| is_peer(peer, &own.key.namespace, other, namespaces));
                (among.is_empty() || is_from) && (ports.is_empty() || ports.iter().any(|port| is_port(port, call, server)))
            })
        })
}

// Worlds.

fn selector() -> impl Strategy<Value = Value> {
    let expression =
        (prop::sample::select(vec!["app", "tier"]), prop::sample::select(vec!["In", "NotIn", "Exists", "DoesNotExist"]));
    prop_oneof![
        Just(json!({})),
        prop::sample::select(vec!["a", "b", "c"]).prop_map(|app| json!({"matchLabels": {"app": app}})),
        expression.prop_map(|(key, operator)| {
            let values = if matches!(operator, "In" | "NotIn") { json!(["a", "b"]) } else { json!([]) };
            json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
        }),
    ]
}

fn peer() -> impl Strategy<Value = Value> {
    let block = prop_oneof![
        Just(json!({"cidr": "0.0.0.0/0"})),
        Just(json!({"cidr": "10.0.0.0/24", "except": ["10.0.0.2/31"]})),
        Just(json!({"cidr": "0.0.0.0/0", "except": ["10.0.0.4/30", "10.0.0.0/32"]})),
        Just(json!({"cidr": "192.0.2.0/24"})),
    ];
    prop_oneof![
        selector().prop_map(|pods| json!({"podSelector": pods})),
        selector().prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
        (selector(), selector()).prop_map(|(namespaces, pods)| json!({"namespaceSelector": namespaces, "podSelector": pods})),
        block.prop_map(|block| json!({"ipBlock": block})),
    ]
}

fn port() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"protocol": "TCP"})),
        Just(json!({"protocol": "TCP", "port": 80})),
        Just(json!({"protocol": "TCP", "port": 79, "endPort": 81})),
        Just(json!({"protocol": "UDP", "port": 53})),
        Just(json!({"protocol": "TCP", "port": "web"})),
        Just(json!({"protocol": "UDP", "port": "web"})),
    ]
}

fn rules(peers: &'static str) -> impl Strategy<Value = Value> {
    let rule = (prop::collection::vec(peer(), 0..3), prop::collection::vec(port(), 0..3));
    let rule = rule.prop_map(move |(among, ports)| json!({peers: among, "ports": ports}));
    prop::collection::vec(rule, 0..3).prop_map(Value::from)
}

fn policy() -> impl Strategy<Value = Value> {
    let types = prop::sample::select(vec![json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"])]);
    let namespace = prop::sample::select(vec!["one", "two"]);
    (namespace, selector(), types, rules("from"), rules("to")).prop_map(|(namespace, pods, types, ingress, egress)| {
        let spec = json!({"podSelector": pods, "policyTypes": types, "ingress": ingress, "egress": egress});
        json!({"metadata": {"namespace": namespace}, "spec": spec})
    })
}

fn labels() -> impl Strategy<Value = Labels> {
    (prop::option::of(prop::sample::select(vec!["a", "b", "c"])), any::<bool>()).prop_map(|(app, tier)| {
        let app = app.map(|app| ("app".to_owned(), app.to_owned()));
        app.into_iter().chain(tier.then(|| ("tier".to_owned(), "front".to_owned()))).collect()
    })
}

/// Namespace, labels, whether it is of this node, and the number of its port `web`.
type Drawn = (&'static str, Labels, bool, u16);

fn pod() -> impl Strategy<Value = Drawn> {
    (prop::sample::select(vec!["one", "two"]), labels(), any::<bool>(), prop::sample::select(vec![80_u16, 8080]))
}

fn views(pods: &[Drawn]) -> Vec<(Arc<PodView>, IpAddr, bool)> {
    let view = |(number, (namespace, labels, local, web)): (usize, &Drawn)| {
        let ports = vec![NamedPort { name: "web".into(), protocol: Protocol::Tcp, number: *web }];
        let key = ObjectRef::new(*namespace, format!("pod-{number}"));
        let view = PodView { key, labels: labels.clone(), ports, ..PodView::default() };
        (Arc::new(view), IpAddr::from([10, 0, 0, u8::try_from(number).unwrap()]), *local)
    };
    pods.iter().enumerate().map(view).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_let_through_what_the_specification_does(
        pods in prop::collection::vec(pod(), 2..7),
        before in prop::collection::vec(pod(), 0..7),
        namespaces in (labels(), labels()),
        policies in prop::collection::vec(policy(), 0..4),
        passing in prop::collection::vec(policy(), 0..2),
    ) {
        let namespaces = BTreeMap::from([("one".to_owned(), namespaces.0), ("two".to_owned(), namespaces.1)]);
        let mut world = World::new(Family::V4);
        let put_policy = |world: &mut World, number: usize, document: Option<&Value>| {
            // One policy in two namespaces is two.
            for namespace in ["one", "two"] {
                let key = ObjectRef::new(namespace, format!("policy-{number}"));
                let own = document.filter(|document| document["metadata"]["namespace"] == namespace);
                world.put_policy(&key, own.map(|document| PolicyView::of(document).unwrap()));
            }
        };
        // Whatever was before, only what is now counts; and what changes leads from the one to the other.
        for (number, (view, address, local)) in views(&before).into_iter().enumerate() {
            world.put_pod(&ObjectRef::new("one", format!("pod-{number}")), Some(Pod { view, address, local }));
        }
        for (number, document) in passing.iter().enumerate() {
            put_policy(&mut world, number, Some(document));
        }
        world.put_namespace("one", Some(Labels::from([("app".to_owned(), "a".to_owned())])));
        world.settle();
        let mut table = world.elements();
        for number in 0..before.len() {
            world.put_pod(&ObjectRef::new("one", format!("pod-{number}")), None);
        }
        let pods = views(&pods);
        for (view, address, local) in &pods {
            world.put_pod(&view.key, Some(Pod { view: view.clone(), address: *address, local: *local }));
        }
        for (name, labels) in &namespaces {
            world.put_namespace(name, Some(labels.clone()));
        }
        for number in 0..passing.len().max(policies.len()) {
            put_policy(&mut world, number, policies.get(number));
        }
        for (key, (was, is)) in world.settle() {
            prop_assert_eq!(table.remove(&key), was);
            table.extend(is.map(|is| (key, is)));
        }
        prop_assert_eq!(&table, &world.elements());

        let table = Table(table);
        let outside = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 51, 100, 1])];
        let everybody = || pods.iter().map(|(view, address, local)| (*address, Some(&**view), *local)).chain(outside.map(|o| (o, None, false)));
        for (from, client, client_here) in everybody() {
            for (to, server, server_here) in everybody() {
                for (protocol, port) in [(Protocol::Tcp, 80), (Protocol::Tcp, 8080), (Protocol::Udp, 53), (Protocol::Udp, 80)] {
                    let call = Call { from, to, protocol, port };
                    let (other, own) = (Side { address: from, pod: client }, Side { address: to, pod: server });
                    let comes = match server.filter(|_| server_here) {
                        Some(server) => may(Direction::Ingress, &policies, server, &other, &call, &namespaces),
                        None => true,
                    };
                    let goes = match client.filter(|_| client_here) {
                        Some(client) => may(Direction::Egress, &policies, client, &own, &call, &namespaces),
                        None => true,
                    };
                    prop_assert_eq!(
                        table.passes(&call), from == to || (comes && goes), "{} to {} {} {}", from, to, protocol, port
                    );
                }
            }
        }
    }
}
