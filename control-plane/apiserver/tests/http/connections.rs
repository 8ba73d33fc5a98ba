//! Clients that hold on to connections without using them: they are given up, and nobody else notices.

use std::sync::Arc;
use std::time::Duration;

use mizzen_apiserver::Settings;
use mizzen_apiserver::server::Deadlines;
use mizzen_store::{HISTORY_BYTES, MemoryStore};
use reqwest::Method;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

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
