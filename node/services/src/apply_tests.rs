//! What holds for every [`Apply`]: the fake that other tests use, and nftables itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mizzen_api::ObjectRef;
use mizzen_network::{Family, Protocol};

use crate::apply::Apply;
use crate::compile::{Node, Seats, compile, ranges};
use crate::conntrack::forget;
use crate::endpoints::Place;
use crate::fake::Fake;
use crate::forget::{Stale, Strays};
use crate::frame::Scope;
use crate::model::{Changes, Elements, Part, difference};
use crate::nft::Nft;
use crate::service::{ServicePort, ServiceView};
use crate::slice::{EndpointView, SlicePort, SliceView};

/// The address with this number in a range, of the family's pods or else.
fn ip(family: Family, range: u8, number: u8) -> IpAddr {
    match family {
        Family::V4 => [10, range, 3, number].into(),
        Family::V6 => [0xfd00, 0, 0, range.into(), 0, 0, 0, number.into()].into(),
    }
}

fn pods(family: Family) -> mizzen_network::Subnet {
    if family == Family::V4 { "10.64.3.0/24" } else { "fd00:0:0:40::/64" }.parse().unwrap()
}

/// A service that has everything, with so many endpoints on this node and as many on another.
fn elements(family: Family, endpoints: u8, sticky: Option<u32>) -> Elements {
    let node = Node {
        place: Place { node: "here".into(), zone: None },
        bridge: "mzx".into(),
        pods: pods(family),
        wasm: BTreeSet::from([ip(family, 64, 2)]),
        service_ranges: Vec::new(),
    };
    let endpoint = |i: u8| EndpointView {
        address: ip(family, 64 + i % 2, 2 + i),
        ready: true,
        serving: true,
        terminating: false,
        node: Some(if i.is_multiple_of(2) { "here" } else { "there" }.into()),
        for_zones: None,
        for_nodes: None,
    };
    let key = ObjectRef::new("n", "s");
    let slice = SliceView {
        service: key.clone(),
        family,
        ports: vec![SlicePort { name: String::new(), port: 8080, ..SlicePort::default() }],
        endpoints: (0..2 * endpoints).map(endpoint).collect(),
    };
    let sources = ["0.0.0.0/0", "192.0.2.0/24", "fd00::/16", "fd00::/8"].map(|range| range.parse().unwrap());
    let service = ServiceView {
        key,
        cluster_ip: "10.96.0.7".into(),
        cluster_ips: vec![ip(family, 96, 7)],
        external_ips: vec![ip(family, 70, 7)],
        balancer_ips: vec![ip(family, 70, 8)],
        ports: vec![ServicePort { port: 80, node_port: Some(30_080), ..ServicePort::default() }],
        external_local: true,
        sticky,
        sources: Some(sources.to_vec()),
        ..ServiceView::default()
    };
    compile(&service, &[Arc::new(slice)], &node, &Seats::default()).elements
}

async fn holds_for(apply: &dyn Apply, family: Family) {
    let elements = |endpoints, sticky| elements(family, endpoints, sticky);
    assert!(!apply.is_whole().await && apply.read(&Elements::new()).await.unwrap().is_none(), "there is nothing at first");
    let first = elements(2, None);
    apply.rebuild(&first).await.unwrap();
    assert!(apply.is_whole().await);
    assert_eq!(apply.read(&first).await.unwrap().as_ref(), Some(&first), "what was made is read again");

    let mut is = first;
    for wanted in [elements(3, None), elements(1, None), elements(1, Some(60)), elements(3, Some(60)), elements(0, None)] {
        apply.change(&difference(&is, &wanted)).await.unwrap();
        assert_eq!(apply.read(&wanted).await.unwrap().as_ref(), Some(&wanted));
        is = wanted;
    }

    let missing = Changes::from([
        ((Part::ClusterIps, ip(family, 96, 9).to_string()), (None, Some(String::new()))),
        ((Part::ClusterIps, ip(family, 96, 8).to_string()), (Some(String::new()), None)),
    ]);
    apply.change(&missing).await.expect_err("one is not there");
    assert_eq!(apply.read(&is).await.unwrap().as_ref(), Some(&is), "nothing of a refused change is done");

    apply.rebuild(&elements(1, None)).await.unwrap();
    apply.change(&difference(&elements(1, None), &Elements::new())).await.unwrap();
    assert_eq!(apply.read(&Elements::new()).await.unwrap(), Some(Elements::new()), "nothing is left of a service");
}

#[tokio::test]
async fn the_fake_behaves() {
    holds_for(&Fake::default(), Family::V4).await;
}

/// Runs in a network namespace of its own.
fn alone(work: impl AsyncFnOnce() + Send + 'static) {
    let machine = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work());
    });
    machine.join().unwrap();
}

fn scope(family: Family) -> Scope {
    let pods = pods(family);
    Scope { table: "mizzen_x_services".into(), bridge: "mzx".into(), pods, wasm_mac: [10, 89, 0, 0, 0, 1] }
}

#[test]
fn nftables_behaves() {
    alone(async || {
        for family in Family::ALL {
            holds_for(&Nft::new(scope(family)), family).await;
        }
    });
}

#[test]
fn a_table_of_another_version_or_without_its_rules_is_not_taken_over() {
    alone(async || {
        let (own, other) = (Nft::new(scope(Family::V4)), Nft::new(Scope { bridge: "mzy".into(), ..scope(Family::V4) }));
        let wanted = elements(Family::V4, 1, None);
        other.rebuild(&wanted).await.unwrap();
        assert!(own.read(&wanted).await.unwrap().is_none());
        own.rebuild(&wanted).await.unwrap();
        mizzen_network::nft::apply("x", "flush table ip mizzen_x_services").await.unwrap();
        assert!(!own.is_whole().await && own.read(&wanted).await.unwrap().is_none());
    });
}

fn node_of(family: Family) -> Node {
    Node {
        place: Place { node: "here".into(), zone: None },
        bridge: "mzx".into(),
        pods: pods(family),
        wasm: BTreeSet::new(),
        service_ranges: vec!["10.96.0.0/16".parse().unwrap(), "fd00:0:0:60::/64".parse().unwrap()],
    }
}

/// A service that leads to one server.
fn over(protocol: Protocol, server: IpAddr) -> Elements {
    let family = Family::of(server);
    let node = node_of(family);
    let key = ObjectRef::new("n", "names");
    let service = ServiceView {
        key: key.clone(),
        cluster_ip: "10.96.0.9".into(),
        cluster_ips: vec![ip(family, 96, 9)],
        ports: vec![ServicePort { protocol, port: 53, node_port: Some(30_053), ..ServicePort::default() }],
        ..ServiceView::default()
    };
    let endpoint = EndpointView {
        address: server,
        ready: true,
        serving: true,
        terminating: false,
        node: None,
        for_zones: None,
        for_nodes: None,
    };
    let ports = vec![SlicePort { name: String::new(), protocol, port: 5300 }];
    let slice = SliceView { service: key, family, ports, endpoints: vec![endpoint] };
    compile(&service, &[Arc::new(slice)], &node, &Seats::default()).elements
}

fn names(server: IpAddr) -> Elements {
    over(Protocol::Udp, server)
}

#[test]
fn ports_of_the_node_are_on_all_of_its_addresses_but_another_clusters_bridges() {
    alone(async || {
        for args in ["link set lo up", "addr add 10.70.1.5/32 dev lo", "addr add 10.65.3.1/32 dev lo"] {
            assert!(Command::new("ip").args(args.split(' ')).status().unwrap().success(), "ip {args}");
        }
        let addresses = [IpAddr::from([127, 0, 0, 2]), IpAddr::from([127, 0, 0, 3])];
        let servers = addresses.map(|address| UdpSocket::bind((address, 5300)).unwrap());
        let other = Scope {
            table: "mizzen_y_services".into(),
            bridge: "mzy".into(),
            pods: "10.65.3.0/24".parse().unwrap(),
            ..scope(Family::V4)
        };
        // Of two chains the kernel asks the later one first.
        for (scope, server) in [(other, addresses[1]), (scope(Family::V4), addresses[0])] {
            Nft::new(scope).rebuild(&names(server)).await.unwrap();
        }
        for (address, server) in [("10.70.1.5", 0), ("10.65.3.1", 1)] {
            let client = UdpSocket::bind("0.0.0.0:0").unwrap();
            client.send_to(address.as_bytes(), (address, 30_053)).unwrap();
            let mut said = [0; 16];
            servers[server].set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let length = servers[server].recv(&mut said).unwrap();
            assert_eq!(&said[..length], address.as_bytes());
        }
    });
}

#[test]
fn a_udp_client_that_goes_on_is_led_to_another_endpoint_once_the_kernel_forgets_the_first() {
    let v4 = (["10.96.3.1/16"; 1].to_vec(), ["127.0.0.2", "127.0.0.3"], "10.96.3.1");
    let v6 = (["fd00:0:0:60::1/64", "fd00::2/128", "fd00::3/128"].to_vec(), ["fd00::2", "fd00::3"], "fd00:0:0:60::1");
    for (own, servers, client) in [v4, v6] {
        let servers = servers.map(|address| address.parse::<IpAddr>().unwrap());
        let client: IpAddr = client.parse().unwrap();
        alone(async move || {
            assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
            for address in own {
                let mut add = Command::new("ip");
                add.args(["addr", "add", address, "dev", "lo"]);
                // Until a worker of the kernel has looked for others with it, nobody could bind it.
                add.args(address.contains(':').then_some("nodad"));
                assert!(add.status().unwrap().success(), "{address}");
            }
            is_forgotten(servers, client).await;
        });
    }
}

async fn is_forgotten([first, second]: [IpAddr; 2], client: IpAddr) {
    let family = Family::of(client);
    let servers = [first, second].map(|address| UdpSocket::bind((address, 5300)).unwrap());
    let client = UdpSocket::bind((client, 0)).unwrap();
    client.connect((ip(family, 96, 9), 53)).unwrap();
    // Sent again until it is there: the kernel's worker may not yet have made the route to an address that was just added.
    let reaches = |server: &UdpSocket, what: &[u8]| {
        server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut said = [0; 9];
        let arrived = (0..300).any(|_| {
            client.send(what).unwrap();
            server.recv(&mut said).is_ok_and(|length| &said[..length] == what)
        });
        assert!(arrived, "{what:?}");
    };
    let nft = Nft::new(scope(family));
    nft.rebuild(&names(first)).await.unwrap();
    reaches(&servers[0], b"one");
    nft.change(&difference(&names(first), &names(second))).await.unwrap();
    reaches(&servers[0], b"two");
    let gone = Stale { gone: BTreeSet::from([(first, 5300)]), strays: None };
    assert_eq!(forget(family, &gone).unwrap(), 1);
    reaches(&servers[1], b"three");
    assert_eq!(forget(family, &gone).unwrap(), 0);
}

/// Whether somebody of this namespace's machine waits for an answer to its first packet of TCP.
fn is_asking() -> bool {
    let all = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    all.lines().any(|line| line.split_whitespace().nth(3) == Some("02"))
}

#[test]
fn who_asked_before_there_were_rules_or_the_service_is_led_as_soon_as_it_is_there() {
    alone(async || {
        for args in ["link set lo up", "addr add 10.70.1.5/32 dev lo", "route add 10.96.0.0/16 dev lo"] {
            assert!(Command::new("ip").args(args.split(' ')).status().unwrap().success(), "ip {args}");
        }
        // The kernel notes connections where somebody asks for it.
        mizzen_network::nft::apply("x", "table ip x { chain c { type nat hook output priority 0; }; }").await.unwrap();
        let server = IpAddr::from([127, 0, 0, 2]);
        let (datagrams, connections) = (UdpSocket::bind((server, 5300)).unwrap(), TcpListener::bind((server, 5300)).unwrap());
        datagrams.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let client = UdpSocket::bind("10.70.1.5:0").unwrap();
        let (service, wait) = (ip(Family::V4, 96, 9), Duration::from_secs(60));
        client.send_to(b"early", (service, 53)).unwrap();
        let asking = std::thread::spawn(move || TcpStream::connect_timeout(&(service, 53).into(), wait));
        while !is_asking() {
            assert!(!asking.is_finished(), "somebody answers");
            std::thread::yield_now();
        }

        let (nft, node) = (Nft::new(scope(Family::V4)), node_of(Family::V4));
        let held = ranges(&node.service_ranges, Family::V4);
        nft.hold(&node.service_ranges).await.unwrap();
        assert_eq!(nft.read(&held).await.unwrap().as_ref(), Some(&held));
        let strays = Strays { services: BTreeSet::new(), endpoints: BTreeSet::new(), ranges: node.service_ranges.clone() };
        forget(Family::V4, &Stale { gone: BTreeSet::new(), strays: Some(strays) }).unwrap();
        client.send_to(b"not yet", (service, 53)).expect_err("it is dropped");

        let mut wanted = held.clone();
        wanted.extend([Protocol::Udp, Protocol::Tcp].into_iter().flat_map(|protocol| over(protocol, server)));
        nft.change(&difference(&held, &wanted)).await.unwrap();
        nft.hold(&node.service_ranges).await.unwrap();
        client.send_to(b"led", (service, 53)).unwrap();
        let mut said = [0; 9];
        datagrams.set_read_timeout(Some(wait)).unwrap();
        let length = datagrams.recv(&mut said).unwrap();
        assert_eq!(&said[..length], b"led");
        asking.join().unwrap().expect("the next packet is led");
        drop(connections);
    });
}

#[test]
fn clients_stay_with_their_endpoint_by_both_families() {
    for family in Family::ALL {
        alone(async move || {
            assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
            let servers = [ip(family, 64, 2), ip(family, 65, 3)];
            for address in [ip(family, 96, 1), servers[0], servers[1]] {
                let mut add = Command::new("ip");
                add.args([
                    "addr",
                    "add",
                    &format!("{address}/{}", if address == ip(family, 96, 1) { family.bits() - 16 } else { family.bits() }),
                ]);
                add.args(["dev", "lo"]).args((family == Family::V6).then_some("nodad"));
                assert!(add.status().unwrap().success(), "{address}");
            }
            let servers = servers.map(|address| TcpListener::bind((address, 8080)).unwrap());
            let nft = Nft::new(scope(family));
            nft.rebuild(&elements(family, 1, Some(60))).await.unwrap();
            let asked = || TcpStream::connect_timeout(&(ip(family, 96, 7), 80).into(), Duration::from_secs(60)).unwrap();
            // Which of two is a matter of luck: nobody has it forty times.
            let streams: Vec<_> = (0..40).map(|_| asked()).collect();
            let answered = servers.map(|server| {
                server.set_nonblocking(true).unwrap();
                server.incoming().map_while(Result::ok).count()
            });
            assert!(answered.contains(&40), "{answered:?} of {} connections", streams.len());
        });
    }
}
