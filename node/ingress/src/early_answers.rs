//! Backends that answer before they have the whole request, as those do that refuse it (tests).

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::resolve::Speaks;
use crate::testing::{Door, backend};

const REFUSED: &[u8] = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 10\r\n\r\ntoo large\n";
const LONG: usize = 4 << 20;

/// Says at once what it says to everybody, and reads no more. It closes the connection at once, or never.
async fn refusing(closes: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    let address = listener.local_addr().expect("is bound");
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 64]).await;
            let _ = stream.write_all(REFUSED).await;
            if !closes {
                open.push(stream);
            }
        }
    });
    address
}

/// A body without end, or of some length. It tells when nobody wants more of it.
struct Given {
    left: Option<usize>,
    _wanted: oneshot::Sender<()>,
}

impl Given {
    fn of(left: Option<usize>) -> (Self, oneshot::Receiver<()>) {
        let (wanted, given_up) = oneshot::channel();
        (Self { left, _wanted: wanted }, given_up)
    }
}

impl Body for Given {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let part = self.left.unwrap_or(LONG).min(8 << 10);
        self.left = self.left.map(|left| left - part);
        Poll::Ready((part > 0).then(|| Ok(Frame::data(vec![0; part].into()))))
    }
}

fn post(body: Given) -> Request<Given> {
    Request::post("http://a.example/").header("host", "a.example").body(body).expect("is a request")
}

async fn over_http_1(address: SocketAddr) -> http1::SendRequest<Given> {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("speaks HTTP");
    tokio::spawn(connection);
    sender
}

async fn over_http_2(address: SocketAddr) -> http2::SendRequest<Given> {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_backend_says_before_it_closes_goes_before_the_write_that_fails() {
    let door = Door::to(backend(Speaks::Http1, &[refusing(true).await])).await;
    for _ in 0..50 {
        let mut sender = over_http_2(door.http).await;
        is_refused(sender.send_request(post(Given::of(Some(LONG)).0)).await.expect("answers")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_on_after_the_answer_is_listened_to() {
    let door = Door::open().await;
    let mut sender = over_http_2(door.http).await;
    for _ in 0..3 {
        let (body, given) = Given::of(Some(LONG));
        let answer = sender.send_request(post(body)).await.expect("answers");
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "by the proxy itself");
        answer.into_body().collect().await.expect("ends well");
        given.await.expect_err("all of it goes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_told_to_send_no_more_to_who_has_answered_and_reads_nothing() {
    let address = refusing(false).await;
    let door = Door::to(backend(Speaks::Http1, &[address])).await;
    let by_2 = async {
        let (body, given_up) = Given::of(None);
        let mut sender = over_http_2(door.http).await;
        is_refused(sender.send_request(post(body)).await.expect("answers")).await;
        (sender.is_closed(), given_up.await)
    };
    let by_1 = async {
        let (body, given_up) = Given::of(None);
        let mut sender = over_http_1(door.http).await;
        is_refused(sender.send_request(post(body)).await.expect("answers")).await;
        given_up.await
    };
    let told = tokio::time::timeout(Duration::from_secs(60), futures::future::join(by_2, by_1)).await;
    let ((is_closed, by_2), by_1) = told.expect("the bodies are dropped");
    assert!(!is_closed && by_2.is_err() && by_1.is_err());
}

async fn is_refused(answer: Response<Incoming>) {
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.into_body().collect().await.expect("ends well").to_bytes(), "too large\n");
}
