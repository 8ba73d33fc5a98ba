//! Listening for questions: datagrams and TCP, on the node's own addresses only.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mizzen_reconcile::Backoff;
use parking_lot::RwLock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::forward::Forwarder;
use crate::message::Transport;
use crate::places::{Place, Places};
use crate::responder::{Responder, Step};
use crate::sockets;
use crate::source::{self, Source};
use crate::zone::Zone;
use crate::{DnsError, PORT, Settings};

/// A question has a few hundred bytes at most.
const LONGEST_QUESTION: usize = 4096;
/// Connections, of all clients and of each.
const CONNECTIONS: usize = 1024;
const CONNECTIONS_OF_ONE: usize = 32;
/// How long a connection may say nothing, and how long one message may take either way.
const IDLE: Duration = Duration::from_secs(10);
const MESSAGE: Duration = Duration::from_secs(3);
/// As many tasks read a socket's datagrams: one that writes an answer does not keep the next question waiting.
const READERS: usize = 2;
/// So many errors of a socket in a row are no client's.
const LASTING: u32 = 100;
/// Somebody else may have the port.
const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));

/// Serves the cluster's names on port 53 of `addresses` until `cancel`. An address that cannot be listened on is tried again.
///
/// # Errors
/// When the settings name what is no domain.
pub async fn serve(settings: &Settings, addresses: &[IpAddr], names: Source, cancel: CancellationToken) -> Result<(), DnsError> {
    let zone = Arc::new(RwLock::new(Zone::new(&settings.cluster_domain, addresses.to_vec())?));
    let forwarder = Arc::new(Forwarder::new(settings, addresses)?);
    let (synced, is_synced) = watch::channel(false);
    let responder = Arc::new(Responder::new(zone.clone(), is_synced, forwarder));
    let mut tasks = JoinSet::new();
    for address in addresses {
        tasks.spawn(listen(SocketAddr::new(*address, PORT), responder.clone()));
    }
    source::follow(names, zone, synced, cancel).await;
    Ok(())
}

/// Never ends.
async fn listen(address: SocketAddr, responder: Arc<Responder>) {
    let mut failures = 0;
    let (datagrams, connections) = loop {
        match bind(address).await {
            Ok(bound) => break bound,
            Err(source) => {
                let error = DnsError::Listen { address: address.ip(), source };
                if failures == 0 {
                    tracing::warn!(%error, "pods of this node have no names of the cluster until it succeeds");
                }
                tokio::time::sleep(RETRY.delay(failures)).await;
                failures = failures.saturating_add(1);
            }
        }
    };
    tokio::join!(answer_datagrams(datagrams, responder.clone()), answer_connections(connections, responder));
}

async fn bind(address: SocketAddr) -> io::Result<(Vec<UdpSocket>, TcpListener)> {
    // First: of two who both deal datagrams out, the kernel refuses none.
    let connections = TcpListener::bind(address).await?;
    // Of the same number, where the kernel picked it.
    let datagrams = sockets::open(connections.local_addr()?)?;
    Ok((datagrams, connections))
}

async fn answer_datagrams(sockets: Vec<UdpSocket>, responder: Arc<Responder>) {
    let mut readers = JoinSet::new();
    for socket in sockets.into_iter().map(Arc::new) {
        for _ in 0..READERS {
            readers.spawn(read_datagrams(socket.clone(), responder.clone()));
        }
    }
    while readers.join_next().await.is_some() {}
}

async fn read_datagrams(socket: Arc<UdpSocket>, responder: Arc<Responder>) {
    let mut failures = 0;
    loop {
        // After some of them the runtime has others read theirs, though there are more.
        let received = match socket.readable().await {
            Ok(()) => begin_datagram(&socket, &responder),
            Err(error) => Err(error),
        };
        let (step, client) = match received {
            Ok(begun) => begun,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            // What a client no longer wanted is told as an error of the socket, once; whatever lasts is something else.
            Err(error) => {
                failures += 1;
                if failures >= LASTING {
                    tracing::warn!(%error, "questions cannot be read");
                    tokio::time::sleep(RETRY.delay(failures - LASTING)).await;
                }
                continue;
            }
        };
        failures = 0;
        match step {
            Step::Nothing => {}
            // An answer that does not go out at once is lost, as any datagram may be.
            Step::Answer(answer) => drop(socket.try_send_to(&answer, client)),
            Step::Later(pending) => {
                let (socket, responder) = (socket.clone(), responder.clone());
                tokio::spawn(async move {
                    let answer = responder.finish(pending).await;
                    drop(socket.send_to(&answer, client).await);
                });
            }
        }
    }
}

/// The buffer is nobody's while there is nothing to read: readers are many.
fn begin_datagram(socket: &UdpSocket, responder: &Responder) -> io::Result<(Step, SocketAddr)> {
    let mut buffer = [0; LONGEST_QUESTION];
    let (length, client) = socket.try_recv_from(&mut buffer)?;
    Ok((responder.begin(&buffer[..length], client.ip(), Transport::Datagram), client))
}

async fn answer_connections(listener: TcpListener, responder: Arc<Responder>) {
    let places = Places::new(CONNECTIONS, CONNECTIONS_OF_ONE);
    loop {
        let Ok((stream, client)) = listener.accept().await else {
            // Out of file descriptors, perhaps.
            tokio::time::sleep(RETRY.delay(0)).await;
            continue;
        };
        if let Some(place) = places.enter(client.ip()) {
            tokio::spawn(converse(stream, client.ip(), responder.clone(), place));
        }
    }
}

/// Questions one after the other, until the client has no more, is too slow, or writes nonsense.
async fn converse(mut stream: TcpStream, client: IpAddr, responder: Arc<Responder>, _place: Place) {
    let mut buffer = vec![0; LONGEST_QUESTION];
    while let Ok(Ok(length)) = timeout(IDLE, stream.read_u16()).await {
        let Some(question) = buffer.get_mut(..usize::from(length)) else { return };
        let Ok(Ok(_)) = timeout(MESSAGE, stream.read_exact(question)).await else { return };
        let answer = match responder.begin(question, client, Transport::Stream) {
            Step::Nothing => return,
            Step::Answer(answer) => answer,
            Step::Later(pending) => responder.finish(pending).await,
        };
        let Ok(length) = u16::try_from(answer.len()) else { return };
        let framed = [&length.to_be_bytes(), &answer[..]].concat();
        let Ok(Ok(())) = timeout(MESSAGE, stream.write_all(&framed)).await else { return };
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
