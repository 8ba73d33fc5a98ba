//! Real namespaces, bridges and nftables, as root. Every cluster of a test is taken away when the test ends, also by a
//! panic.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use mizzen_network::{HostPort, Network, NetworkConfig, NetworkError, PodRequest, Protocol, Subnet};
use support::{Cluster, Server, call, hostname_in, inode, links_named, nft_tables, pod};

fn host_port(host_ip: Option<IpAddr>, host_port: u16) -> HostPort {
    HostPort { host_ip, host_port, container_port: 80, protocol: Protocol::Tcp }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_and_node_reach_each_other_by_pod_address() {
    let cluster = Cluster::new();
    let network = cluster.open().await;
    let a = network.ensure_pod(&pod("a")).await.unwrap();
    let b = network.ensure_pod(&pod("b")).await.unwrap();
    let (ip_a, ip_b) = (a.addresses[0], b.addresses[0]);
    assert_ne!(ip_a, ip_b);
    let _server = Server::start(b.network_namespace.as_deref(), (ip_b, 80));
    assert_eq!(call(a.network_namespace.as_deref(), (ip_b, 80)).unwrap(), ip_a.to_string(), "pods see each other's addresses");
    assert_eq!(call(None, (ip_b, 80)).unwrap(), network.node_address().to_string());
    let node = Server::start(None, (network.node_address(), 0));
    assert_eq!(call(a.network_namespace.as_deref(), node.address).unwrap(), ip_a.to_string());
    let _loopback = Server::start(a.network_namespace.as_deref(), (Ipv4Addr::LOCALHOST.into(), 81));
    call(a.network_namespace.as_deref(), (Ipv4Addr::LOCALHOST.into(), 81)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_has_its_own_hostname_ipc_and_network_namespaces() {
    let cluster = Cluster::new();
    let network = cluster.open().await;
    let own = network.ensure_pod(&pod("own")).await.unwrap();
    assert_eq!(hostname_in(own.uts_namespace.as_deref().unwrap()), "host-own");
    assert_ne!(inode(own.ipc_namespace.as_deref().unwrap()), inode("/proc/self/ns/ipc".as_ref()));
    let host = network.ensure_pod(&PodRequest { host_network: true, ..pod("host") }).await.unwrap();
    assert_eq!((host.network_namespace, host.uts_namespace), (None, None));
    assert_ne!(inode(host.ipc_namespace.as_deref().unwrap()), inode("/proc/self/ns/ipc".as_ref()));
    assert_eq!(host.addresses, [network.node_address()]);
    let all = PodRequest { host_network: true, host_ipc: true, ..pod("all") };
    assert_eq!(network.ensure_pod(&all).await.unwrap().ipc_namespace, None);
    let mut uids = network.pods();
    uids.sort();
    assert_eq!(uids, ["all", "host", "own"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_again_also_by_a_restarted_agent_changes_nothing() {
    let cluster = Cluster::new();
    let network = cluster.open().await;
    let first = network.ensure_pod(&pod("a")).await.unwrap();
    let namespace = inode(first.network_namespace.as_deref().unwrap());
    assert_eq!(network.ensure_pod(&pod("a")).await.unwrap(), first);
    let _server = Server::start(first.network_namespace.as_deref(), (first.addresses[0], 80));
    drop(network);
    let network = cluster.open().await;
    assert_eq!(network.pods(), ["a"]);
    call(None, (first.addresses[0], 80)).expect("the pod stays reachable before it is asked for");
    assert_eq!(network.ensure_pod(&pod("a")).await.unwrap(), first);
    assert_eq!(inode(first.network_namespace.as_deref().unwrap()), namespace);
    let second = network.ensure_pod(&pod("b")).await.unwrap();
    assert_ne!(second.addresses, first.addresses);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reboot_a_pod_gets_new_namespaces_and_its_old_address() {
    let cluster = Cluster::new();
    let network = cluster.open().await;
    let before = network.ensure_pod(&pod("a")).await.unwrap();
    let cidr = network.pod_cidr();
    drop(network);
    cluster.reboot();
    let network = cluster.open().await;
    assert_eq!(network.pod_cidr(), cidr);
    let after = network.ensure_pod(&pod("a")).await.unwrap();
    assert_eq!(after, before);
    let _server = Server::start(after.network_namespace.as_deref(), (after.addresses[0], 80));
    call(None, (after.addresses[0], 80)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_bridge_is_made_again_around_the_pods_that_run() {
    let cluster = Cluster::new();
    let network = cluster.open().await;
    let a = network.ensure_pod(&pod("a")).await.unwrap();
    let _server = Server::start(a.network_namespace.as_deref(), (a.addresses[0], 80));
    drop(network);
    cluster.delete_bridge();
    let _network = cluster.open().await;
    call(None, (a.addresses[0], 80)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_port_leads_to_the_pod_from_everywhere_until_it_is_removed() {
    let cluster = Cluster::new();
    let network = cluster.open().await;
    let port = support::free_port();
    let request = PodRequest { host_ports: vec![host_port(None, port)], ..pod("web") };
    let web = network.ensure_pod(&request).await.unwrap();
    let other = network.ensure_pod(&pod("other")).await.unwrap();
    let _server = Server::start(web.network_namespace.as_deref(), (web.addresses[0], 80));
    for target in [Ipv4Addr::LOCALHOST.into(), network.node_address()] {
        call(None, (target, port)).unwrap_or_else(|e| panic!("the node by {target}: {e}"));
    }
    call(other.network_namespace.as_deref(), (network.node_address(), port)).expect("another pod");
    call(web.network_namespace.as_deref(), (network.node_address(), port)).expect("the pod itself");
    let conflict = PodRequest { host_ports: vec![host_port(None, port)], ..pod("late") };
    let error = network.ensure_pod(&conflict).await.unwrap_err();
    assert_eq!(error.to_string(), format!("host port {port}/TCP is already used by pod web"));
    drop(network);
    let network = cluster.open().await;
    call(None, (Ipv4Addr::LOCALHOST.into(), port)).expect("after an agent restart");
    assert!(network.ensure_pod(&conflict).await.is_err(), "the restarted agent knows who has the port");
    network.remove_pod("web").await.unwrap();
    assert!(call(None, (Ipv4Addr::LOCALHOST.into(), port)).is_err());
    network.ensure_pod(&conflict).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_port_on_one_address_is_not_on_another() {
    let cluster = Cluster::new();
    let network = cluster.open().await;
    let port = support::free_port();
    let request = PodRequest { host_ports: vec![host_port(Some(Ipv4Addr::LOCALHOST.into()), port)], ..pod("web") };
    let web = network.ensure_pod(&request).await.unwrap();
    let _server = Server::start(web.network_namespace.as_deref(), (web.addresses[0], 80));
    call(None, (Ipv4Addr::LOCALHOST.into(), port)).unwrap();
    assert!(call(None, (network.node_address(), port)).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_second_range_pods_have_two_addresses_and_host_ports_lead_to_both() {
    let cluster = Cluster::new();
    let range: Subnet = format!("fd6d:{}:{}:7::/64", &cluster.id[..4], &cluster.id[4..]).parse().unwrap();
    let network = Network::open(NetworkConfig { second_pod_cidr: Some(range), ..cluster.config() }).await.unwrap();
    let port = support::free_port();
    let request = PodRequest { host_ports: vec![host_port(None, port)], ..pod("web") };
    let (web, client) = (network.ensure_pod(&request).await.unwrap(), network.ensure_pod(&pod("client")).await.unwrap());
    let wasm = network.ensure_wasm(&PodRequest { host_ports: vec![host_port(None, port + 1)], ..pod("wasm") }).await.unwrap();
    let node = network.node_addresses();
    assert_eq!((node[1], client.addresses.len()), (range.gateway(), 2));
    for (family, (own, node)) in client.addresses.iter().zip(&node).enumerate() {
        for (server, port) in [(&web, port), (&wasm, port + 1)] {
            let address = server.addresses[family];
            let _server = Server::start(server.network_namespace.as_deref(), (address, 80));
            assert_eq!(call(client.network_namespace.as_deref(), (address, 80)).unwrap(), own.to_string());
            assert_eq!(call(None, (address, 80)).unwrap(), node.to_string());
            call(client.network_namespace.as_deref(), (*node, port)).expect("the host port");
            call(server.network_namespace.as_deref(), (*node, port)).expect("the pod's own host port");
        }
    }
    drop(network);
    let network = cluster.open().await;
    assert_eq!(network.pod_cidrs().nth(1), Some(range), "it is remembered");
    assert_eq!(network.ensure_pod(&pod("client")).await.unwrap().addresses, client.addresses);
    let lost = HostPort { host_ip: Some("fd00::1".parse().unwrap()), ..host_port(None, port + 2) };
    network.ensure_pod(&PodRequest { host_ports: vec![lost.clone()], ..pod("six") }).await.unwrap();
    let four = Cluster::new();
    let error = four.open().await.ensure_pod(&PodRequest { host_ports: vec![lost], ..pod("six") }).await.unwrap_err();
    assert!(error.to_string().ends_with("pods of this node have no IPv6 addresses"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_cannot_reach_what_listens_on_the_nodes_loopback() {
    let cluster = Cluster::new();
    let network = cluster.open().await;
    let a = network.ensure_pod(&pod("a")).await.unwrap();
    let secret = Server::start(None, (Ipv4Addr::LOCALHOST.into(), 0));
    support::route_loopback_to_node(a.network_namespace.as_deref().unwrap());
    assert!(call(a.network_namespace.as_deref(), secret.address).is_err());
    call(None, secret.address).expect("the server is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_was_kept_is_the_pods_in_whichever_network_it_gets() {
    let cluster = Cluster::new();
    let network = cluster.open().await;
    let (plain, wasm) = (network.keep_address(&pod("plain")).await.unwrap(), network.keep_address(&pod("wasm")).await.unwrap());
    assert_eq!((plain.network_namespace, plain.addresses.len()), (None, 1));
    assert_eq!(network.keep_address(&pod("plain")).await.unwrap().addresses, plain.addresses);
    drop(network);
    let network = cluster.open().await;
    assert_eq!(network.ensure_pod(&pod("plain")).await.unwrap().addresses, plain.addresses);
    let there = network.ensure_wasm(&pod("wasm")).await.unwrap();
    assert_eq!(there.addresses, wasm.addresses);
    let _server = Server::start(there.network_namespace.as_deref(), (wasm.addresses[0], 80));
    call(None, (wasm.addresses[0], 80)).expect("the address answers");
    network.keep_address(&pod("gone")).await.unwrap();
    network.remove_pod("gone").await.unwrap();
    assert!(!network.pods().contains(&"gone".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn wasm_pods_share_a_namespace_and_never_an_address() {
    let cluster = Cluster::new();
    let network = cluster.open().await;
    let container = network.ensure_pod(&pod("container")).await.unwrap();
    let a = network.ensure_wasm(&pod("a")).await.unwrap();
    let b = network.ensure_wasm(&pod("b")).await.unwrap();
    assert_eq!(a.network_namespace, b.network_namespace);
    assert_ne!(a.addresses, b.addresses);
    let space = a.network_namespace.as_deref();
    let _one = Server::start(space, (a.addresses[0], 80));
    let _two = Server::start(space, (b.addresses[0], 80));
    for target in [a.addresses[0], b.addresses[0]] {
        call(container.network_namespace.as_deref(), (target, 80)).expect("from a container pod");
        call(None, (target, 80)).expect("from the node");
    }
    drop(network);
    let network = cluster.open().await;
    assert_eq!(network.ensure_wasm(&pod("b")).await.unwrap(), b);
    network.remove_pod("a").await.unwrap();
    network.remove_pod("b").await.unwrap();
    assert!(call(None, (b.addresses[0], 80)).is_err());
    let c = network.ensure_wasm(&pod("c")).await.unwrap();
    let _three = Server::start(space, (c.addresses[0], 80));
    call(None, (c.addresses[0], 80)).expect("routes come back after the last pod left");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_side_by_side_are_apart_and_pods_leave_with_the_nodes_address() {
    let (first, second) = (Cluster::new(), Cluster::new());
    let (one, two) = tokio::join!(first.open(), second.open());
    assert!(!one.pod_cidr().overlaps(two.pod_cidr()));
    let a = one.ensure_pod(&pod("same")).await.unwrap();
    let b = two.ensure_pod(&pod("same")).await.unwrap();
    let _server = Server::start(b.network_namespace.as_deref(), (b.addresses[0], 80));
    let seen = call(a.network_namespace.as_deref(), (b.addresses[0], 80)).unwrap();
    assert_eq!(seen, two.node_address().to_string(), "what leaves the range is masqueraded");
    Network::teardown(one.config()).await.unwrap();
    call(None, (b.addresses[0], 80)).expect("the other cluster still runs");
    assert!(!a.network_namespace.unwrap().exists());
}

/// In a network namespace of its own, which stands for a machine whose firewall drops what it does not know.
#[test]
fn pods_talk_although_the_machines_firewall_drops_what_is_forwarded() {
    let machine = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        support::run("iptables", &["-P", "FORWARD", "DROP"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cluster = Cluster::new();
            let network = cluster.open().await;
            let a = network.ensure_pod(&pod("a")).await.unwrap();
            let b = network.ensure_pod(&pod("b")).await.unwrap();
            let server = Server::start(b.network_namespace.as_deref(), (b.addresses[0], 80));
            call(a.network_namespace.as_deref(), (b.addresses[0], 80)).unwrap();
            drop((network, server));
            drop(cluster.open().await);
            Network::teardown(&cluster.config()).await.unwrap();
            assert!(!support::forward_rules().contains("mizzen"), "{}", support::forward_rules());
        });
    });
    machine.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_and_tearing_down_leave_nothing() {
    let cluster = Cluster::new();
    let network = cluster.open().await;
    network.ensure_pod(&pod("a")).await.unwrap();
    network.remove_pod("a").await.unwrap();
    network.remove_pod("a").await.unwrap();
    assert_eq!(network.pods(), [""; 0]);
    support::eventually("only the bridge is left", || links_named(&cluster.id) == [format!("mz{}", cluster.id)]);
    assert_eq!(cluster.files("ns"), 0);
    network.ensure_pod(&pod("b")).await.unwrap();
    network.ensure_wasm(&pod("w")).await.unwrap();
    drop(network);
    Network::teardown(&cluster.config()).await.unwrap();
    assert_eq!(links_named(&cluster.id), [""; 0]);
    assert!(!nft_tables().contains(&cluster.id));
    assert!(!std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(cluster.dir.path().to_str().unwrap()));
    assert_eq!(std::fs::read_dir(cluster.dir.path()).unwrap().count(), 0);
    Network::teardown(&cluster.config()).await.expect("nothing to take away is no error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_range_is_an_error_and_a_removed_pod_makes_room() {
    let cluster = Cluster::new();
    let free = cluster.open().await.pod_cidr();
    Network::teardown(&cluster.config()).await.unwrap();
    let tiny = mizzen_network::NetworkConfig {
        pod_cidr: Some(mizzen_network::Subnet::containing(free.network(), 30)),
        ..cluster.config()
    };
    let network = Network::open(tiny).await.unwrap();
    network.ensure_pod(&pod("a")).await.unwrap();
    let error = network.ensure_pod(&pod("b")).await.unwrap_err();
    assert!(matches!(error, NetworkError::AddressesExhausted { capacity: 1, .. }), "{error}");
    network.remove_pod("a").await.unwrap();
    network.ensure_pod(&pod("b")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_could_leave_the_run_directory_are_refused() {
    let cluster = Cluster::new();
    let network = cluster.open().await;
    for uid in ["", "../x", "a/b", "a_b"] {
        assert!(matches!(network.ensure_pod(&pod(uid)).await, Err(NetworkError::PodUid { .. })), "{uid:?}");
        assert!(matches!(network.remove_pod(uid).await, Err(NetworkError::PodUid { .. })), "{uid:?}");
    }
    let wrong = mizzen_network::NetworkConfig { cluster: "../../xx".into(), ..cluster.config() };
    assert!(matches!(Network::open(wrong).await, Err(NetworkError::Config { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_pods_come_up_at_once() {
    let cluster = Cluster::new();
    let network = cluster.open().await;
    let start = Instant::now();
    network.ensure_pod(&pod("first")).await.unwrap();
    println!("one pod: {:?}", start.elapsed());
    let start = Instant::now();
    let all: Vec<_> = (0..50).map(|i| pod(&format!("p{i}"))).collect();
    let done = futures::future::join_all(all.iter().map(|p| network.ensure_pod(p))).await;
    println!("fifty pods at once: {:?}", start.elapsed());
    let addresses: std::collections::BTreeSet<_> = done.into_iter().map(|p| p.unwrap().addresses).collect();
    assert_eq!(addresses.len(), 50);
    let start = Instant::now();
    futures::future::join_all(all.iter().map(|p| network.remove_pod(&p.uid))).await.into_iter().for_each(|r| r.unwrap());
    println!("fifty pods removed: {:?}", start.elapsed());
    support::eventually("their links are gone", || links_named(&cluster.id).len() == 2);
    println!("and their links: {:?}", start.elapsed());
    assert_eq!(network.pods(), ["first"]);
}
