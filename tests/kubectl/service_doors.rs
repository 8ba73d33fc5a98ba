//! Packets to services by what only clients outside of the cluster use: external addresses, those of load balancers, SCTP, and
//! policies that keep traffic where it comes in.

use std::net::IpAddr;
use std::process::{Command, Stdio};

use mizzen_tests::command::run;
use mizzen_tests::{Kubectl, Lan, Machine, Registry, eventually, images};

use crate::nodes::{Nodes, all_answer, asked_in, asked_on, field, nodes, teller, told};

/// What the hub is told by an address that a node is the way to; `None` when nobody answers.
fn told_by(hub: &Machine, source: &str, address: &str, port: u16) -> Option<(String, String)> {
    let url = format!("http://{address}:{port}/cgi-bin/who");
    let ran = hub.try_run(&["curl", "-sS", "--max-time", "2", "--interface", source, &url]);
    (ran.code == Some(0)).then(|| told(&ran.stdout))
}

#[test]
fn clients_outside_come_by_external_addresses_and_load_balancers_as_the_service_allows() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let lan = Lan::switched(&["m1", "m2"]);
    let Nodes { agents, cluster, .. } = &nodes(&lan, &["m1", "m2"], &registry, "");
    let (m1, m2, hub) = (lan.machine("m1"), lan.machine("m2"), lan.hub());
    let (near, far) = (hub.address.to_string(), "198.18.0.2");
    hub.run(&["ip", "addr", "add", &format!("{far}/24"), "dev", "switch"]);
    // As a balancer would: the packets come to the node with their destination unchanged.
    for (address, machine) in [("198.51.100.7", m1), ("198.51.100.8", m1), ("198.51.100.9", m2)] {
        hub.run(&["ip", "route", "add", address, "via", &machine.address.to_string()]);
    }
    cluster.kubectl_apply(&(teller("t1", "test-node", &image) + &teller("t2", "m2", &image)));
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
    cluster.kubectl_apply(&format!(
        "apiVersion: v1
kind: Service
metadata: {{name: outer}}
spec: {{selector: {{app: teller}}, externalIPs: [198.51.100.7], ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: guarded}}
spec:
  type: LoadBalancer
  selector: {{app: teller}}
  loadBalancerSourceRanges: [{near}/32]
  ports: [{{port: 80, targetPort: 8080}}]
---
apiVersion: v1
kind: Service
metadata: {{name: kept}}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  internalTrafficPolicy: Local
  selector: {{node: second}}
  ports: [{{port: 80, targetPort: 8080}}]
"
    ));
    cluster.kubectl(&["label", "pod", "t2", "node=second"]).ok();
    for (service, address) in [("guarded", "198.51.100.8"), ("kept", "198.51.100.9")] {
        let status = format!("{{\"status\": {{\"loadBalancer\": {{\"ingress\": [{{\"ip\": \"{address}\"}}]}}}}}}");
        cluster.kubectl(&["patch", "service", service, "--subresource=status", "--type=merge", "-p", &status]).ok();
    }

    eventually("the external address leads to the service", || told_by(&hub, &near, "198.51.100.7", 80));
    all_answer(&["t1", "t2"], None, || asked_on(&hub, "198.51.100.7".parse().unwrap(), 80));
    all_answer(&["t1", "t2"], None, || asked_in(cluster, "t1", "198.51.100.7", 80));
    let also: IpAddr = "198.51.100.7".parse().unwrap();
    all_answer(&["t1", "t2"], None, || asked_on(m2, also, 80));

    eventually("the balancer's address leads to the service", || told_by(&hub, &near, "198.51.100.8", 80));
    assert_eq!(told_by(&hub, far, "198.51.100.8", 80), None, "who is not among its source ranges");
    assert!(told_by(&hub, far, "198.51.100.7", 80).is_some(), "which are the balancer's only");

    eventually("the balancer finds the node with the pod", || told_by(&hub, &near, "198.51.100.9", 80));
    assert_eq!(told_by(&hub, far, "198.51.100.9", 80), Some((far.into(), "t2".into())), "the client as it is");
    let port: u16 = field(cluster, &["service", "kept"], ".spec.healthCheckNodePort").parse().unwrap();
    let healthy = |machine: &Machine| {
        let url = format!("http://{}:{port}/healthz", machine.address);
        hub.run(&["curl", "-sS", "--max-time", "5", "-w", " %{http_code}", &url])
    };
    let (here, there) = (healthy(m2), healthy(m1));
    assert!(here.ends_with(" 200") && here.contains("\"localEndpoints\":1"), "{here}");
    assert!(there.ends_with(" 503") && there.contains("\"localEndpoints\":0"), "{there}");
    let kept = field(cluster, &["service", "kept"], ".spec.clusterIP");
    assert_eq!(asked_in(cluster, "t2", &kept, 80).1, "t2", "where the pod is");
    let elsewhere = format!("nc -w 2 {kept} 80 </dev/null");
    assert_ne!(cluster.kubectl(&["exec", "t1", "--", "sh", "-c", &elsewhere]).code, Some(0), "where it is not");

    // A packet that begins an association (RFC 9260): kernels without SCTP pass it on as well.
    cluster.kubectl_apply(
        "apiVersion: v1
kind: Service
metadata: {name: calls}
spec: {selector: {node: second}, ports: [{port: 9999, targetPort: 9998, protocol: SCTP}]}
",
    );
    let calls = field(cluster, &["service", "calls"], ".spec.clusterIP");
    let uid = field(cluster, &["pod", "t2"], ".metadata.uid");
    let pin = agents[0].data().join("network/ns").join(uid).join("net");
    let mut listening = Command::new("nsenter");
    listening.arg(format!("--net={}", pin.display())).args(["python3", "-c", SCTP_LISTENER]);
    let mut listening = listening.stdout(Stdio::piped()).spawn().unwrap();
    eventually("a packet has come", || {
        run(&mut m1.inside(Command::new("python3").args(["-c", SCTP_CALLER, &calls, "9999"]))).ok();
        listening.try_wait().unwrap()
    });
    let mut heard = String::new();
    std::io::Read::read_to_string(&mut listening.stdout.take().unwrap(), &mut heard).unwrap();
    assert_eq!(heard.trim(), "9998", "the pod's port");
}

/// Prints the port that the first association asks for.
const SCTP_LISTENER: &str = "
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
packet = s.recv(2000)
header = (packet[0] & 15) * 4
print(struct.unpack('!H', packet[header + 2:header + 4])[0])
";

const SCTP_CALLER: &str = "
import socket, struct, sys
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff
init = struct.pack('!BBHIIHHI', 1, 0, 20, 7, 65536, 1, 1, 9)
head = struct.pack('!HHI', 7777, int(sys.argv[2]), 0)
packet = head + struct.pack('<I', crc32c(head + bytes(4) + init)) + init
socket.socket(socket.AF_INET, socket.SOCK_RAW, 132).sendto(packet, (sys.argv[1], 0))
";
