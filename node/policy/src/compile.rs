//! From a policy's rules to a chain. Pure.
//!
//! A chain's name is a digest of what it does, so that it never changes: another version of the policy has another chain.

use std::net::IpAddr;

use mizzen_network::{Family, Protocol};

use crate::blocks::{self, Range, everywhere, merged};
use crate::group::{Group, digest, protocol};
use crate::key::{Elements, Key};
use crate::view::{Peer, PolicyView, Port, Rule};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The map that leads from a pod's address to what it may.
    pub fn map(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// What a packet says of the other side.
    fn peer(self, family: Family) -> String {
        let end = match self {
            Self::Ingress => "saddr",
            Self::Egress => "daddr",
        };
        format!("{} {end}", family.nft())
    }
}

/// What one policy allows in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The chain; none where nothing is allowed.
    pub chain: Option<(String, Vec<String>)>,
    pub groups: Vec<Group>,
}

impl Allowance {
    fn of(rules: &[Rule], direction: Direction, family: Family) -> Self {
        let (mut lines, mut groups) = (Vec::new(), Vec::new());
        for rule in rules {
            for peer in peers(rule, direction, family, &mut groups) {
                for port in ports(rule, direction, family, &mut groups) {
                    let words = [peer.as_str(), port.as_str(), "accept"];
                    lines.push(words.iter().filter(|words| !words.is_empty()).copied().collect::<Vec<_>>().join(" "));
                }
            }
        }
        let chain = (!lines.is_empty()).then(|| (format!("policy_{}", digest(&lines.join("\n"))), lines));
        Self { chain, groups }
    }
}

/// A policy, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    pub policy: PolicyView,
    /// `None` where the policy does not isolate.
    pub ingress: Option<Allowance>,
    pub egress: Option<Allowance>,
}

impl Compiled {
    /// What it says of packets of a family.
    pub fn of(policy: PolicyView, family: Family) -> Self {
        let of = |rules: &Option<Vec<Rule>>, direction| rules.as_ref().map(|rules| Allowance::of(rules, direction, family));
        Self { ingress: of(&policy.ingress, Direction::Ingress), egress: of(&policy.egress, Direction::Egress), policy }
    }

    fn allowance(&self, direction: Direction) -> Option<&Allowance> {
        match direction {
            Direction::Ingress => self.ingress.as_ref(),
            Direction::Egress => self.egress.as_ref(),
        }
    }
}

/// What the policies that are about a pod make of its address.
pub fn isolate<'a>(address: IpAddr, policies: &[&'a Compiled]) -> (Elements, Vec<&'a Group>) {
    let (mut elements, mut groups) = (Elements::new(), Vec::new());
    for direction in Direction::ALL {
        let mut lines = Vec::new();
        let mut is_isolated = false;
        for policy in policies {
            let Some(allowance) = policy.allowance(direction) else { continue };
            is_isolated = true;
            let Some((chain, rules)) = &allowance.chain else { continue };
            elements.insert(Key::Chain(chain.clone()), rules.join("\n"));
            for group in &allowance.groups {
                elements.insert(Key::Set(group.name()), group.kind(Family::of(address)));
                groups.push(group);
            }
            // So that who looks at the rules knows whose they are; a comment has at most 128 characters.
            let whose: String = policy.policy.key.to_string().chars().take(120).collect();
            lines.push(format!("jump {chain} comment \"{whose}\""));
        }
        if !is_isolated {
            continue;
        }
        lines.push("drop".to_owned());
        let chain = format!("{}_{}", direction.map(), digest(&lines.join("\n")));
        elements.insert(Key::Element(direction.map().to_owned(), address.to_string()), format!("goto {chain}"));
        elements.insert(Key::Chain(chain), lines.join("\n"));
        elements.insert(Key::Element("itself".to_owned(), format!("{address} . {address}")), String::new());
    }
    (elements, groups)
}

/// Each way to say whom the rule is about; an empty one says nothing.
fn peers(rule: &Rule, direction: Direction, family: Family, groups: &mut Vec<Group>) -> Vec<String> {
    let Some(peers) = &rule.peers else { return vec![String::new()] };
    let (mut said, mut blocks) = (Vec::new(), Vec::new());
    for peer in peers {
        match peer {
            Peer::Pods(namespaces, pods) => {
                let group = Group::Pods(namespaces.clone(), pods.clone());
                said.push(format!("{} @{}", direction.peer(family), group.name()));
                groups.push(group);
            }
            Peer::Block(of, ranges) if *of == family => blocks.extend(ranges),
            Peer::Block(..) => {}
        }
    }
    let blocks = merged(blocks);
    if blocks == [everywhere(family)] {
        return vec![String::new()];
    }
    if !blocks.is_empty() {
        let ranges = set(&blocks, |number| blocks::address(family, number));
        said.push(format!("{} {ranges}", direction.peer(family)));
    }
    said
}

/// Each way to say which ports the rule is about.
fn ports(rule: &Rule, direction: Direction, family: Family, groups: &mut Vec<Group>) -> Vec<String> {
    let Some(ports) = &rule.ports else { return vec![String::new()] };
    let mut said = Vec::new();
    for over in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        let of_it = || ports.iter().filter_map(|port| if let Port::Numbers(of, range) = port { Some((of, range)) } else { None });
        let ranges: Vec<Option<Range>> = of_it().filter(|(of, _)| **of == over).map(|(_, range)| *range).collect();
        if ranges.iter().any(Option::is_none) {
            said.push(format!("meta l4proto {}", protocol(over)));
        } else if !ranges.is_empty() {
            let ranges = merged(ranges.into_iter().flatten().collect());
            said.push(format!("meta l4proto {} th dport {}", protocol(over), set(&ranges, |port| port.to_string())));
        }
    }
    for port in ports {
        let Port::Named(protocol, name) = port else { continue };
        // Coming in, it is the port of a pod of this node.
        let group = Group::Ports { protocol: *protocol, name: name.clone(), local: direction == Direction::Ingress };
        said.push(format!("{} daddr . meta l4proto . th dport @{}", family.nft(), group.name()));
        groups.push(group);
    }
    said
}

fn set(ranges: &[Range], number: impl Fn(u128) -> String) -> String {
    let one = |(first, last): &Range| {
        if first == last { number(*first) } else { format!("{}-{}", number(*first), number(*last)) }
    };
    format!("{{ {} }}", ranges.iter().map(one).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn compiled(spec: Value) -> Compiled {
        let policy = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
        Compiled::of(PolicyView::of(&policy).expect("is a policy"), Family::V4)
    }

    /// The rules, with names of sets as they are.
    fn rules(spec: Value) -> Vec<String> {
        compiled(spec).ingress.and_then(|ingress| ingress.chain).map(|(_, rules)| rules).unwrap_or_default()
    }

    #[test]
    fn a_rule_is_a_line_for_each_kind_of_peer_with_each_protocol() {
        let pods = Group::Pods(crate::view::Namespaces::One("n".into()), mizzen_api::selector::LabelSelector::everything());
        let ports = Group::Ports { protocol: Protocol::Tcp, name: "web".into(), local: true };
        let block = json!({"cidr": "10.0.0.0/24", "except": ["10.0.0.128/25"]});
        let spec = json!({"ingress": [{
            "from": [{"ipBlock": block}, {"podSelector": {}}, {"ipBlock": {"cidr": "10.1.0.0/32"}}],
            "ports": [{"port": 80}, {"port": 81, "endPort": 90}, {"port": 53, "protocol": "UDP"}, {"port": "web"}],
        }]});
        let (pods, named) = (pods.name(), format!("ip daddr . meta l4proto . th dport @{}", ports.name()));
        let blocks = "{ 10.0.0.0-10.0.0.127, 10.1.0.0 }";
        let expected = [
            format!("ip saddr @{pods} meta l4proto tcp th dport {{ 80-90 }} accept"),
            format!("ip saddr @{pods} meta l4proto udp th dport {{ 53 }} accept"),
            format!("ip saddr @{pods} {named} accept"),
            format!("ip saddr {blocks} meta l4proto tcp th dport {{ 80-90 }} accept"),
            format!("ip saddr {blocks} meta l4proto udp th dport {{ 53 }} accept"),
            format!("ip saddr {blocks} {named} accept"),
        ];
        assert_eq!(rules(spec), expected);
    }

    #[test]
    fn everybody_is_no_condition_and_nobody_is_no_rule() {
        assert_eq!(rules(json!({"ingress": [{}]})), ["accept"]);
        assert_eq!(rules(json!({"ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]})), ["accept"]);
        assert_eq!(rules(json!({"ingress": []})), [""; 0]);
        assert_eq!(rules(json!({"ingress": [{"from": [{"ipBlock": {"cidr": "::/0"}}]}]})), [""; 0]);
        assert_eq!(rules(json!({"ingress": [{"ports": [{"protocol": "SCTP"}]}]})), ["meta l4proto sctp accept"]);
    }

    #[test]
    fn blocks_count_for_their_family_and_selectors_for_both() {
        let peers = json!([{"ipBlock": {"cidr": "fd00::/64", "except": ["fd00::/65"]}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}, {"podSelector": {}}]);
        let policy = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"ingress": [{"from": peers}]}});
        let six = Compiled::of(PolicyView::of(&policy).expect("is a policy"), Family::V6);
        let rules = six.ingress.and_then(|ingress| ingress.chain).map(|(_, rules)| rules).unwrap_or_default();
        assert!(rules[0].starts_with("ip6 saddr @pods_"), "{rules:?}");
        assert_eq!(rules[1..], ["ip6 saddr { fd00::8000:0:0:0-fd00::ffff:ffff:ffff:ffff } accept"]);
    }

    #[test]
    fn pods_with_the_same_policies_share_their_chains() {
        let (one, two) = (compiled(json!({"ingress": [{}]})), compiled(json!({"policyTypes": ["Ingress", "Egress"]})));
        let chain = |address: [u8; 4], map: &str, policies: &[&Compiled]| {
            isolate(address.into(), policies).0.get(&Key::Element(map.into(), IpAddr::from(address).to_string())).cloned()
        };
        assert_eq!(chain([10, 0, 0, 1], "ingress", &[&one, &two]), chain([10, 0, 0, 2], "ingress", &[&one, &two]));
        assert_ne!(chain([10, 0, 0, 1], "ingress", &[&one, &two]), chain([10, 0, 0, 1], "ingress", &[&two]));
        assert_eq!(chain([10, 0, 0, 1], "egress", &[&one]), None, "it does not speak of egress");
        assert!(isolate([10, 0, 0, 1].into(), &[]).0.is_empty());
    }
}
