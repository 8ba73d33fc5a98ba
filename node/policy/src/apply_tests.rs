//! What holds for every [`Apply`]: the fake that other tests use, and nftables itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use mizzen_api::ObjectRef;
use mizzen_network::elements::difference;
use mizzen_network::{Family, Protocol};
use serde_json::json;

use crate::apply::Apply;
use crate::fake::Fake;
use crate::frame::{Scope, Side};
use crate::group::Pod;
use crate::key::{Changes, Elements, Key};
use crate::nft::Nft;
use crate::pod::{NamedPort, PodView};
use crate::view::PolicyView;
use crate::world::World;

/// A policy that has everything, about so many pods of this node, and as many of others that may talk to them.
fn elements(family: Family, pods: u8, variant: u16) -> Elements {
    let mut world = World::new(family);
    let peers = json!([
        {"podSelector": {"matchLabels": {"app": "client"}}},
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "192.0.2.128/25", "255.255.255.255/32"]}},
        {"ipBlock": {"cidr": "10.9.0.0/16"}},
        {"ipBlock": {"cidr": "fd00::/16", "except": ["fd00:1::/32"]}},
    ]);
    let ports = json!([
        {"port": 80}, {"port": 80 + variant, "endPort": 200}, {"port": 53, "protocol": "UDP"}, {"protocol": "SCTP"},
        {"port": "web"}, {"port": "dns", "protocol": "UDP"},
    ]);
    let spec = json!({
        "podSelector": {}, "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": peers, "ports": ports}, {"ports": [{"port": 1, "endPort": 65535}]}], "egress": [{"to": peers, "ports": ports}, {}],
    });
    let policy = json!({"metadata": {"name": "everything", "namespace": "n"}, "spec": spec});
    let key = ObjectRef::new("n", "everything");
    world.put_policy(&key, Some(PolicyView::of(&policy).unwrap()));
    let named = |name: &str, protocol, number| NamedPort { name: name.to_owned(), protocol, number };
    for i in 0..2 * pods {
        let key = ObjectRef::new("n", format!("pod-{i}"));
        let labels = BTreeMap::from([("app".to_owned(), "client".to_owned())]);
        let ports = vec![named("web", Protocol::Tcp, 8080), named("dns", Protocol::Udp, 53)];
        let view = PodView { key: key.clone(), labels, ports, ..PodView::default() };
        let address = match family {
            Family::V4 => [10, 64, 3, i].into(),
            Family::V6 => [0xfd00, 0, 0, 3, 0, 0, 0, i.into()].into(),
        };
        world.put_pod(&key, Some(Pod { view: Arc::new(view), address, local: i < pods }));
    }
    world.settle();
    world.elements()
}

async fn holds_for(apply: &dyn Apply, family: Family) {
    let elements = |pods, variant| elements(family, pods, variant);
    apply.remove().await.expect("what is not there can be taken away");
    assert!(!apply.is_whole().await && apply.read(&Elements::new()).await.unwrap().is_none(), "there is nothing at first");
    let first = elements(2, 1);
    apply.rebuild(&first).await.unwrap();
    assert!(apply.is_whole().await);
    assert_eq!(apply.read(&first).await.unwrap().as_ref(), Some(&first), "what was made is read again");

    let mut is = first;
    for wanted in [elements(3, 1), elements(1, 1), elements(1, 2), elements(0, 2), elements(2, 1)] {
        apply.change(&difference(&is, &wanted)).await.unwrap();
        assert_eq!(apply.read(&wanted).await.unwrap().as_ref(), Some(&wanted));
        is = wanted;
    }

    let element = |address: &str| Key::Element("itself".into(), format!("{address} . {address}"));
    let (new, old) = if family == Family::V4 { ("10.0.0.9", "10.0.0.8") } else { ("fd00::9", "fd00::8") };
    let missing = Changes::from([(element(new), (None, Some(String::new()))), (element(old), (Some(String::new()), None))]);
    apply.change(&missing).await.expect_err("one is not there");
    assert_eq!(apply.read(&is).await.unwrap().as_ref(), Some(&is), "nothing of a refused change is done");

    apply.change(&difference(&is, &Elements::new())).await.unwrap();
    assert_eq!(apply.read(&Elements::new()).await.unwrap(), Some(Elements::new()), "nothing is left of a policy");
    apply.remove().await.unwrap();
    assert!(apply.read(&Elements::new()).await.unwrap().is_none());
}

#[tokio::test]
async fn the_fake_behaves() {
    holds_for(&Fake::default(), Family::V4).await;
}

/// Runs in a network namespace of its own.
pub(crate) fn alone(work: impl AsyncFnOnce() + Send + 'static) {
    let machine = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work());
    });
    machine.join().unwrap();
}

fn nft(side: Side, family: Family) -> Nft {
    Nft::new(Scope { table: "mizzen_x_policies".into(), family, side, bridge: "mzx".into() }, None)
}

#[test]
fn nftables_behaves() {
    alone(async || {
        for (side, family) in [Side::Machine, Side::Wasm].into_iter().flat_map(|side| Family::ALL.map(|family| (side, family))) {
            holds_for(&nft(side, family), family).await;
        }
    });
}

#[test]
fn a_table_of_another_version_or_without_its_rules_is_not_taken_over() {
    alone(async || {
        let (own, other) = (nft(Side::Machine, Family::V4), nft(Side::Wasm, Family::V4));
        let wanted = elements(Family::V4, 1, 1);
        other.rebuild(&wanted).await.unwrap();
        assert!(own.read(&wanted).await.unwrap().is_none());
        own.rebuild(&wanted).await.unwrap();
        mizzen_network::nft::apply("x", "flush table ip mizzen_x_policies").await.unwrap();
        assert!(!own.is_whole().await && own.read(&wanted).await.unwrap().is_none());
    });
}

#[test]
fn where_there_is_no_namespace_there_is_nothing_to_guard() {
    alone(async || {
        let scope = Scope { table: "x".into(), family: Family::V4, side: Side::Wasm, bridge: "mzx".into() };
        let nowhere = Nft::new(scope, Some(Box::new(|| None)));
        assert!(nowhere.is_whole().await);
        nowhere.rebuild(&elements(Family::V4, 1, 1)).await.unwrap();
        assert!(nowhere.read(&Elements::new()).await.unwrap().is_none());
    });
}
