//! A name server that knows a few names, and a client that asks any.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::cluster::Cluster;
use crate::wait::eventually;

/// How long one datagram is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// On loopback, until it is dropped.
pub struct NameServer {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// One that knows these names, each with a final dot, and no others.
    ///
    /// # Panics
    /// When there is no port.
    pub fn knowing(names: &[(&str, Ipv4Addr)]) -> Self {
        let names: BTreeMap<String, Ipv4Addr> = names.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect();
        let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
        socket.set_read_timeout(Some(PATIENCE)).expect("is a socket");
        let (address, ended) = (socket.local_addr().expect("is bound"), Arc::new(AtomicBool::new(false)));
        let end = ended.clone();
        let serve = move || {
            let mut buffer = [0; 4096];
            while !end.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
                let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
                let answer = answer(&question, &names).to_vec().expect("is short");
                let _ = socket.send_to(&answer, client);
            }
        };
        Self { address, ended, thread: Some(std::thread::spawn(serve)) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn answer(question: &Message, names: &BTreeMap<String, Ipv4Addr>) -> Message {
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    for query in &question.queries {
        answer.add_query(query.clone());
        match names.get(&query.name().to_string()) {
            None => answer.metadata.response_code = ResponseCode::NXDomain,
            Some(address) if query.query_type() == RecordType::A => {
                answer.add_answer(Record::from_rdata(query.name().clone(), 60, RData::A(A(*address))));
            }
            Some(_) => {}
        }
    }
    answer
}

/// What a server says of a name, `SRV` say: its records' data sorted, or the response code of a failure.
///
/// # Panics
/// When it says nothing.
pub fn ask(server: SocketAddr, name: &str, kind: &str) -> Result<Vec<String>, ResponseCode> {
    let question = question(name, kind);
    let answer = eventually(&format!("{server} says something"), || try_ask(server, &question));
    match answer.metadata.response_code {
        ResponseCode::NoError => {
            let mut said: Vec<_> = answer.answers.iter().map(|record| record.data.to_string()).collect();
            said.sort();
            Ok(said)
        }
        code => Err(code),
    }
}

/// The question as it is sent.
///
/// # Panics
/// When there are no such names, or records.
pub fn question(name: &str, kind: &str) -> Vec<u8> {
    let mut message = Message::new(0x4d7a, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(name).expect("is a name");
    message.add_query(Query::query(name, kind.parse().expect("is a type")));
    message.to_vec().expect("is short")
}

/// Where the only node of a cluster serves names: the endpoint of the service that everybody knows them by.
///
/// # Panics
/// When it does not.
pub fn served_at(cluster: &Cluster) -> SocketAddr {
    let label = "kubernetes.io/service-name=kube-dns";
    let address = eventually("the service of names has its endpoint", || {
        let slices = cluster.get(&["endpointslices", "-n", "kube-system", "-l", label])?;
        slices["items"][0]["endpoints"][0]["addresses"][0].as_str()?.parse::<Ipv4Addr>().ok()
    });
    SocketAddr::from((address, 53))
}

fn try_ask(server: SocketAddr, question: &[u8]) -> Option<Message> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("binds");
    socket.set_read_timeout(Some(PATIENCE * 10)).expect("is a socket");
    socket.connect(server).expect("has an address");
    let mut buffer = [0; 4096];
    let received = socket.send(question).and_then(|_| socket.recv(&mut buffer));
    match received {
        Ok(length) => Some(Message::from_vec(&buffer[..length]).expect("is an answer")),
        Err(error) => {
            assert!(
                matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "{error}"
            );
            None
        }
    }
}
