//! Node ports on 127.0.0.1, and who may not come there.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

use mizzen_tests::{Kubectl, Lan, Machine, Registry, eventually, images};

use crate::nodes::{Nodes, Outside, all_answer, asked_on, field, nodes, teller};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Says each datagram that comes to port 7078, whatever the address, until one says "end".
const LISTENER: &str = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 7078))
print('listening', flush=True)
data = b''
while data != b'end':
    data = s.recv(99)
    print(data.decode(), flush=True)
";

/// Sends frames to a machine's hardware address: datagrams to port 7078, with source, destination and text of each.
const FRAMES: &str = "import socket, struct, sys
link, mac, *datagrams = sys.argv[1:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((link, 0))
for datagram in datagrams:
    source, to, text = datagram.split(',')
    udp = struct.pack('!HHHH', 9, 7078, 8 + len(text), 0) + text.encode()
    addresses = socket.inet_aton(source) + socket.inet_aton(to)
    head = lambda sum: struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(udp), 1, 0, 64, 17, sum) + addresses
    total = sum(struct.unpack('!10H', head(0)))
    total = (total & 0xffff) + (total >> 16)
    s.send(bytes.fromhex(mac.replace(':', '')) + bytes([2, 0, 0, 0, 0, 9, 8, 0]) + head(~total & 0xffff) + udp)
";

/// What of these datagrams, each with source, destination and text, a neighbour brings to programs of the machine.
fn brought(hub: &Machine, machine: &Machine, datagrams: &[[&str; 3]]) -> Vec<String> {
    let mut listener = machine.inside(Command::new("python3").args(["-c", LISTENER]));
    let mut listener = listener.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(listener.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("listening"));
    let ends = machine.run(&["ip", "-brief", "link", "show", "eth0"]);
    let mac = ends.split_whitespace().nth(2).unwrap();
    let datagrams: Vec<String> = datagrams.iter().map(|datagram| datagram.join(",")).collect();
    let link = format!("to-{}", machine.name);
    let mut line = vec!["python3", "-c", FRAMES, &link, mac];
    line.extend(datagrams.iter().map(String::as_str));
    hub.run(&line);
    let end = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'end', ('127.0.0.1', 7078))";
    machine.run(&["python3", "-c", end]);
    let said = lines.collect();
    listener.wait().unwrap();
    said
}

fn leaves_by(machine: &Machine, link: &str) -> bool {
    let setting = format!("/proc/sys/net/ipv4/conf/{link}/route_localnet");
    machine.run(&["cat", &setting]).trim() == "1"
}

#[test]
fn node_ports_on_loopback_lead_to_pods_of_all_nodes_and_nobody_else_comes_there() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    for lan in [Lan::switched(&["m1", "m2"]), Lan::routed(&["m1", "m2"])] {
        let Nodes { cluster, mut agents, _doors } = nodes(&lan, &["m1", "m2"], &registry, "");
        let (m1, m2, hub) = (lan.machine("m1"), lan.machine("m2"), lan.hub());
        cluster.kubectl_apply(&(teller("t1", "test-node", &image) + &teller("t2", "m2", &image)));
        cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
        let ports = ["Cluster", "Local"].map(|policy| {
            let name = policy.to_lowercase();
            cluster.kubectl_apply(&format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}
spec: {{type: NodePort, externalTrafficPolicy: {policy}, selector: {{app: teller}}, ports: [{{port: 80, targetPort: 8080}}]}}\n"
            ));
            field(&cluster, &["service", &name], ".spec.ports[0].nodePort").parse::<u16>().unwrap()
        });
        for machine in [m1, m2] {
            for (port, address) in ports.iter().flat_map(|port| [(*port, LOOPBACK), (*port, machine.address.into())]) {
                let is_led = || (machine.http(address, port, "/").code != Some(7)).then_some(());
                eventually("the port leads somewhere, to where loopback may go", || {
                    is_led().filter(|()| leaves_by(machine, "eth0"))
                });
                all_answer(&["t1", "t2"], None, || asked_on(machine, address, port));
            }
        }

        let own = m1.address.to_string();
        let neighbour = hub.address.to_string();
        let datagrams =
            [[&*neighbour, "127.0.0.1", "to loopback"], ["127.0.0.1", &own, "from loopback"], [&neighbour, &own, "neighbour"]];
        assert_eq!(brought(&hub, m1, &datagrams), ["neighbour", "end"]);
        // What a program says from loopback to others stays here.
        let outside = Outside::start(&hub);
        let asked = |more: &[&str]| {
            let url = format!("telnet://{}:{}", hub.address, outside.port);
            m1.try_run(&[&["curl", "-sS", "--max-time", "3"], more, &[&url]].concat()).stdout
        };
        assert!(asked(&[]).contains(&own));
        assert_eq!(asked(&["--interface", "127.0.0.1"]), "");

        let agent = &mut agents[0];
        agent.stop();
        agent.lose_power();
        assert!(!leaves_by(m2, "eth0"), "as it was before");
    }
}
