//! Requests that guests send by wasi:http. Connections come from the pod's own address.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::Scheme;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::names::{NameError, Names};
use crate::sockets::Addresses;
use crate::trust::Trust;

/// How long anything may take where the guest says nothing.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);

#[derive(Clone)]
pub(crate) struct Outgoing {
    addresses: Addresses,
    names: Arc<Names>,
    trust: Arc<Trust>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl Outgoing {
    pub(crate) fn new(addresses: Addresses, names: Arc<Names>, trust: Arc<Trust>) -> Self {
        Self { addresses, names, trust }
    }

    async fn open(&self, host: &str, port: u16, tls: bool) -> Result<Box<dyn Stream>, Error> {
        let stream = self.connect(host, port).await?;
        if !tls {
            return Ok(Box::new(stream));
        }
        let (trust, asked) = (Arc::clone(&self.trust), host.to_owned());
        let config = tokio::task::spawn_blocking(move || trust.of(&asked)).await;
        let config = config.unwrap_or_else(|err| Err(err.to_string())).map_err(|why| Error::InternalError(Some(why)))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
        match TlsConnector::from(config).connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                tracing::debug!(host, %error, "a TLS handshake failed");
                let why = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
                Err(match why {
                    Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
                    _ => Error::Tls(error),
                })
            }
        }
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        let found = self.names.lookup(host).await.map_err(|error| match error {
            NameError::Unanswered { .. } => Error::DnsTimeout,
            error => Error::DnsError { rcode: Some(error.to_string()), info_code: None },
        })?;
        let mut last = Error::DestinationNotFound;
        for target in found {
            let target = SocketAddr::new(target, port);
            let (Some(target), Some(own)) = (self.addresses.remote(target), self.addresses.like(target.ip())) else { continue };
            match connect_from(SocketAddr::new(own, 0), target).await {
                Ok(stream) => return Ok(stream),
                Err(err) => last = Error::Connect(err),
            }
        }
        Err(last)
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(send(self.clone(), request, options))
    }

    fn is_supported_scheme(&mut self, scheme: &Scheme) -> bool {
        *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS
    }
}

async fn send(outgoing: Outgoing, mut request: http::Request<WasiBody>, options: Option<RequestOptions>) -> Sent {
    let tls = request.uri().scheme() == Some(&Scheme::HTTPS);
    let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?.clone();
    let (connecting, first_byte) = match options {
        Some(options) => (options.connect_timeout, options.first_byte_timeout),
        None => (None, None),
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let open = outgoing.open(host, port, tls);
    let stream = tokio::time::timeout(connecting.unwrap_or(PATIENCE), open).await.map_err(|_| Error::ConnectionTimeout)??;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // To a server, not a proxy: the path alone.
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *request.uri_mut() = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    let connection = tokio::spawn(connection);
    let response = tokio::time::timeout(first_byte.unwrap_or(PATIENCE), sender.send_request(request));
    let response = match response.await {
        Ok(response) => response?,
        Err(_) => {
            connection.abort();
            return Err(Error::ConnectionReadTimeout);
        }
    };
    let response = response.map(|body| body.map_err(Error::from).boxed_unsync());
    Ok((response, Box::new(async move { connection.await.map_or(Ok(()), |ended| ended.map_err(Error::from)) })))
}

async fn connect_from(own: SocketAddr, target: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if own.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(own)?;
    socket.connect(target).await
}
