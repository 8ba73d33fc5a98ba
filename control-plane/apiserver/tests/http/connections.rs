//! Clients that hold on to connections without using them: they are given up, and nobody else notices.

use std::sync::Arc;
use std::time::Duration;

use mizzen_apiserver::Settings;
use mizzen_apiserver::auth::certificates::Authority;
use mizzen_apiserver::server::Deadlines;
use mizzen_store::{HISTORY_BYTES, MemoryStore};
use reqwest::Method;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::aggregation::server_config;
use crate::served::{PODS, Served, served, served_with};
use crate::support::eventually;

const SOON: Duration = Duration::from_millis(200);
/// For what has to come about on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// Clients that do shake hands may take a while on a busy machine.
async fn impatient(handshake: Duration) -> Served {
    let deadlines = Deadlines { handshake, headers: SOON, body: SOON };
    served_with(Arc::new(MemoryStore::new(HISTORY_BYTES)), Settings { deadlines, ..Settings::default() }).await
}

/// What the server says until it ends the connection.
async fn until_ended(mut stream: impl AsyncRead + Unpin) -> String {
    let mut said = Vec::new();
    // However it ends it, it has ended.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("the server ends the connection");
    String::from_utf8_lossy(&said).into_owned()
}

async fn is_ready(served: &Served) -> bool {
    served.request(Method::GET, "/readyz").send().await.expect("an answer").status() == 200
}

#[tokio::test]
async fn who_does_not_shake_hands_is_given_up() {
    let served = impatient(SOON).await;
    let stream = TcpStream::connect(served.base.trim_start_matches("https://")).await.expect("connects");
    until_ended(stream).await;
    assert!(is_ready(&served).await);
}

#[tokio::test]
async fn who_asks_for_nothing_is_given_up() {
    let served = impatient(PATIENCE).await;
    for protocols in [&[][..], &[HTTP1], &[HTTP2]] {
        until_ended(served.connected(protocols).await).await;
    }
    // The preface of HTTP/2, and no more.
    let mut stream = served.connected(&[HTTP2]).await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("writes");
    until_ended(stream).await;
    assert!(is_ready(&served).await);
}

#[tokio::test]
async fn headers_that_never_end_are_not_waited_for() {
    let served = impatient(PATIENCE).await;
    let (reading, mut writing) = tokio::io::split(served.connected(&[HTTP1]).await);
    let dripping = tokio::spawn(async move {
        let mut sent = writing.write_all(b"GET /version HTTP/1.1\r\nhost: a\r\nx-a: ").await;
        while sent.is_ok() {
            tokio::time::sleep(SOON / 10).await;
            sent = writing.write_all(b"a").await;
        }
    });
    until_ended(reading).await;
    dripping.abort();
    // The same after a request that went well.
    let mut stream = served.connected(&[HTTP1]).await;
    stream.write_all(b"GET /version HTTP/1.1\r\nhost: a\r\n\r\nGET /version HT").await.expect("writes");
    let said = until_ended(stream).await;
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    assert_eq!(said.matches("HTTP/1.1 200").count(), 1, "{said}");
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let served = served().await;
    let mut stream = served.connected(&[HTTP1]).await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(1 << 20));
    // The server may end the connection before it has read everything.
    let _ = stream.write_all(long.as_bytes()).await;
    let said = until_ended(stream).await;
    assert!(said.is_empty() || ["HTTP/1.1 414", "HTTP/1.1 431"].iter().any(|begin| said.starts_with(begin)), "{said}");
    let selector = "a".repeat(60_000);
    let response = served.request(Method::GET, &format!("{PODS}?labelSelector={selector}")).send().await;
    let code = response.map(|response| response.status().as_u16());
    assert!(code.as_ref().is_ok_and(|code| [400, 414, 431].contains(code)), "{code:?}");
    assert!(is_ready(&served).await);
}

#[tokio::test]
async fn a_body_that_never_ends_is_answered() {
    let served = impatient(PATIENCE).await;
    let mut stream = served.connected(&[HTTP1]).await;
    let request = format!("POST {PODS} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{");
    stream.write_all(request.as_bytes()).await.expect("writes");
    let said = until_ended(stream).await;
    assert!(said.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{said}");
    assert!(said.contains("\"reason\":\"Timeout\""), "{said}");
}

/// A connection to the same server, to which the client shows a certificate.
async fn known(served: &Served) -> TlsStream<TcpStream> {
    let now = crate::support::now();
    let authority = Authority::generate("test", now).expect("generates");
    let pair = authority.server("server", &["localhost"], &[], now).expect("signs");
    let tls = server_config(&pair, &authority.pem().certificate);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
    tokio::spawn(served.server.clone().serve(listener, tls, served.shutdown.clone()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().certificate.as_bytes()).expect("a certificate")).expect("a root");
    let own = authority.client("ann", "devs", now).expect("signs");
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).expect("a certificate")],
            PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key"),
        )
        .expect("the key fits the certificate");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("shakes hands")
}

// Kinds of frames of HTTP/2 (RFC 9113).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// So many requests, each of which is taken back at once, and then a ping. A server reads all of it before it looks at what is
/// asked.
fn taken_back(count: u32) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("is short").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    for number in 0..count {
        let stream = 2 * number + 1;
        // GET, https, / and the authority "a" in HPACK (RFC 7541); with them headers and request end.
        bytes.extend(frame(HEADERS, 0x5, stream, &[0x82, 0x87, 0x84, 0x01, 1, b'a']));
        // It is cancelled.
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    bytes.extend(frame(PING, 0, 0, &[7; 8]));
    bytes
}

/// Whether the server answers the ping after so many requests that were taken back, or ends the connection.
async fn goes_on(mut stream: TlsStream<TcpStream>, count: u32) -> bool {
    stream.write_all(&taken_back(count)).await.expect("writes");
    let answer = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.expect("a frame");
            if [PING, GOAWAY].contains(&head[3]) {
                return head[3] == PING;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            stream.read_exact(&mut vec![0; length as usize]).await.expect("the frame");
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.expect("an answer to the ping")
}

#[tokio::test]
async fn only_who_shows_a_certificate_takes_back_many_requests_at_once() {
    let served = served().await;
    assert!(goes_on(served.connected(&[HTTP2]).await, 10).await);
    assert!(!goes_on(served.connected(&[HTTP2]).await, 200).await);
    assert!(goes_on(known(&served).await, 200).await);
    assert!(is_ready(&served).await);
}

/// How many watches of pods are open, as the metrics say.
async fn open_watches(served: &Served) -> String {
    let page = served.request(Method::GET, "/metrics").send().await.expect("an answer").text().await.expect("text");
    let line = page.lines().find(|line| line.starts_with("apiserver_longrunning_requests{") && line.contains("\"pods\""));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0").to_owned()
}

async fn until_open(served: &Served, wanted: &str) {
    eventually("so many open watches", async || match open_watches(served).await {
        open if open == wanted => Ok(()),
        open => Err(format!("{open}, not {wanted}")),
    })
    .await;
}

#[tokio::test]
async fn a_watch_whose_client_is_gone_ends() {
    let served = served().await;
    let request = format!("GET {PODS}?watch=true HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut watches = Vec::new();
    for _ in 0..3 {
        let mut stream = served.connected(&[HTTP1]).await;
        stream.write_all(request.as_bytes()).await.expect("writes");
        stream.read_u8().await.expect("it begins");
        watches.push(stream);
    }
    until_open(&served, "3").await;
    // One says that it will ask no more, one is closed, one is cut off.
    let mut half_closed = watches.remove(0);
    half_closed.shutdown().await.expect("closes its side");
    until_open(&served, "2").await;
    drop(watches.remove(0));
    until_open(&served, "1").await;
    let (socket, _) = watches.remove(0).into_inner();
    socket.set_zero_linger().expect("is a socket");
    drop(socket);
    until_open(&served, "0").await;
    drop(half_closed);
}

#[tokio::test]
async fn many_idle_connections_disturb_nobody_and_go() {
    let served = impatient(10 * SOON).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(served.base.trim_start_matches("https://")).await.expect("connects"));
        idle.push(served.connected(&[]).await.into_inner().0);
        assert!(idle.len() % 100 != 0 || is_ready(&served).await);
    }
    for stream in idle {
        until_ended(stream).await;
    }
    assert!(is_ready(&served).await);
}
