//! Worlds for tests: services and slices in short, and a name server to ask.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Edns, Message, OpCode, Query};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use parking_lot::RwLock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use crate::Settings;
use crate::cache::Key;
use crate::forward::Forwarder;
use crate::responder::Responder;
use crate::views::{Endpoint, Port, ServiceView, SliceView};
use crate::zone::Zone;

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub(crate) fn key(text: &str) -> Key {
    Key { name: name(text), kind: RecordType::A, dnssec_ok: false, checking_disabled: false }
}

fn ports(ports: &[(&str, &'static str, u16)]) -> Vec<Port> {
    ports.iter().map(|(name, protocol, number)| Port { name: (*name).into(), protocol, number: *number }).collect()
}

pub(crate) fn cluster_ip(addresses: &[&str], of: &[(&str, &'static str, u16)]) -> Option<Arc<ServiceView>> {
    let addresses = addresses.iter().map(|address| ip(address)).collect();
    Some(Arc::new(ServiceView { addresses, ports: ports(of), ..ServiceView::default() }))
}

pub(crate) fn headless(publish_not_ready: bool) -> Option<Arc<ServiceView>> {
    Some(Arc::new(ServiceView { headless: true, publish_not_ready, ..ServiceView::default() }))
}

pub(crate) fn external(alias: &str) -> Option<Arc<ServiceView>> {
    Some(Arc::new(ServiceView { alias: Some(name(alias)), ..ServiceView::default() }))
}

/// Endpoints as (address, host name or nothing, ready).
pub(crate) fn slice(endpoints: &[(&str, &str, bool)], of: &[(&str, &'static str, u16)]) -> Option<Arc<SliceView>> {
    let endpoint = |(address, hostname, ready): &(&str, &str, bool)| Endpoint {
        addresses: vec![ip(address)],
        hostname: (!hostname.is_empty()).then(|| (*hostname).into()),
        ready: *ready,
    };
    let endpoints = endpoints.iter().map(endpoint).collect();
    Some(Arc::new(SliceView { service: "".into(), endpoints, ports: ports(of) }))
}

pub(crate) fn zone() -> Zone {
    Zone::new("cluster.local", vec![ip("10.64.0.1")]).unwrap()
}

pub(crate) fn settings(upstreams: &[SocketAddr]) -> Settings {
    Settings {
        cluster_domain: "cluster.local".to_owned(),
        resolv_conf: "/nowhere".into(),
        upstreams: upstreams.to_vec(),
        stub_domains: [].into(),
    }
}

pub(crate) fn responder(zone: Zone, upstreams: &[SocketAddr]) -> Arc<Responder> {
    // The word that the zone is whole is kept after its sender has gone.
    let (_, synced) = watch::channel(true);
    let forwarder = Forwarder::new(&settings(upstreams), &[]).unwrap();
    Arc::new(Responder::new(Arc::new(RwLock::new(zone)), synced, Arc::new(forwarder)))
}

/// What a fake server says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One address for any name.
    Answers,
    /// More than a datagram takes.
    AnswersAtLength,
    Fails,
    Silent,
    /// Has never heard of EDNS.
    Old,
}

/// A port that is free for datagrams may be another's for connections.
async fn port_of_both() -> (UdpSocket, TcpListener) {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        match TcpListener::bind(socket.local_addr().unwrap()).await {
            Ok(listener) => return (socket, listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => panic!("listen for connections: {error}"),
        }
    }
}

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Upstream {
    pub(crate) async fn start(manner: Manner) -> Self {
        let (socket, listener) = port_of_both().await;
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                counted.fetch_add(1, Ordering::SeqCst);
                if let Some(answer) = answer(&buffer[..length], manner, false) {
                    socket.send_to(&answer, client).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut question).await.unwrap();
                let answer = answer(&question, manner, true).unwrap();
                stream.write_all(&[&u16::try_from(answer.len()).unwrap().to_be_bytes(), &answer[..]].concat()).await.unwrap();
            }
        });
        Self { address, asked }
    }

    /// Datagrams that it got.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(question: &[u8], manner: Manner, stream: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).unwrap();
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    let query: &Query = &question.queries[0];
    answer.add_query(query.clone());
    let addresses = match manner {
        Manner::Silent => return None,
        Manner::Fails => 0,
        Manner::Old if question.edns.is_some() => 0,
        Manner::AnswersAtLength if stream => 300,
        _ => 1,
    };
    answer.metadata.response_code = match (manner, addresses) {
        (Manner::Fails, _) => hickory_proto::op::ResponseCode::ServFail,
        (_, 0) => hickory_proto::op::ResponseCode::FormErr,
        _ => hickory_proto::op::ResponseCode::NoError,
    };
    answer.metadata.truncation = manner == Manner::AnswersAtLength && !stream;
    for number in 1..=addresses {
        let [.., high, low] = u32::to_be_bytes(number);
        answer.add_answer(Record::from_rdata(query.name().clone(), 60, RData::A(A::new(192, 0, high, low))));
    }
    if question.edns.is_some() && manner != Manner::Old {
        answer.set_edns(Edns::new());
    }
    Some(answer.to_vec().unwrap())
}
