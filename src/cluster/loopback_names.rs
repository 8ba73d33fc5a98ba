//! The way from network namespaces of this machine to name servers on its loopback, dnsmasq's or unbound's, say: each namespace
//! has a loopback of its own, so the same addresses of it are listened on, and what comes is asked from here.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mizzen_client::relay;
use mizzen_dns::resolv_conf::ResolvConf;
use mizzen_dns::{PORT, Settings};
use mizzen_network::Machine;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What the C library of the agents reads.
const USUAL: &str = "/etc/resolv.conf";
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long a question may wait for its answer, and a connection may last: longer than anybody asks.
const ANSWER: Duration = Duration::from_secs(10);
const CONNECTION: Duration = Duration::from_secs(60);
/// Questions of one machine that may wait for one server, connections among them; more are lost.
const WAITING: usize = 512;
/// After an error of a socket: it is out of file descriptors, perhaps.
const RETRY: Duration = Duration::from_millis(50);
const DATAGRAM: usize = 4096;

/// Who is asked, by the machine's files and the node's configuration.
#[derive(Clone)]
pub struct Asked {
    files: BTreeSet<PathBuf>,
    named: BTreeSet<SocketAddr>,
}

impl Asked {
    pub fn by(settings: &Settings) -> Self {
        let named = settings.upstreams.iter().chain(settings.stub_domains.values().flatten());
        let named = named.filter(|server| server.ip().is_loopback()).copied().collect();
        Self { files: [PathBuf::from(USUAL), settings.resolv_conf.clone()].into(), named }
    }

    /// Those on loopback, as the files are now.
    async fn servers(&self) -> BTreeSet<SocketAddr> {
        let mut servers = self.named.clone();
        for file in &self.files {
            // One that is not there names nobody.
            let text = tokio::fs::read_to_string(file).await.unwrap_or_default();
            let on_loopback = ResolvConf::parse(&text).addresses().filter(IpAddr::is_loopback).collect::<Vec<_>>();
            servers.extend(on_loopback.into_iter().map(|address| SocketAddr::new(address, PORT)));
        }
        servers
    }
}

/// A listener in a namespace, for one server.
struct Door {
    datagrams: UdpSocket,
    connections: TcpListener,
}

/// Leads until it is dropped. A server that is named later is led to within seconds.
pub struct LoopbackNames(JoinSet<()>);

impl LoopbackNames {
    pub fn new() -> Self {
        Self(JoinSet::new())
    }

    /// Returns when the machine reaches those that are named now, or cannot: somebody may have their port there.
    pub async fn lead(&mut self, machine: &Machine, asked: Asked) {
        let mut led = Led::default();
        led.set(machine, asked.servers().await).await;
        let machine = machine.clone();
        self.0.spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                led.set(&machine, asked.servers().await).await;
            }
        });
    }
}

/// The servers that a machine is led to.
#[derive(Default)]
struct Led {
    serving: HashMap<SocketAddr, JoinSet<()>>,
    /// They were told of.
    refused: BTreeSet<SocketAddr>,
}

impl Led {
    async fn set(&mut self, machine: &Machine, servers: BTreeSet<SocketAddr>) {
        self.serving.retain(|server, _| servers.contains(server));
        for server in servers {
            if self.serving.contains_key(&server) {
                continue;
            }
            match open(machine, server).await {
                Ok(door) => {
                    self.refused.remove(&server);
                    let mut serving = JoinSet::new();
                    serving.spawn(serve(door, server));
                    self.serving.insert(server, serving);
                }
                Err(error) => {
                    if self.refused.insert(server) {
                        tracing::warn!(%server, %machine.address, "a further node does not reach this name server: {error:#}");
                    }
                }
            }
        }
    }
}

async fn open(machine: &Machine, server: SocketAddr) -> anyhow::Result<Door> {
    let (datagrams, connections) = machine
        .open("name servers", move || {
            let datagrams = std::net::UdpSocket::bind(server)?;
            let connections = std::net::TcpListener::bind(server)?;
            datagrams.set_nonblocking(true)?;
            connections.set_nonblocking(true)?;
            Ok((datagrams, connections))
        })
        .await?;
    Ok(Door { datagrams: UdpSocket::from_std(datagrams)?, connections: TcpListener::from_std(connections)? })
}

/// Never ends.
async fn serve(Door { datagrams, connections }: Door, server: SocketAddr) {
    let waiting = Arc::new(Semaphore::new(WAITING));
    tokio::join!(lead_datagrams(Arc::new(datagrams), server, waiting.clone()), lead_connections(connections, server, waiting));
}

async fn lead_datagrams(socket: Arc<UdpSocket>, server: SocketAddr, waiting: Arc<Semaphore>) {
    let mut questions = JoinSet::new();
    let mut buffer = [0; DATAGRAM];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        while questions.try_join_next().is_some() {}
        let Ok(place) = waiting.clone().try_acquire_owned() else { continue };
        let (question, socket) = (buffer[..length].to_vec(), socket.clone());
        questions.spawn(async move {
            let _place = place;
            match timeout(ANSWER, ask(server, &question)).await {
                Ok(Ok(answer)) => drop(socket.send_to(&answer, client).await),
                // Who asks hears nothing, as of any server that does not answer, and asks the next one.
                Ok(Err(error)) => tracing::debug!(%server, %error, "a name server of this machine does not answer"),
                Err(_) => {}
            }
        });
    }
}

async fn ask(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; DATAGRAM];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

async fn lead_connections(listener: TcpListener, server: SocketAddr, waiting: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let Ok(place) = waiting.clone().try_acquire_owned() else { continue };
        connections.spawn(async move {
            let _place = place;
            let led = async { relay(stream, TcpStream::connect(server).await?).await };
            if let Ok(Err(error)) = timeout(CONNECTION, led).await {
                tracing::debug!(%server, %error, "a connection to a name server of this machine ended");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn servers_on_loopback_are_those_of_the_files_and_of_the_configuration() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("resolv.conf");
        std::fs::write(&file, "nameserver 127.0.0.1\nnameserver 192.0.2.1\nnameserver ::1\n").expect("writes");
        let of = |text: &str| text.parse::<SocketAddr>().expect("is an address");
        let settings = Settings {
            cluster_domain: "cluster.local".to_owned(),
            resolv_conf: file.clone(),
            upstreams: vec![of("127.0.0.1:5353"), of("192.0.2.1:53")],
            stub_domains: [("corp.example".to_owned(), vec![of("127.0.0.2:53")])].into(),
        };
        let asked = Asked { files: [file.clone(), folder.path().join("none")].into(), ..Asked::by(&settings) };
        let on_loopback = ["127.0.0.1:53", "127.0.0.1:5353", "127.0.0.2:53", "[::1]:53"].map(of);
        assert_eq!(asked.servers().await, on_loopback.into());
        std::fs::write(&file, "nameserver 192.0.2.1\n").expect("writes");
        assert_eq!(asked.servers().await, on_loopback[1..3].iter().copied().collect());
    }

    #[tokio::test]
    async fn datagrams_and_connections_go_to_the_server_and_back() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        let server = socket.local_addr().expect("is bound");
        let listener = TcpListener::bind(server).await.expect("binds");
        tokio::spawn(async move {
            let mut buffer = [0; 16];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let _ = socket.send_to(&[b"by datagram: ", &buffer[..length]].concat(), client).await;
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"by stream").await;
            }
        });
        let datagrams = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        let connections = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let at = [datagrams.local_addr().expect("is bound"), connections.local_addr().expect("is bound")];
        let mut serving = JoinSet::new();
        serving.spawn(serve(Door { datagrams, connections }, server));

        let client = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        client.send_to(b"x", at[0]).await.expect("sends");
        let mut buffer = [0; 64];
        let (length, from) = client.recv_from(&mut buffer).await.expect("hears");
        assert_eq!((&buffer[..length], from), (&b"by datagram: x"[..], at[0]));
        let mut said = String::new();
        let mut stream = TcpStream::connect(at[1]).await.expect("connects");
        stream.read_to_string(&mut said).await.expect("hears");
        assert_eq!(said, "by stream");
    }
}
