//! HTTP/1.1 over TLS, kept alive, as the cluster's administrator. Written out by hand so that the load costs the machine
//! little beside what it measures.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf as _, Bytes, BytesMut};
use mizzen_tests::Cluster;
use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_yaml_ng::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What lies under TLS: rustls asks for 4 kB at a time, and a system call for each would be most of what reading a list costs.
type Socket = BufReader<TcpStream>;

/// Bytes that one system call may read.
const READ: usize = 64 << 10;

/// Where a cluster's API is and who asks.
#[derive(Clone)]
pub(crate) struct Endpoint {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    /// Without a client certificate.
    nameless: Arc<ClientConfig>,
    /// A header line, or nothing.
    authorization: Arc<str>,
}

impl Endpoint {
    pub(crate) fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let (tls, nameless) = configs(&cluster.kubeconfig())?;
        Ok(Self { address: cluster.api(), tls: Arc::new(tls), nameless: Arc::new(nameless), authorization: "".into() })
    }

    /// The same for somebody who has a token instead of the administrator's certificate.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        let authorization = format!("Authorization: Bearer {token}\r\n").into();
        Self { tls: self.nameless.clone(), authorization, ..self.clone() }
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Https> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = BufReader::with_capacity(READ, stream);
        let name = ServerName::from(self.address.ip());
        let stream = tokio_rustls::TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
        let headers = format!("Host: {}\r\n{}", self.address, self.authorization);
        Ok(Https { stream, headers, received: BytesMut::new() })
    }
}

/// With the administrator's certificate, and without any.
fn configs(kubeconfig: &Path) -> anyhow::Result<(ClientConfig, ClientConfig)> {
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
    let builder = || ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let nameless = builder()?.with_root_certificates(roots.clone()).with_no_client_auth();
    Ok((builder()?.with_root_certificates(roots).with_client_auth_cert(chain, key)?, nameless))
}

/// Cipher suites in the order in which Go's clients, kubectl among them, ask for them: AES-128 first.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

/// What is asked.
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    pub(crate) path: &'a str,
    pub(crate) content_type: &'static str,
    pub(crate) body: &'a [u8],
}

/// One connection.
pub(crate) struct Https {
    stream: TlsStream<Socket>,
    /// Those of every request.
    headers: String,
    /// Read and not yet consumed.
    received: BytesMut,
}

/// Status and headers of an answer.
pub(crate) struct Head {
    pub(crate) status: u16,
    /// `None` when the body comes in chunks.
    pub(crate) length: Option<usize>,
    /// Where the body begins.
    pub(crate) end: usize,
}

impl Https {
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        self.send(&Request { method: "GET", path, content_type: "application/json", body: &[] }).await
    }

    pub(crate) async fn create(&mut self, path: &str, body: &[u8]) -> anyhow::Result<()> {
        self.send(&Request { method: "POST", path, content_type: "application/json", body }).await.map(|_| ())
    }

    /// The body of the answer.
    ///
    /// # Errors
    /// For any answer but success, too.
    pub(crate) async fn send(&mut self, request: &Request<'_>) -> anyhow::Result<Bytes> {
        let head = self.ask(request).await?;
        let length = head.length.context("the answer says how long it is")?;
        self.received.reserve((head.end + length).saturating_sub(self.received.len()));
        while self.received.len() < head.end + length {
            self.receive().await?;
        }
        let mut body = self.received.split_to(head.end + length).freeze();
        body.advance(head.end);
        ensure!(
            (200..300).contains(&head.status),
            "{} answered {}: {}",
            request.path,
            head.status,
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }

    /// Opens a watch.
    pub(crate) async fn watch(mut self, path: &str) -> anyhow::Result<Watching> {
        let head = self.ask(&Request { method: "GET", path, content_type: "application/json", body: &[] }).await?;
        ensure!(head.status == 200, "{path} answered {}", head.status);
        let early = self.received.split_off(head.end).into();
        Ok(Watching { stream: self.stream, early, buffer: vec![0; 64 << 10], open_frame: false })
    }

    async fn ask(&mut self, request: &Request<'_>) -> anyhow::Result<Head> {
        let Request { method, path, content_type, body } = request;
        let mut bytes = format!(
            "{method} {path} HTTP/1.1\r\n{}Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            self.headers,
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await?;
        loop {
            if let Some(head) = head(&self.received)? {
                return Ok(head);
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> anyhow::Result<()> {
        self.received.reserve(16 << 10);
        match self.stream.read_buf(&mut self.received).await? {
            0 => bail!("the server closed the connection"),
            _ => Ok(()),
        }
    }
}

/// `None` while headers are missing.
pub(crate) fn head(received: &[u8]) -> anyhow::Result<Option<Head>> {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&received[..end])?;
    let status = text.get(9..12).context("an answer begins with its status")?.parse()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Ok(Some(Head { status, length, end: end + 4 }))
}

/// An open watch, of which either the number of events is looked at or their lines.
pub(crate) struct Watching {
    stream: TlsStream<Socket>,
    early: Vec<u8>,
    buffer: Vec<u8>,
    /// The last byte read closed an object: if a line ends next, so does an event.
    open_frame: bool,
}

impl Watching {
    /// Waits for events and counts those that came at once.
    pub(crate) async fn events(&mut self) -> anyhow::Result<usize> {
        loop {
            let early = std::mem::take(&mut self.early);
            let count = if early.is_empty() {
                let read = self.stream.read(&mut self.buffer).await?;
                ensure!(read > 0, "the server closed a watch");
                frames(&self.buffer[..read], &mut self.open_frame)
            } else {
                frames(&early, &mut self.open_frame)
            };
            if count > 0 {
                return Ok(count);
            }
        }
    }

    /// Waits for events and gives those that came at once, each as it stands in its line.
    pub(crate) async fn lines(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        loop {
            let read = self.stream.read(&mut self.buffer).await?;
            ensure!(read > 0, "the server closed a watch");
            self.early.extend_from_slice(&self.buffer[..read]);
            let lines = whole_lines(&mut self.early);
            if !lines.is_empty() {
                return Ok(lines);
            }
        }
    }
}

/// Takes the lines that hold an event and have ended; those of the chunked encoding are passed over.
fn whole_lines(received: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let end = memchr::memrchr(b'\n', received).map_or(0, |place| place + 1);
    let rest = received.split_off(end);
    let whole = std::mem::replace(received, rest);
    whole.split(|byte| *byte == b'\n').filter(|line| line.first() == Some(&b'{')).map(<[u8]>::to_vec).collect()
}

/// Events that end in these bytes: each is a line of one object, and no line of the chunked encoding ends as one does.
fn frames(bytes: &[u8], open: &mut bool) -> usize {
    let first = usize::from(*open && bytes.first() == Some(&b'\n'));
    *open = bytes.last() == Some(&b'}');
    first + memchr::memmem::find_iter(bytes, b"}\n").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_wherever_they_are_cut() {
        let text = b"1f\r\n{\"type\":\"ADDED\",\"object\":{}}\n\r\n1f\r\n{\"type\":\"ADDED\",\"object\":{}}\n\r\n";
        for cut in 0..text.len() {
            let mut open = false;
            assert_eq!(frames(&text[..cut], &mut open) + frames(&text[cut..], &mut open), 2, "cut at {cut}");
        }
    }

    #[test]
    fn lines_of_events_are_whole_wherever_they_are_cut() {
        let text = b"c\r\n{\"type\":\"A\"}\n{\"type\":\"B\"}\n\r\nc\r\n{\"type\":\"C\"}\n\r\n";
        for cut in 0..text.len() {
            let mut received = text[..cut].to_vec();
            let mut lines = whole_lines(&mut received);
            received.extend_from_slice(&text[cut..]);
            lines.extend(whole_lines(&mut received));
            assert_eq!(lines, [&br#"{"type":"A"}"#[..], br#"{"type":"B"}"#, br#"{"type":"C"}"#], "cut at {cut}");
            assert_eq!(received, b"");
        }
    }

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        assert!(head(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n").expect("reads").is_none());
        let head = head(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}").expect("reads").expect("is whole");
        assert_eq!((head.status, head.length, head.end), (201, Some(2), 43));
    }
}
