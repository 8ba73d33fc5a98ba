//! What goes wrong with networks: partitions, an agent that is killed in the middle of something, addresses that run out, ports
//! that two want, floods and rubbish. Each is handled, and nothing else is disturbed.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mizzen_tests::command::run;
use mizzen_tests::door::within;
use mizzen_tests::names::{NameServer, ask, question, served_at};
use mizzen_tests::ports::Port;
use mizzen_tests::{Agent, Cluster, Kubectl, Lan, Registry, eventually, images, leftovers};
use serde_json::{Value, json};

use crate::nodes::{Nodes, all_answer, asked_on, field, nodes, teller};

#[test]
fn nodes_that_are_cut_off_one_way_or_both_leave_services_and_come_back() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let lan = Lan::switched(&["m1", "m2", "m3"]);
    let Nodes { cluster, agents: _agents, _doors } = nodes(&lan, &["m1", "m2", "m3"], &registry, "");
    for (name, node) in [("t1", "test-node"), ("t2", "m2"), ("t3", "m3")] {
        cluster.kubectl_apply(&teller(name, node, &image));
    }
    cluster.kubectl(&["create", "service", "clusterip", "teller", "--tcp=80:8080"]).ok();
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
    let (m1, m2, m3) = (lan.machine("m1"), lan.machine("m2"), lan.machine("m3"));
    let service: IpAddr = field(&cluster, &["service", "teller"], ".spec.clusterIP").parse().unwrap();
    let is_led = |machine: &mizzen_tests::Machine| (machine.http(service, 80, "/").code != Some(7)).then_some(());
    eventually("the service leads somewhere", || is_led(m1).and_then(|()| is_led(m2)).and_then(|()| is_led(m3)));
    all_answer(&["t1", "t2", "t3"], None, || asked_on(m1, service, 80));

    // Nothing comes or goes; and the server hears what it cannot answer.
    lan.cut_off("m2");
    lan.mute("m1", "m3");
    let endpoints = || {
        let list = cluster.get(&["endpointslices", "-l", "kubernetes.io/service-name=teller"]).unwrap();
        let all = list["items"].as_array().unwrap().iter().flat_map(|slice| slice["endpoints"].as_array().unwrap().clone());
        let ready = all.filter(|endpoint| endpoint["conditions"]["ready"] == true);
        ready.map(|endpoint| endpoint["targetRef"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    eventually("the pods of both have left the service", || (endpoints() == ["t1"]).then_some(()));
    eventually("so say the rules", || {
        (0..8).all(|_| m1.http(service, 80, "/cgi-bin/who").stdout.ends_with(" t1\n")).then_some(())
    });
    for (machine, pod) in [(m2, "t2"), (m3, "t3")] {
        assert_eq!(asked_on(machine, cluster.pod_address(pod), 8080).1, pod, "on the node itself the pod goes on");
    }

    lan.heal();
    eventually("they are back", || (endpoints().len() == 3).then_some(()));
    for machine in [m1, m2, m3] {
        eventually("each node leads to all again", || {
            let answers: Vec<_> = (0..24).map(|_| machine.http(service, 80, "/cgi-bin/who").stdout).collect();
            ["t1\n", "t2\n", "t3\n"].iter().all(|name| answers.iter().any(|answer| answer.ends_with(name))).then_some(())
        });
    }
    for pod in ["t1", "t2", "t3"] {
        assert_eq!(field(&cluster, &["pod", pod], ".status.containerStatuses[0].restartCount"), "0", "{pod} went on");
    }
}

/// The service's elements: the number of endpoints that its rule picks from, and the numbers that endpoints have.
fn rules(table: &str, service: &str) -> (usize, Vec<String>) {
    let listed = run(Command::new("nft").args(["-j", "list", "table", "ip", table])).ok();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let elements = |map: &str| {
        let maps = listed["nftables"].as_array().unwrap().iter().map(|item| &item["map"]);
        let found = maps.filter(|found| found["name"] == map).flat_map(|map| map["elem"].as_array().cloned().unwrap_or_default());
        found.filter(|element| element[0]["concat"][0] == service).collect::<Vec<_>>()
    };
    let picks = elements("service_ips").first().map(|element| element[1]["goto"]["target"].as_str().unwrap().to_owned());
    let count = picks.map_or(0, |chain| chain.rsplit('_').next().unwrap().parse().unwrap());
    let mut numbers: Vec<_> =
        elements("endpoints").iter().map(|element| element[0]["concat"][3].as_str().unwrap().to_owned()).collect();
    numbers.sort();
    (count, numbers)
}

#[test]
fn rules_are_whole_whenever_an_agent_is_killed() {
    const KILLS: usize = 8;
    let cluster = Cluster::server();
    let mut agent = Agent::join(&cluster, "edge-1");
    cluster.kubectl(&["create", "service", "clusterip", "web", "--tcp=80"]).ok();
    let service = field(&cluster, &["service", "web"], ".spec.clusterIP");
    let table = format!("mizzen_{}_services", leftovers::cluster_id(&agent.data()));
    // As many endpoints as the turn says, none of which anybody is.
    let slice = |turn: usize| {
        let count = turn * 5 % 9 + 1;
        let endpoints: Vec<_> = (0..count).map(|number| json!({"addresses": [format!("198.18.{turn}.{number}")]})).collect();
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "web", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": [{"name": "80", "port": 80}], "endpoints": endpoints,
        });
        (count, object.to_string())
    };
    let done = AtomicBool::new(false);
    let turn = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                cluster.apply(&slice(turn.fetch_add(1, Ordering::SeqCst) % 200).1);
            }
        });
        for _ in 0..KILLS {
            let before = turn.load(Ordering::SeqCst);
            eventually("rules change", || (turn.load(Ordering::SeqCst) > before + 2).then_some(()));
            agent.kill();
            let (count, numbers) = rules(&table, &service);
            let expected: Vec<_> = (0..count).map(|number| format!("1:{number:x}")).collect();
            assert_eq!(numbers, expected, "as many as the rule picks from");
            agent.start();
        }
        done.store(true, Ordering::SeqCst);
    });
    let (count, last) = slice(7);
    cluster.apply(&last);
    // As many endpoints as the cluster says may be those of an earlier turn.
    eventually("the rules are what the cluster says in the end", || {
        let listed = run(Command::new("nft").args(["list", "map", "ip", &table, "endpoints"])).ok();
        let (of_all, of_the_last) = (listed.matches("198.18.").count(), listed.matches("198.18.7.").count());
        ((of_all, of_the_last) == (count, count)).then_some(())
    });
    assert_eq!(rules(&table, &service).0, count);
}

#[test]
fn a_port_of_the_node_has_one_pod_and_a_pod_without_an_address_waits_for_one() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::server();
    // Five addresses for pods.
    let node =
        "apiVersion: v1\nkind: Node\nmetadata: {name: edge-1}\nspec: {podCIDR: 10.95.255.0/29, podCIDRs: [10.95.255.0/29]}\n";
    cluster.kubectl_apply(node);
    let _agent = Agent::join(&cluster, "edge-1");
    assert_eq!(field(&cluster, &["node", "edge-1"], ".spec.podCIDR"), "10.95.255.0/29");
    let port = Port::reserve();
    let bound = format!("    ports: [{{containerPort: 8080, hostPort: {}}}]\n    command:", port.number());
    let with_port = |name: &str| teller(name, "edge-1", &image).replace("    command:", &bound);
    let loopback = || {
        let url = format!("http://127.0.0.1:{}/cgi-bin/who", port.number());
        run(Command::new("curl").args(["-sS", "--max-time", "5", &url])).stdout
    };
    let told = |pod: &str, why: &str| {
        eventually(&format!("{pod} waits, and says that {why}"), || {
            cluster.events(pod).iter().any(|message| message.contains(why)).then_some(())
        });
    };
    cluster.kubectl_apply(&with_port("first"));
    cluster.kubectl_wait("condition=Ready", &["pod/first"]);
    // No scheduler has looked at it: the pod names its node.
    cluster.kubectl_apply(&with_port("second"));
    told("second", "didn't have free ports");
    cluster.kubectl_wait("jsonpath={.status.reason}=NodePorts", &["pod/second"]);
    assert_eq!(field(&cluster, &["pod", "second"], ".status.phase"), "Failed");
    for number in 1..=4 {
        cluster.kubectl_apply(&teller(&format!("more-{number}"), "edge-1", &image));
    }
    cluster.kubectl_wait("condition=Ready", &["pod/more-1", "pod/more-2", "pod/more-3", "pod/more-4"]);
    cluster.kubectl_apply(&teller("late", "edge-1", &image));
    told("late", "all 5 are in use");
    assert!(loopback().ends_with(" first\n"), "who has the port keeps it");

    cluster.kubectl(&["delete", "pod", "first", "second"]).ok();
    cluster.kubectl_wait("condition=Ready", &["pod/late"]);
    cluster.kubectl(&["delete", "pod", "more-1"]).ok();
    cluster.kubectl_apply(&with_port("third"));
    cluster.kubectl_wait("condition=Ready", &["pod/third"]);
    eventually("the port is the next one's", || loopback().ends_with(" third\n").then_some(()));
}

/// A server that takes datagrams and says nothing.
fn silent() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn namespace_of(cluster: &Cluster, pod: &str) -> PathBuf {
    let uid = field(cluster, &["pod", pod], ".metadata.uid");
    cluster.data().join("network/ns").join(uid).join("net")
}

/// Asks from a pod's network namespace for what nobody answers, as fast as it can, until it is told to stop.
fn flood(pin: &std::path::Path, server: SocketAddr, done: Arc<AtomicBool>) -> std::thread::JoinHandle<usize> {
    within(Some(pin), move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(server).unwrap();
        let mut sent = 0;
        while !done.load(Ordering::SeqCst) {
            // What does not go out at once is lost.
            let _ = socket.send(&question(&format!("n{sent}.slow.test."), "A"));
            sent += 1;
        }
        sent
    })
}

#[test]
fn a_flood_of_questions_and_rubbish_keep_nobody_from_names() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let (outside, slow) = (NameServer::knowing(&[("www.example.test.", [192, 0, 2, 77].into())]), silent());
    let servers = format!("upstreams: ['{}'], stubDomains: {{slow.test: ['{}']}}", outside.address(), slow.local_addr().unwrap());
    let cluster = Cluster::up_configured(&format!("dns: {{{servers}}}\n"));
    cluster.kubectl_apply(&(teller("flooder", "test-node", &image) + &teller("other", "test-node", &image)));
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
    let server = served_at(&cluster);
    let other = namespace_of(&cluster, "other");
    let asked = |name: &'static str| within(Some(&other), move || ask(server, name, "A")).join().unwrap();
    let kubernetes = field(&cluster, &["service", "kubernetes"], ".spec.clusterIP");
    let is_well = || {
        assert_eq!(asked("kubernetes.default.svc.cluster.local."), Ok(vec![kubernetes.clone()]));
        assert_eq!(asked("www.example.test."), Ok(vec!["192.0.2.77".to_owned()]));
    };
    is_well();

    let done = Arc::new(AtomicBool::new(false));
    let flooding = flood(&namespace_of(&cluster, "flooder"), server, done.clone());
    let begun = Instant::now();
    (0..50).for_each(|_| is_well());
    let taken = begun.elapsed();
    done.store(true, Ordering::SeqCst);
    let sent = flooding.join().unwrap();
    assert!(sent > 5_000, "{sent} questions are no flood");
    assert!(taken < Duration::from_secs(20), "{taken:?} for a hundred questions: many were lost");

    // What is no question, by datagram and by stream.
    let good = question("kubernetes.default.svc.cluster.local.", "A");
    let liar = [&good[..4], &[0xff; 8], &good[12..]].concat();
    let looping = [&good[..12], &[0xc0, 12, 0, 1, 0, 1]].concat();
    let rubbish = [vec![], vec![0], good[..11].to_vec(), good[..good.len() - 3].to_vec(), liar, looping, vec![0xff; 9000]];
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    for datagram in &rubbish {
        socket.send_to(datagram, server).unwrap();
        let mut stream = TcpStream::connect(server).unwrap();
        let length = u16::try_from(datagram.len()).unwrap().to_be_bytes();
        // It may be closed before all is said.
        let _ = stream.write_all(&length).and_then(|()| stream.write_all(datagram));
        let _ = TcpStream::connect(server).unwrap().write_all(&[0xff, 0xff, 0]);
    }
    is_well();
    assert!(!cluster.log().contains("panicked"), "{}", cluster.log());
}

/// What is answered to these bytes, until the connection ends or rests.
fn answered(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    // It may be closed before all is said.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn rubbish_over_http_is_refused_and_disturbs_no_other_client() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.kubectl_apply(&teller("web", "test-node", &image));
    cluster.kubectl(&["expose", "pod", "web", "--port=80", "--target-port=8080"]).ok();
    cluster.kubectl(&["create", "ingress", "web", "--rule=web.example/*=web:80"]).ok();
    cluster.kubectl_wait("condition=Ready", &["pod/web"]);
    let ip: IpAddr = eventually("the ingress has an address", || {
        field(&cluster, &["ingress", "web"], ".status.loadBalancer.ingress[0].ip").parse().ok()
    });
    let (http, https) = (SocketAddr::new(ip, 80), SocketAddr::new(ip, 443));
    let good = "GET /cgi-bin/who HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n";
    let is_well = || answered(http, good.as_bytes()).starts_with("HTTP/1.1 200 ").then_some(());
    eventually("the ingress leads somewhere", is_well);

    let head = "GET / HTTP/1.1\r\nHost: web.example\r\n";
    let long = "x".repeat(100 << 10);
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    let post = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: web.example\r\n{headers}\r\n\r\n{body}");
    for (bytes, statuses) in [
        ("\x00\x01\x02 rubbish\r\n\r\n".to_owned(), &["400"][..]),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), &["400"]),
        ("GET / HTTP/1.1\r\nHost: web.example\r\nHost: other.example\r\n\r\n".to_owned(), &["400"]),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), &["400"]),
        (format!("{head}No Colon\r\n\r\n"), &["400"]),
        (format!("{head}X: {long}\r\n\r\n"), &["431"]),
        (format!("GET /{long} HTTP/1.1\r\nHost: web.example\r\n\r\n"), &["414", "431"]),
        (format!("{head}{many}\r\n"), &["431"]),
        (post("Content-Length: 5\r\nContent-Length: 6", "12345"), &["400"]),
        (post("Content-Length: -1", "12345"), &["400"]),
        (post("Transfer-Encoding: gzip, x", "12345"), &["400", "501"]),
        (post("Transfer-Encoding: chunked", "zz\r\nno chunk\r\n"), &["400", "502"]),
        ("CONNECT other.example:80 HTTP/1.1\r\nHost: other.example\r\n\r\n".to_owned(), &["405"]),
    ] {
        let answer = answered(http, bytes.as_bytes());
        let what = &bytes[..bytes.len().min(120)];
        assert!(statuses.iter().any(|status| answer.starts_with(&format!("HTTP/1.1 {status} "))), "{what:?}: {answer:?}");
    }
    let settings_of_http_2 = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0xff; 4096]].concat();
    assert!(!answered(http, &settings_of_http_2).contains("HTTP/1.1 200"));
    for bytes in [b"no TLS at all\r\n\r\n".to_vec(), vec![0x16; 70_000], [&[22, 3, 1, 0xff, 0xff][..], &[0; 65_535]].concat()] {
        assert!(!answered(https, &bytes).contains("200"), "is no client of TLS");
    }
    // Who is refused before all is read, by the web server of the pod or by the proxy, sees the answer.
    let long = cluster.data().join("long");
    std::fs::write(&long, vec![0; 3_000_000]).unwrap();
    for host in ["web.example", "other.example"].repeat(10) {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code}"]);
        curl.args(["--resolve", &format!("{host}:80:{ip}"), "--data-binary", &format!("@{}", long.display())]);
        assert_eq!(run(curl.arg(format!("http://{host}/"))).ok(), "404", "{host}");
    }
    // One that says nothing more, and others that are served beside it.
    let mut half = TcpStream::connect(http).unwrap();
    half.write_all(head.as_bytes()).unwrap();
    assert!(is_well().is_some());
    assert!(!cluster.log().contains("panicked"), "{}", cluster.log());
}

/// Whether somebody in this network namespace waits for an answer to the first packet of a connection to it.
fn is_asked_for(service: SocketAddr) -> bool {
    let SocketAddr::V4(service) = service else { return false };
    let bytes = u32::from_ne_bytes(service.ip().octets());
    let asked = format!(" {bytes:08X}:{:04X} 02 ", service.port());
    std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap().contains(&asked)
}

#[test]
fn who_asks_for_a_service_before_there_is_one_is_led_once_it_is_there() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.kubectl_apply(&(teller("web", "test-node", &image) + &teller("client", "test-node", &image)));
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
    let first: Ipv4Addr = field(&cluster, &["service", "kubernetes"], ".spec.clusterIP").parse().unwrap();
    let [a, b, ..] = first.octets();
    let service = SocketAddr::from(([a, b, 77, 77], 80));
    let pod = namespace_of(&cluster, "client");
    let places = [Some(&*pod), None];
    let asking = places.map(|place| within(place, move || TcpStream::connect_timeout(&service, Duration::from_secs(60))));
    for place in places {
        let is_asked = || within(place, move || is_asked_for(service)).join().unwrap();
        eventually("somebody asks", || is_asked().then_some(()));
    }
    let made = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "late"},
        "spec": {"clusterIP": service.ip(), "selector": {"teller": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    cluster.apply(&made.to_string());
    for asked in asking {
        asked.join().unwrap().expect("the next packet is led");
    }
    // What no service has is not sent to whoever may be outside.
    let nobodys = SocketAddr::from(([a, b, 77, 78], 80));
    let error = TcpStream::connect_timeout(&nobodys, Duration::from_millis(100)).expect_err("nobody has it");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}
