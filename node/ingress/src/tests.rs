//! The proxy over loopback, with real servers behind it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::resolve::Speaks;
use crate::testing::{Door, Pair, Server, backend, get, raw, replace, send, text, tls};

/// Nobody listens there.
fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    listener.local_addr().expect("is bound")
}

/// One HTTP/1.1 connection to the proxy, kept alive.
async fn kept(address: SocketAddr) -> http1::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("speaks HTTP");
    tokio::spawn(connection);
    sender
}

fn asked(method: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path).header("host", "a.example");
    request.body(Full::new(body.into())).expect("is a request")
}

async fn body_of(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.expect("ends well").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("is text")
}

#[tokio::test]
async fn requests_go_by_host_and_path_and_keep_both() {
    let (one, other) = (Server::named("one").await, Server::named("other").await);
    let door = Door::open().await;
    let [first, second] = [&one, &other].map(|server| backend(Speaks::Http1, &[server.address]));
    door.rules(&[("a.example", "/", first), ("*.b.example", "/x", second)]);
    let port = door.http.port();
    let host = format!("A.example:{port}");
    let (status, body) = get(door.http, &host, "/p/q?r=s").await;
    assert_eq!((status, body), (200, format!("one /p/q?r=s HTTP/1.1 {host} {host} http")));
    let (_, body) = get(door.http, "y.b.example", "/x/%7Ey").await;
    assert_eq!(body, "other /x/%7Ey HTTP/1.1 y.b.example y.b.example http");
    for (host, path) in [("y.b.example", "/y"), ("c.example", "/"), ("b.example", "/x")] {
        assert_eq!(get(door.http, host, path).await.0, 404, "{host}{path}");
    }
}

#[tokio::test]
async fn what_is_no_proper_request_is_refused() {
    let server = Server::named("it").await;
    let door = Door::to(backend(Speaks::Http1, &[server.address])).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400"),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
    ] {
        let answer = raw(door.http, &request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(100 << 10));
    assert!(raw(door.http, &long).await.starts_with("HTTP/1.1 431 "));
    assert!(raw(door.http, "GET / HTTP/1.0\r\n\r\n").await.contains("200 OK"), "HTTP/1.0 need not name a host");
    assert!(raw(door.http, "GET http://a.example/x HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n").await.contains("it /x"));
}

#[tokio::test]
async fn without_endpoints_it_is_unavailable_and_without_answer_a_bad_gateway() {
    let none = Door::to(backend(Speaks::Http1, &[])).await;
    assert_eq!(get(none.http, "a", "/").await.0, 503);
    let refused = Door::to(backend(Speaks::Http1, &[closed_port(), closed_port()])).await;
    assert_eq!(get(refused.http, "a", "/").await.0, 502);
    let refused = Door::to(backend(Speaks::Http2, &[closed_port()])).await;
    assert_eq!(get(refused.http, "a", "/").await.0, 502);
}

#[tokio::test]
async fn a_backend_that_is_late_is_a_gateway_timeout() {
    let server = Server::start(|_| std::future::pending()).await;
    let door = Door::open().await;
    let backend = backend(Speaks::Http1, &[server.address]);
    door.rules_with(&[("", "/", backend)], Duration::from_millis(50), false);
    assert_eq!(get(door.http, "a", "/").await.0, 504);
}

#[tokio::test]
async fn connections_to_backends_are_kept_for_other_requests() {
    let server = Server::named("it").await;
    let door = Door::to(backend(Speaks::Http1, &[server.address])).await;
    let mut client = kept(door.http).await;
    for _ in 0..20 {
        client.ready().await.expect("is open");
        let response = client.send_request(asked("GET", "/", "")).await.expect("answers");
        assert!(body_of(response).await.starts_with("it /"));
        let response = client.send_request(asked("POST", "/", "body")).await.expect("answers");
        assert!(body_of(response).await.starts_with("it /"));
        let response = client.send_request(asked("HEAD", "/", "")).await.expect("answers");
        assert!(response.headers()["content-length"] != "0");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn bodies_of_any_size_go_both_ways_as_they_come() {
    let echo = Server::start(|request: Request<Incoming>| async { Response::new(request.into_body().boxed()) }).await;
    let door = Door::to(backend(Speaks::Http1, &[echo.address])).await;
    let mut client = kept(door.http).await;
    let long: Bytes = (0..5_000_000_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>().into();
    for _ in 0..3 {
        client.ready().await.expect("is open");
        let response = client.send_request(asked("POST", "/", long.clone())).await.expect("answers");
        assert!(response.into_body().collect().await.expect("ends well").to_bytes() == long);
    }

    // Each part is there before the next one is sent.
    let stream = TcpStream::connect(door.http).await.expect("connects");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("speaks HTTP");
    tokio::spawn(connection);
    let (parts, body) = tokio::sync::mpsc::channel(1);
    let body = StreamBody::new(tokio_stream(body));
    let request = Request::post("/").header("host", "a").body(body).expect("is a request");
    let mut response = sender.send_request(request).await.expect("answers").into_body();
    for part in ["one", "two", "three"] {
        parts.send(Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(part)))).await.expect("goes on");
        let frame = response.frame().await.expect("goes on").expect("is well");
        assert_eq!(frame.into_data().expect("is data"), part);
    }
    drop(parts);
    assert!(response.frame().await.is_none());
}

fn tokio_stream<T>(receiver: tokio::sync::mpsc::Receiver<T>) -> impl futures::Stream<Item = T> {
    futures::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|item| (item, receiver)) })
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_costs_nobody_a_request() {
    let server = Server::named("it").await;
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let door = Door::to(backend(speaks, &[closed_port(), server.address, closed_port()])).await;
        for method in ["GET", "POST"] {
            for _ in 0..10 {
                assert_eq!(send(door.http, method, "a", "/").await.0, 200);
            }
        }
    }
}

#[tokio::test]
async fn requests_are_spread_over_the_endpoints() {
    let servers = [Server::named("one").await, Server::named("two").await, Server::named("three").await];
    let door = Door::to(backend(Speaks::Http1, &servers.each_ref().map(|server| server.address))).await;
    let mut count = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..30 {
        let (_, body) = get(door.http, "a", "/").await;
        *count.entry(body.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    assert_eq!(count.values().copied().collect::<Vec<_>>(), [10, 10, 10], "{count:?}");
}

/// Says this to each request, and breaks off.
async fn breaking(said: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    let (address, count) = (listener.local_addr().expect("is bound"), Arc::new(AtomicUsize::new(0)));
    let asked = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            asked.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(said).await;
        }
    });
    (address, count)
}

#[tokio::test]
async fn what_may_be_done_twice_is_tried_again_and_nothing_else() {
    let (address, count) = breaking(b"HTTP/1.1 200 OK\r\nConte").await;
    let server = Server::named("it").await;
    let door = Door::to(backend(Speaks::Http1, &[address, server.address])).await;
    for _ in 0..4 {
        assert_eq!(get(door.http, "a", "/").await.0, 200);
    }
    assert!(count.load(Ordering::SeqCst) > 0);
    let alone = Door::to(backend(Speaks::Http1, &[address])).await;
    count.store(0, Ordering::SeqCst);
    assert_eq!(send(alone.http, "POST", "a", "/").await.0, 502);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_small_answer_that_breaks_off_is_asked_for_elsewhere() {
    let (address, count) = breaking(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nabc").await;
    let server = Server::named("it").await;
    let door = Door::to(backend(Speaks::Http1, &[address, server.address])).await;
    for _ in 0..4 {
        let (status, body) = get(door.http, "a", "/").await;
        assert_eq!((status, body.starts_with("it ")), (200, true), "{body}");
    }
    assert!(count.load(Ordering::SeqCst) > 0);
    let alone = Door::to(backend(Speaks::Http1, &[address])).await;
    assert_eq!(get(alone.http, "a", "/").await.0, 502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_backends_are_replaced() {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let mut servers = vec![Server::named("it").await, Server::named("it").await];
        let backend = backend(speaks, &[servers[0].address, servers[1].address]);
        let door = Door::to(backend.clone()).await;
        let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = Vec::new();
        for _ in 0..4 {
            let (mut client, done, answered) = (kept(door.http).await, done.clone(), answered.clone());
            clients.push(tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    client.ready().await.expect("is open");
                    let response = client.send_request(asked("GET", "/", "")).await.expect("answers");
                    let status = response.status();
                    let body = body_of(response).await;
                    assert_eq!(status, StatusCode::OK, "{body}");
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
        for _ in 0..20 {
            let new = Server::named("it").await;
            // The old one ends before the proxy is told, as it may in a cluster.
            drop(servers.remove(0));
            let enough = answered.load(Ordering::SeqCst) + 20;
            while answered.load(Ordering::SeqCst) < enough {
                assert!(!clients.iter().any(tokio::task::JoinHandle::is_finished), "a client has ended");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            servers.push(new);
            replace(&backend, speaks, &[servers[0].address, servers[1].address]);
        }
        done.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.expect("all went well");
        }
    }
}

#[tokio::test]
async fn certificates_go_by_name_and_are_replaced_while_clients_come() {
    let server = Server::named("it").await;
    let door = Door::to(backend(Speaks::Http1, &[server.address])).await;
    let (own, wild, new) = (Pair::of("a.example"), Pair::of("*.b.example"), Pair::of("a.example"));
    let trusted = [&own, &wild, &new];
    door.show(&[("a.example", &own), ("*.b.example", &wild)]);
    let shown = async |name: &str| {
        let stream = tls(door.https, name, &trusted, "http/1.1").await.map_err(|error| error.to_string())?;
        Ok::<_, String>(stream.get_ref().1.peer_certificates().expect("is shown")[0].clone().into_owned())
    };
    assert_eq!(shown("a.example").await, Ok(own.certificate.clone()));
    assert_eq!(shown("x.b.example").await, Ok(wild.certificate.clone()));
    assert!(shown("c.example").await.is_err());

    let mut before = tls(door.https, "a.example", &trusted, "http/1.1").await.expect("agrees");
    door.show(&[("a.example", &new)]);
    assert_eq!(shown("a.example").await, Ok(new.certificate.clone()));
    before.write_all(b"GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await.expect("writes");
    let mut answer = String::new();
    let _ = before.read_to_string(&mut answer).await;
    assert!(answer.ends_with("it /x HTTP/1.1 a.example a.example https"), "{answer}");
}

/// Calls as gRPC does: HTTP/2 with trailers.
async fn call(mut sender: http2::SendRequest<Full<Bytes>>, uri: String) -> (String, HeaderMap) {
    let request = Request::post(uri).header("te", "trailers").body(Full::new(Bytes::from("asked"))).expect("is a request");
    let response = sender.send_request(request).await.expect("answers");
    assert_eq!(response.status(), StatusCode::OK);
    let collected = response.into_body().collect().await.expect("ends well");
    let trailers = collected.trailers().cloned().unwrap_or_default();
    (String::from_utf8(collected.to_bytes().to_vec()).expect("is text"), trailers)
}

#[tokio::test]
async fn http_2_goes_on_to_backends_that_speak_it_with_its_trailers() {
    let server = Server::start(|request: Request<Incoming>| async move {
        let (uri, version) = (request.uri().clone(), request.version());
        let takes_trailers = request.headers().get("te").is_some_and(|te| te == "trailers");
        let body = request.into_body().collect().await.expect("ends well").to_bytes();
        let said = format!("{uri} {version:?} {takes_trailers} {}", String::from_utf8_lossy(&body));
        let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("is a name"), HeaderValue::from_static("0"))]);
        Response::new(text(said).with_trailers(async { Some(Ok(trailers)) }).boxed())
    })
    .await;
    let door = Door::to(backend(Speaks::Http2, &[server.address])).await;
    let pair = Pair::of("a.example");
    door.show(&[("a.example", &pair)]);

    let stream = tls(door.https, "a.example", &[&pair], "h2").await.expect("agrees");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("speaks HTTP/2");
    tokio::spawn(connection);
    let calls = (0..20).map(|n| call(sender.clone(), format!("https://a.example/call/{n}")));
    for (n, (said, trailers)) in futures::future::join_all(calls).await.into_iter().enumerate() {
        assert_eq!(
            (said, &trailers["grpc-status"]),
            (format!("http://a.example/call/{n} HTTP/2.0 true asked"), &"0".parse().unwrap())
        );
    }

    // Without TLS, known in advance.
    let stream = TcpStream::connect(door.http).await.expect("connects");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("speaks HTTP/2");
    tokio::spawn(connection);
    let (said, _) = call(sender, "http://a.example/plain".to_owned()).await;
    assert_eq!(said, "http://a.example/plain HTTP/2.0 true asked");
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "all share one");
}

#[tokio::test]
async fn http_2_clients_reach_backends_of_http_1() {
    let server = Server::named("it").await;
    let door = Door::to(backend(Speaks::Http1, &[server.address])).await;
    let stream = TcpStream::connect(door.http).await.expect("connects");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("speaks HTTP/2");
    tokio::spawn(connection);
    let calls = (0..20).map(|n| call(sender.clone(), format!("http://a.example:80/{n}")));
    for (n, (said, _)) in futures::future::join_all(calls).await.into_iter().enumerate() {
        assert_eq!(said, format!("it /{n} HTTP/1.1 a.example:80 a.example:80 http"));
    }
}

#[tokio::test]
async fn a_web_socket_goes_through() {
    let server = Server::start(|mut request: Request<Incoming>| async move {
        if request.headers().get("upgrade").is_none_or(|wanted| wanted != "websocket") {
            return Response::new(text("no"));
        }
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.expect("upgrades"));
            let mut said = [0; 4];
            while stream.read_exact(&mut said).await.is_ok() {
                said.reverse();
                stream.write_all(&said).await.expect("writes");
            }
        });
        let response = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "websocket");
        response.header("sec-websocket-accept", "yes").body(text("")).expect("is an answer")
    })
    .await;
    let door = Door::to(backend(Speaks::Http1, &[closed_port(), server.address])).await;
    let mut stream = TcpStream::connect(door.http).await.expect("connects");
    let request = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("answers"));
    }
    let head = String::from_utf8(head).expect("is text").to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("sec-websocket-accept: yes"), "{head}");
    assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
    for said in [b"abcd", b"1234"] {
        stream.write_all(said).await.expect("writes");
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.expect("answers");
        answer.reverse();
        assert_eq!(&answer, said);
    }
}

#[tokio::test]
async fn clients_are_sent_to_tls_where_the_rule_says_so() {
    let server = Server::named("it").await;
    let door = Door::open().await;
    door.rules_with(&[("a.example", "/", backend(Speaks::Http1, &[server.address]))], Duration::from_secs(60), true);
    let pair = Pair::of("a.example");
    door.show(&[("a.example", &pair)]);
    let answer = raw(door.http, "POST /x?y=z HTTP/1.1\r\nHost: a.example:8080\r\nConnection: close\r\n\r\n").await.to_lowercase();
    assert!(answer.starts_with("http/1.1 308 "), "{answer}");
    assert!(answer.contains(&format!("location: https://a.example:{}/x?y=z\r\n", door.https.port())), "{answer}");
    let mut stream = tls(door.https, "a.example", &[&pair], "http/1.1").await.expect("agrees");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await.expect("writes");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
