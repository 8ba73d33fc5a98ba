//! The way from agents in network namespaces of this machine to registries on its loopback, which they have one of their own
//! of: an HTTP proxy (RFC 9110, section 3.7) at this machine's address on their link. Whoever else is on the link, or in
//! a pod, lacks its password.

use std::convert::Infallible;
use std::net::IpAddr;

use anyhow::Context;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const USER: &str = "mizzen";

/// Serves until it is dropped.
pub struct LoopbackProxy {
    /// With name and password.
    pub url: String,
    _serving: JoinSet<()>,
}

impl LoopbackProxy {
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(address: IpAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await.with_context(|| format!("listen on {address}"))?;
        let at = listener.local_addr().context("read the proxy's port")?;
        let password = hex::encode(rand::random::<[u8; 16]>());
        let login = format!("Basic {}", BASE64_STANDARD.encode(format!("{USER}:{password}")));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, login));
        Ok(Self { url: format!("http://{USER}:{password}@{at}"), _serving: serving })
    }

    /// What an agent's environment says, for its requests over plain HTTP: those to registries on loopback are all there are.
    /// Exceptions that somebody made for loopback would be exceptions from this.
    pub fn environment(&self, no_proxy: Option<&str>) -> [(&'static str, String); 2] {
        [("http_proxy", self.url.clone()), ("no_proxy", without_loopback(no_proxy.unwrap_or_default()))]
    }
}

async fn serve(listener: TcpListener, login: String) {
    let mut connections = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection to registries of this machine was not accepted");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let login = login.clone();
        connections.spawn(async move {
            let answer = service_fn(|request| answer(request, &login));
            if let Err(error) = server::Builder::new().serve_connection(TokioIo::new(stream), answer).await {
                tracing::debug!(%error, "a connection to registries of this machine ended");
            }
        });
    }
}

type Answer = Response<Either<Incoming, Full<Bytes>>>;

async fn answer(request: Request<Incoming>, login: &str) -> Result<Answer, Infallible> {
    let refused = |status: StatusCode, why: String| {
        let mut response = Response::new(Either::Right(Full::from(why)));
        *response.status_mut() = status;
        response
    };
    if request.headers().get(header::PROXY_AUTHORIZATION).is_none_or(|told| told.as_bytes() != login.as_bytes()) {
        return Ok(refused(StatusCode::PROXY_AUTHENTICATION_REQUIRED, "for agents of this machine only".into()));
    }
    let Some(to) = target(request.uri()) else {
        return Ok(refused(StatusCode::FORBIDDEN, "for what listens on the machine's loopback only".into()));
    };
    match forward(request, &to).await {
        Ok(response) => Ok(response.map(Either::Left)),
        Err(error) => Ok(refused(StatusCode::BAD_GATEWAY, format!("{to}: {error}"))),
    }
}

/// `HOST:PORT` on loopback.
fn target(uri: &Uri) -> Option<String> {
    let host = uri.host()?;
    let is_loopback = host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_loopback.then(|| format!("{host}:{}", uri.port_u16().unwrap_or(80)))
}

async fn forward(
    mut request: Request<Incoming>,
    to: &str,
) -> Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(to).await?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a registry ended");
        }
    });
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse()?;
    *request.uri_mut() = path;
    for own in [header::PROXY_AUTHORIZATION, header::CONNECTION] {
        request.headers_mut().remove(own);
    }
    Ok(sender.send_request(request).await?)
}

fn without_loopback(no_proxy: &str) -> String {
    let is_other = |host: &&str| {
        let address = host.split('/').next().unwrap_or_default();
        *host != "localhost" && !address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    };
    no_proxy.split(',').map(str::trim).filter(is_other).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn only_loopback_is_led_to() {
        let target = |uri: &str| target(&uri.parse().expect("a URI"));
        assert_eq!(target("http://127.0.0.1:5055/v2/"), Some("127.0.0.1:5055".into()));
        assert_eq!(target("http://localhost/v2/"), Some("localhost:80".into()));
        assert_eq!(target("http://[::1]:5055/"), Some("[::1]:5055".into()));
        for other in ["http://10.0.0.1/", "http://169.254.169.254/", "/v2/", "http://example.com/"] {
            assert_eq!(target(other), None, "{other}");
        }
        assert_eq!(without_loopback("localhost, 127.0.0.0/8,corp.example,::1"), "corp.example");
    }

    #[tokio::test]
    async fn who_lacks_the_password_is_sent_away() {
        let proxy = LoopbackProxy::start(std::net::Ipv4Addr::LOCALHOST.into()).await.expect("starts");
        let (_, at) = proxy.url.rsplit_once('@').expect("has an address");
        let mut stream = TcpStream::connect(at).await.expect("connects");
        stream.write_all(b"GET http://127.0.0.1:1/ HTTP/1.0\r\n\r\n").await.expect("asks");
        let mut said = String::new();
        stream.read_to_string(&mut said).await.expect("answers");
        assert!(said.starts_with("HTTP/1.0 407 "), "{said}");
    }
}
