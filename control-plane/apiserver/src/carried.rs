//! One connection through the tunnel of a node.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::upgrade::Upgraded;

/// Whoever is at the other end may say its last and be gone before that is read. A stream of HTTP/2 then refuses to be written
/// or flushed, and who copies both ways, or takes up an upgrade, would give up what is still to be read: as with TCP, what is
/// sent to one who is gone is lost, and reading tells the end.
pub struct Carried(Upgraded);

impl Carried {
    pub(crate) fn new(stream: Upgraded) -> Self {
        Self(stream)
    }
}

impl Read for Carried {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Carried {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes).map(|written| Ok(written.unwrap_or(bytes.len())))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx).map(|_| Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx).map(|_| Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use http::{Request, Response};
    use hyper::body::Incoming;
    use hyper::server::conn::http2 as server;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Says its last and is gone.
    async fn last_words(mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.expect("is upgraded"));
            stream.write_all(b"last words").await.expect("writes");
        });
        Ok(Response::new(Body::empty()))
    }

    #[tokio::test]
    async fn what_was_said_last_is_read_although_nothing_can_be_written_any_more() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let serving = server::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(theirs), service_fn(last_words));
        tokio::spawn(serving);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours));
        let (mut sender, connection) = handshake.await.expect("speaks HTTP/2");
        tokio::spawn(connection);
        let asked = Request::connect("node:443").body(Body::empty()).expect("is a request");
        let mut response = sender.send_request(asked).await.expect("answers");
        let mut stream = hyper::upgrade::on(&mut response).await.expect("is upgraded");
        // Until the other end is known to be gone.
        while TokioIo::new(&mut stream).write_all(b"?").await.is_ok() {
            tokio::task::yield_now().await;
        }
        let mut stream = TokioIo::new(Carried::new(stream));
        stream.write_all(b"?").await.expect("is lost");
        stream.flush().await.expect("is lost");
        let mut said = String::new();
        stream.read_to_string(&mut said).await.expect("ends");
        assert_eq!(said, "last words");
    }
}
