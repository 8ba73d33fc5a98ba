//! Connections that are kept alive: HTTPS as the cluster's administrator, and HTTP/2 without TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mizzen_tests::Cluster;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_yaml_ng::Value;
use tokio::net::TcpStream;

/// Where a cluster's API is and who asks.
#[derive(Clone)]
pub(crate) struct Endpoint {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Endpoint {
    pub(crate) fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        Ok(Self { address: cluster.api(), tls: Arc::new(administrator(&cluster.kubeconfig())?) })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Https> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        let stream = tokio_rustls::TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Https { sender, host: self.address.to_string() })
    }
}

fn administrator(kubeconfig: &Path) -> anyhow::Result<ClientConfig> {
    let config: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(kubeconfig)?)?;
    let pem = |list: &str, kind: &str, field: &str| {
        let encoded = config[list][0][kind][field].as_str().with_context(|| format!("the kubeconfig has no {field}"))?;
        Ok::<_, anyhow::Error>(BASE64_STANDARD.decode(encoded)?)
    };
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&pem("clusters", "cluster", "certificate-authority-data")?) {
        roots.add(root?)?;
    }
    let chain = pem("users", "user", "client-certificate-data")?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&pem("users", "user", "client-key-data")?)?;
    Ok(ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key)?)
}

/// One HTTP/1.1 connection over TLS.
pub(crate) struct Https {
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
}

impl Https {
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        self.send(Method::GET, path, Bytes::new(), StatusCode::OK).await
    }

    pub(crate) async fn create(&mut self, path: &str, body: Bytes) -> anyhow::Result<()> {
        self.send(Method::POST, path, body, StatusCode::CREATED).await.map(|_| ())
    }

    async fn send(&mut self, method: Method, path: &str, body: Bytes, expected: StatusCode) -> anyhow::Result<Bytes> {
        let request = Request::builder().method(method).uri(path).header("Host", &self.host);
        let request = request.header("Content-Type", "application/json").body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status == expected, "{path} answered {status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}

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
