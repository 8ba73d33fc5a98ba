//! What a pod sends leaves from its own address.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use mizzen_runtime::Runtime;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::Node;

/// Says to every client what its address is.
fn tells_peers(node: &Node, port: u16) {
    let open = move || TcpListener::bind(("10.99.0.9", port));
    node.serve(open, |listener| {
        for mut stream in listener.incoming().flatten() {
            let peer = stream.peer_addr().unwrap().ip();
            let _ = writeln!(stream, "{peer}");
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_datagrams_leave_from_the_pods_own_address() {
    let node = Node::new();
    tells_peers(&node, 7001);
    node.serve(
        || UdpSocket::bind("10.99.0.9:7002"),
        |socket| {
            let mut bytes = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut bytes) {
                let _ = socket.send_to(format!("{}\n", peer.ip()).as_bytes(), peer);
            }
        },
    );
    let hosts = node.write("hosts", b"10.99.0.9 server\n");
    for (id, address, args) in [
        ("tcp", "10.99.0.2", &["connect", "10.99.0.9:7001"][..]),
        ("name", "10.99.0.3", &["connect", "server:7001"][..]),
        ("udp", "10.99.0.4", &["datagram", "10.99.0.9:7002", "who am I"][..]),
    ] {
        let mut spec = node.cli(id, args);
        spec.sandbox.addresses = vec![address.parse().unwrap()];
        spec.mounts = vec![node.mount(&hosts, "/etc/hosts", false)];
        let (exit, entries) = node.run(&spec).await;
        assert_eq!((exit.code, entries), (0, vec![format!("stdout F {address}")]), "{id}");
    }
}

/// Reads a request and answers with the client's address.
fn answer(mut stream: impl Read + Write, peer: &TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(&mut stream).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let body = peer.peer_addr()?.ip().to_string();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())?;
    stream.flush()
}

#[tokio::test(flavor = "multi_thread")]
async fn https_requests_trust_whom_the_pod_says_and_nobody_else() {
    let node = Node::new();
    let names = vec!["10.99.0.9".to_owned(), "secure.example".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap());
    node.serve(
        || TcpListener::bind("10.99.0.9:7443"),
        move |listener| {
            for stream in listener.incoming().flatten() {
                let peer = stream.try_clone().unwrap();
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                // A client that does not trust us hangs up.
                let _ = answer(StreamOwned::new(session, stream), &peer);
            }
        },
    );
    node.serve(
        || TcpListener::bind("10.99.0.9:7080"),
        |listener| {
            for stream in listener.incoming().flatten() {
                let peer = stream.try_clone().unwrap();
                let _ = answer(stream, &peer);
            }
        },
    );
    let ca = node.write("ca.crt", cert.pem().as_bytes());
    let hosts = node.write("hosts", b"10.99.0.9 secure.example other.example\n");
    let mounts = vec![node.mount(&ca, "/ca/ca.crt", true), node.mount(&hosts, "/etc/hosts", false)];
    let mut trusting = node.tryout("trusting", "10.99.0.5");
    trusting.mounts = mounts.clone();
    trusting.process.env = vec![("SSL_CERT_FILE".into(), "/ca/ca.crt".into())];
    let mut wary = node.tryout("wary", "10.99.0.6");
    wary.mounts = mounts;
    node.runtime.start(&trusting).await.unwrap();
    node.runtime.start(&wary).await.unwrap();

    for url in ["http://10.99.0.9:7080/", "https://10.99.0.9:7443/", "https://secure.example:7443/path"] {
        let answer = node.get_path("10.99.0.5", &format!("/fetch?{url}")).await;
        assert!(answer.contains("200 OK") && answer.contains("10.99.0.5"), "{url}: {answer}");
    }
    let answer = node.get_path("10.99.0.5", "/fetch?https://other.example:7443/").await;
    assert!(answer.contains("502") && answer.contains("TlsCertificateError"), "another's name: {answer}");
    let answer = node.get_path("10.99.0.6", "/fetch?https://secure.example:7443/").await;
    assert!(answer.contains("502") && answer.contains("TlsCertificateError"), "nobody vouches for it: {answer}");
    let answer = node.get_path("10.99.0.6", "/fetch?http://nobody.example/").await;
    assert!(answer.contains("502") && answer.contains("DnsError"), "{answer}");
}
