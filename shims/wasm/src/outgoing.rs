//! Requests that guests send by wasi:http. Connections come from the pod's own address.

use std::net::SocketAddr;

use http::uri::Scheme;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::sockets::Addresses;

/// How long anything may take where the guest says nothing.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);

pub(crate) struct Outgoing {
    addresses: Addresses,
}

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl Outgoing {
    pub(crate) fn new(addresses: Addresses) -> Self {
        Self { addresses }
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let addresses = self.addresses.clone();
        Box::new(send(addresses, request, options))
    }

    fn is_supported_scheme(&mut self, scheme: &Scheme) -> bool {
        *scheme == Scheme::HTTP
    }
}

async fn send(addresses: Addresses, mut request: http::Request<WasiBody>, options: Option<RequestOptions>) -> Sent {
    if request.uri().scheme() == Some(&Scheme::HTTPS) {
        return Err(Error::HttpRequestDenied);
    }
    let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?.clone();
    let (connecting, first_byte) = match options {
        Some(options) => (options.connect_timeout, options.first_byte_timeout),
        None => (None, None),
    };
    let connect = connect(&addresses, authority.host(), authority.port_u16().unwrap_or(80));
    let stream = tokio::time::timeout(connecting.unwrap_or(PATIENCE), connect).await.map_err(|_| Error::ConnectionTimeout)??;
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

async fn connect(addresses: &Addresses, host: &str, port: u16) -> Result<TcpStream, Error> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found =
        lookup_host((host, port)).await.map_err(|err| Error::DnsError { rcode: Some(err.to_string()), info_code: None })?;
    let mut last = Error::DestinationNotFound;
    for target in found {
        let (Some(target), Some(own)) = (addresses.remote(target), addresses.like(target.ip())) else { continue };
        match connect_from(SocketAddr::new(own, 0), target).await {
            Ok(stream) => return Ok(stream),
            Err(err) => last = Error::Connect(err),
        }
    }
    Err(last)
}

async fn connect_from(own: SocketAddr, target: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if own.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(own)?;
    socket.connect(target).await
}
