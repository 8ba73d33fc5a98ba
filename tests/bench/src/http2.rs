//! HTTP/2 connections without TLS, kept alive: what etcd's clients use.

use std::net::SocketAddr;

use anyhow::ensure;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// One HTTP/2 connection in the clear, for gRPC.
#[derive(Clone)]
pub(crate) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

impl Http2 {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, address })
    }

    /// A unary gRPC call; answers the message, which is missing when the call failed.
    pub(crate) async fn call(&mut self, method: &str, message: &[u8]) -> anyhow::Result<Bytes> {
        let mut frame = Vec::with_capacity(message.len() + 5);
        frame.push(0);
        frame.extend(u32::try_from(message.len())?.to_be_bytes());
        frame.extend(message);
        let request = Request::post(format!("http://{}{method}", self.address)).header("Content-Type", "application/grpc");
        let request = request.header("TE", "trailers").body(Full::new(Bytes::from(frame)))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(body.len() > 5, "{method} failed");
        Ok(body)
    }
}
