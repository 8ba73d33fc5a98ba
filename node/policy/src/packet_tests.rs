//! Real packets between pods of a node's network, container and Wasm alike, in a network namespace that stands for the machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mizzen_api::ObjectRef;
use mizzen_network::{Family, Network, NetworkConfig, PodRequest, Protocol, ServiceRange, Subnet};
use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};

use crate::apply::Apply;
use crate::apply_tests::alone;
use crate::frame::Side;
use crate::group::Pod;
use crate::nft::Nft;
use crate::pod::{NamedPort, PodView};
use crate::view::PolicyView;
use crate::world::World;

const PORT: u16 = 5300;
const OTHER_PORT: u16 = 5301;

/// Somebody who sends and answers; the machine has no name and no labels.
struct Somebody {
    name: &'static str,
    app: &'static str,
    wasm: bool,
    /// Of the family that is tried.
    address: IpAddr,
    namespace: Option<PathBuf>,
}

impl Somebody {
    fn inside<T: Send + 'static>(&self, work: impl FnOnce(IpAddr) -> T + Send + 'static) -> T {
        let (namespace, address) = (self.namespace.as_ref().map(|path| File::open(path).unwrap()), self.address);
        let thread = std::thread::spawn(move || {
            if let Some(namespace) = namespace {
                setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            }
            work(address)
        });
        thread.join().unwrap()
    }

    /// Answers what it is told over UDP, until the test ends.
    fn answer(&self, port: u16) {
        let socket = self.inside(move |own| UdpSocket::bind((own, port)).unwrap());
        std::thread::spawn(move || {
            let mut said = [0; 16];
            while let Ok((length, from)) = socket.recv_from(&mut said) {
                let _ = socket.send_to(&said[..length], from);
            }
        });
    }

    fn is_answered(&self, to: (IpAddr, u16), patience: Duration) -> bool {
        self.inside(move |own| {
            let socket = UdpSocket::bind((own, 0)).unwrap();
            socket.set_read_timeout(Some(patience)).unwrap();
            let sent = socket.connect(to).and_then(|()| socket.send(b"hello"));
            sent.and_then(|_| socket.recv(&mut [0; 16])).is_ok()
        })
    }
}

struct Node {
    network: Arc<Network>,
    family: Family,
    machine: Somebody,
    pods: Vec<Somebody>,
    folder: tempfile::TempDir,
}

impl Node {
    async fn start(family: Family) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let network = Arc::new(Network::open(config(&folder)).await.unwrap());
        let mut world = Self {
            machine: Somebody { name: "", app: "", wasm: false, address: range(&network, family).gateway(), namespace: None },
            network,
            family,
            pods: Vec::new(),
            folder,
        };
        for (name, app, wasm) in [
            ("web", "web", false),
            ("client", "client", false),
            ("other", "other", false),
            ("wasm-web", "web", true),
            ("wasm-client", "client", true),
            ("wasm-other", "other", true),
        ] {
            world.add(name, app, wasm).await;
        }
        world
    }

    async fn add(&mut self, name: &'static str, app: &'static str, wasm: bool) {
        let request = PodRequest { uid: name.to_owned(), hostname: name.to_owned(), ..PodRequest::default() };
        let made = match wasm {
            true => self.network.ensure_wasm(&request).await.unwrap(),
            false => self.network.ensure_pod(&request).await.unwrap(),
        };
        let (addresses, _) = self.network.pod_addresses(name).unwrap();
        let address = addresses.into_iter().find(|address| Family::of(*address) == self.family).unwrap();
        let pod = Somebody { name, app, wasm, address, namespace: made.network_namespace };
        pod.answer(PORT);
        pod.answer(OTHER_PORT);
        self.pods.push(pod);
    }

    /// Makes policies of these specs hold, and no others.
    async fn enforce(&self, specs: &[Value]) {
        for side in [Side::Machine, Side::Wasm] {
            let mut world = World::new(self.family);
            for pod in self.pods.iter().filter(|pod| pod.wasm || side == Side::Machine) {
                let key = ObjectRef::new("n", pod.name);
                let labels = BTreeMap::from([("app".to_owned(), pod.app.to_owned())]);
                let ports = vec![NamedPort { name: "names".into(), protocol: Protocol::Udp, number: PORT }];
                let view = PodView { key: key.clone(), labels, ports, ..PodView::default() };
                world.put_pod(&key, Some(Pod { view: Arc::new(view), address: pod.address, local: true }));
            }
            for (number, spec) in specs.iter().enumerate() {
                let policy = json!({"metadata": {"name": format!("p{number}"), "namespace": "n"}, "spec": spec});
                world.put_policy(&ObjectRef::new("n", format!("p{number}")), Some(PolicyView::of(&policy).unwrap()));
            }
            world.settle();
            Nft::of(&self.network, side, self.family).rebuild(&world.elements()).await.unwrap();
        }
    }

    fn who(&self, name: &str) -> &Somebody {
        self.pods.iter().find(|pod| pod.name == name).unwrap_or(&self.machine)
    }

    fn reaches(&self, from: &str, to: &str, port: u16) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let target = (self.who(to).address, port);
        while !self.who(from).is_answered(target, Duration::from_secs(2)) {
            assert!(Instant::now() < deadline, "{from:?} does not reach {to} at {port}");
        }
    }

    /// That nothing comes can only be waited for; it is asked after what is reached over the same way.
    fn misses(&self, from: &str, to: &str, port: u16) {
        let is_answered = self.who(from).is_answered((self.who(to).address, port), Duration::from_millis(300));
        assert!(!is_answered, "{from:?} reaches {to} at {port}");
    }
}

fn range(network: &Network, family: Family) -> Subnet {
    network.pod_cidrs().find(|range| range.family() == family).unwrap()
}

fn config(folder: &tempfile::TempDir) -> NetworkConfig {
    let cluster = format!("{:08x}", std::process::id());
    NetworkConfig {
        cluster,
        run_dir: folder.path().to_owned(),
        pod_cidr: None,
        second_pod_cidr: Some("fd00:0:0:3::/64".parse().unwrap()),
        node_address: None,
        services: ServiceRange::Unknown,
        peers: mizzen_network::PeersConfig::default(),
        cni: mizzen_network::PluginDirs::default(),
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let config = config(&self.folder);
        let teardown = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(Network::teardown(&config))
        };
        let done = std::thread::spawn(teardown).join();
        if !std::thread::panicking() {
            done.unwrap().unwrap();
        }
    }
}

/// Tries it by IPv4 and by IPv6, each on a machine of its own.
fn for_each_family(work: impl AsyncFnOnce(Node) + Copy + Send + 'static) {
    for family in Family::ALL {
        alone(async move || work(Node::start(family).await).await);
    }
}

fn about(app: &str) -> Value {
    json!({"matchLabels": {"app": app}})
}

#[test]
fn what_no_rule_allows_does_not_come_in_and_the_node_always_does() {
    for_each_family(async |world| {
        let (servers, clients) = (["web", "wasm-web"], ["client", "wasm-client", "other", "wasm-other"]);
        world.enforce(&[]).await;
        for server in servers {
            clients.iter().for_each(|client| world.reaches(client, server, PORT));
        }
        world.enforce(&[json!({"podSelector": about("web")})]).await;
        for server in servers {
            world.reaches("", server, PORT);
            world.reaches(server, "client", PORT);
            world.reaches(server, server, PORT);
            clients.iter().for_each(|client| world.misses(client, server, PORT));
        }
        let named = json!({"ports": [{"port": "names", "protocol": "UDP"}], "from": [{"podSelector": about("client")}]});
        world.enforce(&[json!({"podSelector": about("web"), "ingress": [named]}), json!({"podSelector": about("web")})]).await;
        for server in servers {
            clients[..2].iter().for_each(|client| world.reaches(client, server, PORT));
            clients[..2].iter().for_each(|client| world.misses(client, server, OTHER_PORT));
            clients[2..].iter().for_each(|client| world.misses(client, server, PORT));
        }
    });
}

#[test]
fn pods_go_where_their_egress_rules_lead_and_blocks_leave_addresses_out() {
    for_each_family(async |world| {
        world.machine.answer(PORT);
        let clients = ["client", "wasm-client"];
        world.enforce(&[json!({"podSelector": about("client"), "policyTypes": ["Egress"]})]).await;
        for client in clients {
            world.reaches("web", client, PORT);
            ["web", "wasm-web", ""].iter().for_each(|server| world.misses(client, server, PORT));
        }
        let except = format!("{}/{}", world.who("wasm-web").address, world.family.bits());
        let block = json!({"ipBlock": {"cidr": range(&world.network, world.family).to_string(), "except": [except]}});
        let rule = json!({"to": [block], "ports": [{"port": PORT, "endPort": PORT, "protocol": "UDP"}]});
        world.enforce(&[json!({"podSelector": about("client"), "egress": [rule], "policyTypes": ["Egress"]})]).await;
        for client in clients {
            ["web", "other", "wasm-other", ""].iter().for_each(|server| world.reaches(client, server, PORT));
            world.misses(client, "wasm-web", PORT);
            world.misses(client, "web", OTHER_PORT);
        }
        for other in ["other", "wasm-other"] {
            world.reaches(other, "wasm-web", PORT);
        }
    });
}

#[test]
fn connections_that_were_let_through_go_on_and_new_ones_are_not() {
    for_each_family(async |world| {
        let (web, client) = (world.who("web"), world.who("client"));
        let listener = web.inside(|own| TcpListener::bind((own, 80)).unwrap());
        let target = SocketAddr::from((web.address, 80));
        let mut stream = client.inside(move |_| TcpStream::connect_timeout(&target, Duration::from_secs(60)).unwrap());
        let (mut accepted, _) = listener.accept().unwrap();
        world.enforce(&[json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})]).await;
        let refused = client.inside(move |_| TcpStream::connect_timeout(&target, Duration::from_millis(500)));
        refused.expect_err("is not let through");
        let mut said = [0; 2];
        for stream in [&stream, &accepted] {
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        }
        stream.write_all(b"on").unwrap();
        accepted.read_exact(&mut said).unwrap();
        accepted.write_all(&said).unwrap();
        stream.read_exact(&mut said).unwrap();
    });
}
