use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;

use super::*;
use crate::message::tests::question;
use crate::testing::{Manner, Upstream, cluster_ip, headless, responder, slice, zone};

/// A server on loopback with one small and one large name.
async fn serve(upstreams: &[SocketAddr]) -> SocketAddr {
    let mut zone = zone();
    zone.set_service("n", "web", cluster_ip(&["10.96.0.5"], &[]));
    zone.set_service("n", "many", headless(false));
    let addresses: Vec<String> = (1..=200).map(|n| format!("10.0.0.{n}")).collect();
    let endpoints: Vec<_> = addresses.iter().map(|address| (address.as_str(), "", true)).collect();
    zone.set_slice("n", "many", "1", slice(&endpoints, &[]));
    let (datagrams, connections) = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = connections.local_addr().unwrap();
    let responder = responder(zone, upstreams);
    tokio::spawn(answer_datagrams(datagrams, responder.clone()));
    tokio::spawn(answer_connections(connections, responder));
    address
}

async fn client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    socket
}

async fn receive(socket: &UdpSocket) -> Message {
    let mut buffer = [0; 4096];
    let length = timeout(Duration::from_secs(20), socket.recv(&mut buffer)).await.expect("an answer comes").unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

async fn by_stream(stream: &mut TcpStream, question: &[u8]) -> Message {
    stream.write_all(&[&u16::try_from(question.len()).unwrap().to_be_bytes(), question].concat()).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

const WEB: &str = "web.n.svc.cluster.local.";
const MANY: &str = "many.n.svc.cluster.local.";

#[tokio::test]
async fn what_does_not_fit_into_a_datagram_comes_by_tcp_several_on_one_connection() {
    let server = serve(&[]).await;
    let socket = client(server).await;
    socket.send(&question(MANY, RecordType::A, None)).await.unwrap();
    assert!(receive(&socket).await.metadata.truncation);
    let mut stream = TcpStream::connect(server).await.unwrap();
    for (name, count) in [(MANY, 200), (WEB, 1), (MANY, 200)] {
        assert_eq!(by_stream(&mut stream, &question(name, RecordType::A, None)).await.answers.len(), count);
    }
}

#[tokio::test]
async fn servers_outside_that_say_nothing_hold_no_name_of_the_cluster_up() {
    let silent = Upstream::start(Manner::Silent).await;
    let server = serve(&[silent.address]).await;
    let socket = client(server).await;
    for number in 0..300 {
        socket.send(&question(&format!("x{number}.example."), RecordType::A, None)).await.unwrap();
    }
    socket.send(&question(WEB, RecordType::A, None)).await.unwrap();
    assert_eq!(receive(&socket).await.answers.len(), 1, "the first answer is the last question's");
}

#[tokio::test]
async fn rubbish_is_no_reason_to_stop() {
    let server = serve(&[]).await;
    let socket = client(server).await;
    for bytes in [&b""[..], b"\0", &[0xff; 512], &[0; 12], &[0; 4096], &[0xc0; 60_000]] {
        socket.send(bytes).await.unwrap();
    }
    socket.send(&question(WEB, RecordType::A, None)).await.unwrap();
    while receive(&socket).await.answers.is_empty() {}
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(&[0xff; 4]).await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0, "a message that is too long ends the connection");
}

#[tokio::test]
async fn a_client_with_too_many_connections_gets_no_more_until_the_idle_ones_are_closed() {
    let server = serve(&[]).await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_OF_ONE {
        let mut stream = TcpStream::connect(server).await.unwrap();
        // It has its place.
        by_stream(&mut stream, &question(WEB, RecordType::A, None)).await;
        idle.push(stream);
    }
    let mut more = TcpStream::connect(server).await.unwrap();
    assert_eq!(more.read(&mut [0; 8]).await.unwrap_or(0), 0, "it is closed");
    // Half a message is no reason to wait for ever.
    idle[0].write_all(&[0, 40, 1, 2, 3]).await.unwrap();
    assert_eq!(idle[0].read(&mut [0; 8]).await.unwrap_or(0), 0, "it is closed");
    let mut again = TcpStream::connect(server).await.unwrap();
    assert_eq!(by_stream(&mut again, &question(WEB, RecordType::A, None)).await.answers.len(), 1);
}
