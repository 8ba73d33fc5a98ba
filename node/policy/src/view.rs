//! A NetworkPolicy as nodes see it (networking.k8s.io/v1), decoded once per version.

use mizzen_api::ObjectRef;
use mizzen_api::selector::{LabelSelector, SelectorError};
use mizzen_network::{Family, Protocol};
use serde_json::Value;

use crate::blocks::{self, Range};
use crate::pod;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyView {
    pub key: ObjectRef,
    /// The pods of its namespace that it is about.
    pub pods: LabelSelector,
    /// What may come to them; `None` where the policy does not speak of it.
    pub ingress: Option<Vec<Rule>>,
    /// Where they may go.
    pub egress: Option<Vec<Rule>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `None` is everybody.
    pub peers: Option<Vec<Peer>>,
    /// `None` is every port of every protocol.
    pub ports: Option<Vec<Port>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Pods(Namespaces, LabelSelector),
    Block(Family, Vec<Range>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    One(String),
    Labelled(LabelSelector),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// `None` is all of the protocol's.
    Numbers(Protocol, Option<Range>),
    Named(Protocol, String),
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn given<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    value.get(field).filter(|value| !value.is_null())
}

impl PolicyView {
    /// # Errors
    /// When a selector is none, which the API never stores.
    pub fn of(policy: &Value) -> Result<Self, SelectorError> {
        let text = |pointer: &str| policy.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = ObjectRef::new(text("/metadata/namespace"), text("/metadata/name"));
        let types = list(policy, "/spec/policyTypes");
        let says = |kind: &str| types.iter().any(|of| of == kind);
        // Without types, every policy is about ingress, and about egress if it has rules for that.
        let is_ingress = types.is_empty() || says("Ingress");
        let is_egress = if types.is_empty() { !list(policy, "/spec/egress").is_empty() } else { says("Egress") };
        let rules = |pointer: &str, peers: &str| -> Result<Vec<Rule>, SelectorError> {
            list(policy, pointer).iter().map(|rule| Rule::of(rule, peers, &key.namespace)).collect()
        };
        let pods = match policy.pointer("/spec/podSelector") {
            None | Some(Value::Null) => LabelSelector::everything(),
            selector => LabelSelector::from_document(selector)?,
        };
        Ok(Self {
            pods,
            ingress: is_ingress.then(|| rules("/spec/ingress", "/from")).transpose()?,
            egress: is_egress.then(|| rules("/spec/egress", "/to")).transpose()?,
            key,
        })
    }
}

impl Rule {
    fn of(rule: &Value, peers: &str, namespace: &str) -> Result<Self, SelectorError> {
        let (peers, ports) = (list(rule, peers), list(rule, "/ports"));
        let peers: Vec<Peer> = peers.iter().map(|peer| Peer::of(peer, namespace)).collect::<Result<_, _>>()?;
        let ports: Vec<Port> = ports.iter().filter_map(Port::of).collect();
        let is_empty = list(rule, "/ports").is_empty();
        Ok(Self { peers: (!peers.is_empty()).then_some(peers), ports: (!is_empty).then_some(ports) })
    }
}

impl Peer {
    fn of(peer: &Value, namespace: &str) -> Result<Self, SelectorError> {
        if let Some(block) = given(peer, "ipBlock") {
            let cidr = block.get("cidr").and_then(Value::as_str).unwrap_or_default();
            let except = list(block, "/except").iter().filter_map(Value::as_str);
            let (family, ranges) = blocks::block(cidr, except).unwrap_or((Family::V4, Vec::new()));
            return Ok(Self::Block(family, ranges));
        }
        let namespaces = match given(peer, "namespaceSelector") {
            None => Namespaces::One(namespace.to_owned()),
            selector => Namespaces::Labelled(LabelSelector::from_document(selector)?),
        };
        let pods = match given(peer, "podSelector") {
            None => LabelSelector::everything(),
            selector => LabelSelector::from_document(selector)?,
        };
        Ok(Self::Pods(namespaces, pods))
    }
}

impl Port {
    /// `None` for a number that is no port, which the API never stores.
    fn of(port: &Value) -> Option<Self> {
        let protocol = pod::protocol(port.get("protocol").and_then(Value::as_str));
        let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok()).map(u128::from);
        Some(match given(port, "port") {
            None => Self::Numbers(protocol, None),
            Some(Value::String(name)) => Self::Named(protocol, name.clone()),
            Some(first) => {
                let last = given(port, "endPort").unwrap_or(first);
                Self::Numbers(protocol, Some((number(first)?, number(last)?)))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(spec: Value) -> PolicyView {
        let policy = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
        PolicyView::of(&policy).expect("is a policy")
    }

    #[test]
    fn a_policy_without_types_is_about_ingress_and_about_egress_if_it_has_rules_for_it() {
        let all = Rule { peers: None, ports: None };
        let plain = of(json!({"podSelector": {}}));
        assert_eq!((plain.ingress, plain.egress), (Some(vec![]), None));
        let both = of(json!({"podSelector": {}, "egress": [{}]}));
        assert_eq!((both.ingress, both.egress), (Some(vec![]), Some(vec![all.clone()])));
        let one = of(json!({"podSelector": {}, "policyTypes": ["Egress"], "ingress": [{}]}));
        assert_eq!((one.ingress, one.egress), (None, Some(vec![])));
        assert_eq!(of(json!({"ingress": [{"from": [], "ports": []}]})).ingress, Some(vec![all]), "empty lists are everybody");
    }

    #[test]
    fn peers_are_of_the_policys_namespace_unless_they_say_which() {
        let selector = json!({"matchLabels": {"a": "b"}});
        let peers =
            json!([{"podSelector": selector}, {"namespaceSelector": selector}, {"namespaceSelector": {}, "podSelector": {}}]);
        let policy = of(json!({"ingress": [{"from": peers}]}));
        let labelled = LabelSelector::from_document(Some(&selector)).expect("is a selector");
        let expected = vec![
            Peer::Pods(Namespaces::One("n".into()), labelled.clone()),
            Peer::Pods(Namespaces::Labelled(labelled), LabelSelector::everything()),
            Peer::Pods(Namespaces::Labelled(LabelSelector::everything()), LabelSelector::everything()),
        ];
        assert_eq!(policy.ingress.expect("is about it")[0].peers, Some(expected));
    }

    #[test]
    fn ports_are_numbers_names_ranges_or_a_whole_protocol() {
        let ports = json!([
            {"port": 80}, {"port": "web", "protocol": "UDP"}, {"port": 100, "endPort": 200, "protocol": "TCP"}, {"protocol": "SCTP"},
        ]);
        let policy = of(json!({"ingress": [{"ports": ports}]}));
        let expected = vec![
            Port::Numbers(Protocol::Tcp, Some((80, 80))),
            Port::Named(Protocol::Udp, "web".into()),
            Port::Numbers(Protocol::Tcp, Some((100, 200))),
            Port::Numbers(Protocol::Sctp, None),
        ];
        assert_eq!(policy.ingress.expect("is about it")[0].ports, Some(expected));
    }
}
