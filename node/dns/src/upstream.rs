//! Asking other name servers: one exchange with one of them, and whom to ask in what order.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::PORT;
use crate::cache::Key;
use crate::message::{self, DATAGRAM};
use crate::resolv_conf::ResolvConf;

/// How long one server may take, and all of them together: less than the five seconds that clients wait.
const ATTEMPT: Duration = Duration::from_millis(1500);
const ALTOGETHER: Duration = Duration::from_millis(4500);
/// How often the machine's file is looked at, when it is needed.
const LOOK: Duration = Duration::from_secs(5);
/// As many servers as the C library asks.
const MOST_SERVERS: usize = 3;
/// Questions at a time: servers that do not answer hold up no names but those that they alone know.
pub(crate) const OUTSIDE: usize = 1000;

/// Servers that know the same names.
pub(crate) struct Upstreams {
    servers: Servers,
    /// The one that answered last is asked first.
    good: AtomicUsize,
    places: Arc<Semaphore>,
}

enum Servers {
    Fixed(Arc<[SocketAddr]>),
    File(File),
}

/// A resolv.conf(5) that may change at any time.
struct File {
    path: PathBuf,
    /// Who must not be asked: ourselves.
    own: Vec<IpAddr>,
    read: Mutex<Option<(Instant, Arc<[SocketAddr]>)>>,
}

impl Upstreams {
    pub(crate) fn fixed(servers: &[SocketAddr]) -> Self {
        Self::of(Servers::Fixed(servers.into()))
    }

    pub(crate) fn of_file(path: PathBuf, own: Vec<IpAddr>) -> Self {
        Self::of(Servers::File(File { path, own, read: Mutex::default() }))
    }

    fn of(servers: Servers) -> Self {
        Self { servers, good: AtomicUsize::new(0), places: Arc::new(Semaphore::new(OUTSIDE)) }
    }

    /// Leave to ask, until it is dropped; `None` when too many ask.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// What the first server says that can say anything; `None` when none can in time.
    pub(crate) async fn ask(&self, key: &Key) -> Option<Message> {
        let servers = match &self.servers {
            Servers::Fixed(servers) => servers.clone(),
            Servers::File(file) => file.servers().await,
        };
        let mut last = None;
        if servers.is_empty() {
            tracing::debug!(name = %key.name, "there is no name server to ask");
            return last;
        }
        let deadline = Instant::now() + ALTOGETHER;
        let first = self.good.load(Ordering::Relaxed);
        // Each is asked twice: datagrams get lost.
        for turn in first..first + 2 * servers.len() {
            let server = servers[turn % servers.len()];
            let until = deadline.min(Instant::now() + ATTEMPT);
            let asked = timeout_at(until, exchange(server, key)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match asked {
                Ok(answer) if is_final(answer.metadata.response_code) => {
                    self.good.store(turn % servers.len(), Ordering::Relaxed);
                    return Some(answer);
                }
                // Another may know better.
                Ok(answer) => last = Some(answer),
                Err(error) => tracing::debug!(%server, name = %key.name, %error, "a name server does not answer"),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        last
    }
}

fn is_final(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

impl File {
    async fn servers(&self) -> Arc<[SocketAddr]> {
        let known = self.read.lock().clone();
        let stale = match known {
            Some((since, servers)) if since.elapsed() < LOOK => return servers,
            Some((_, servers)) => Some(servers),
            None => None,
        };
        let servers: Arc<[SocketAddr]> = match tokio::fs::read_to_string(&self.path).await {
            Ok(text) => {
                let others = ResolvConf::parse(&text);
                let others = others.addresses().filter(|address| !self.own.contains(address));
                others.take(MOST_SERVERS).map(|address| SocketAddr::new(address, PORT)).collect()
            }
            // Somebody is writing it anew.
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "not read");
                stale.unwrap_or_default()
            }
        };
        *self.read.lock() = Some((Instant::now(), servers.clone()));
        servers
    }
}

/// By datagram, and by TCP where the answer does not fit into one. A server that does not know EDNS is asked without.
async fn exchange(server: SocketAddr, key: &Key) -> io::Result<Message> {
    let answer = by_datagram(server, key, true).await?;
    let code = answer.metadata.response_code;
    let answer = match matches!(code, ResponseCode::FormErr | ResponseCode::NotImp) && answer.edns.is_none() {
        true => by_datagram(server, key, false).await?,
        false => answer,
    };
    if answer.metadata.truncation { by_stream(server, key).await } else { Ok(answer) }
}

/// A question under an identity that nobody can guess.
fn question(key: &Key, extended: bool) -> io::Result<(u16, Vec<u8>)> {
    let id = rand::random();
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = key.checking_disabled;
    message.add_query(Query::query(key.name.clone(), key.kind));
    if extended || key.dnssec_ok {
        let mut edns = Edns::new();
        edns.set_max_payload(DATAGRAM).set_dnssec_ok(key.dnssec_ok);
        message.set_edns(edns);
    }
    Ok((id, message.to_vec().map_err(io::Error::other)?))
}

async fn by_datagram(server: SocketAddr, key: &Key, extended: bool) -> io::Result<Message> {
    let any = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    // A port of its own for each question, which the kernel picks at random.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let (id, bytes) = question(key, extended)?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What cannot be read, or answers something else, is not from whom was asked.
        if let Some(answer) = read(&buffer[..length], id, key) {
            return Ok(answer);
        }
    }
}

async fn by_stream(server: SocketAddr, key: &Key) -> io::Result<Message> {
    let mut stream = timeout(ATTEMPT, TcpStream::connect(server)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let (id, bytes) = question(key, true)?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), &bytes[..]].concat()).await?;
    let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut buffer).await?;
    read(&buffer, id, key).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no answer to the question"))
}

fn read(bytes: &[u8], id: u16, key: &Key) -> Option<Message> {
    let counted = bytes.get(4..6)?;
    // hickory makes room for as many questions as the header says.
    let message = if counted == [0, 1] { Message::from_vec(bytes).ok()? } else { return None };
    message::answers(&message, id, &key.name, key.kind).then_some(message)
}
