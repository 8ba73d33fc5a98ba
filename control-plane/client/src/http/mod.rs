//! The API over HTTPS, for components that run apart from the API server.

mod answer;
mod failure;
mod path;
mod unverified;
mod watch;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use mizzen_api::{Reason, Status};

pub use unverified::get_unverified;
pub use wire::{Parts, Wire};

/// A connection that hears nothing for so long is given up; a watch's bookmarks keep it alive.
const READ_TIMEOUT: Duration = Duration::from_secs(90);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that does not answer a ping within as long again is gone, though no packet says so.
const PING: Duration = Duration::from_secs(10);

/// Where the API is and who asks.
pub struct HttpConfig {
    /// `https://HOST:PORT`.
    pub server: String,
    /// The cluster's root certificate, PEM.
    pub root: String,
    /// Client certificate and key, PEM.
    pub certificate: Option<(String, String)>,
    /// Bearer token.
    pub token: Option<String>,
    /// Up to its first `/` it is the field manager of writes that name none.
    pub user_agent: String,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("use the {what} for {server}: {source}")]
    Credentials {
        what: &'static str,
        server: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("make a client for {server}: {source}")]
    Build {
        server: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{server} is not reached: {why}")]
    Unreachable { server: String, why: String },
    /// One side does not take the other's certificate: the credentials are another cluster's, or too old.
    #[error("{server} and these credentials do not belong together: {why}")]
    Distrust { server: String, why: String },
    #[error("{server} is not ready: HTTP {code}")]
    NotReady { server: String, code: u16 },
    #[error("{server} does not know who asks: {message}")]
    Unauthorized { server: String, message: String },
}

/// [`crate::Client`] over HTTPS.
pub struct HttpClient {
    http: reqwest::Client,
    server: String,
    token: Option<String>,
}

impl HttpClient {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// When a certificate or key is not what it should be.
    pub fn new(config: HttpConfig) -> Result<Self, HttpError> {
        let server = config.server.trim_end_matches('/').to_owned();
        let wrong = |what| {
            let server = server.clone();
            move |source| HttpError::Credentials { what, server, source }
        };
        let roots = reqwest::Certificate::from_pem_bundle(config.root.as_bytes()).map_err(wrong("root certificate"))?;
        let mut builder = reqwest::Client::builder()
            .tls_certs_only(roots)
            .user_agent(config.user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING)
            .http2_keep_alive_while_idle(true)
            .tcp_nodelay(true);
        if let Some((certificate, key)) = config.certificate {
            let pem = format!("{certificate}\n{key}");
            builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).map_err(wrong("client certificate"))?);
        }
        let http = builder.build().map_err(|source| HttpError::Build { server: server.clone(), source })?;
        Ok(Self { http, server, token: config.token })
    }

    /// Asks the server whether it is ready to serve.
    ///
    /// # Errors
    /// [`HttpError::Unreachable`] and [`HttpError::NotReady`] may pass; [`HttpError::Distrust`] and
    /// [`HttpError::Unauthorized`] stay as they are until somebody changes the credentials.
    pub async fn ready(&self) -> Result<(), HttpError> {
        let server = self.server.clone();
        let request = self.http.get(format!("{}/readyz", self.server));
        let request = self.token.iter().fold(request, |request, token| request.bearer_auth(token));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let why = failure::reason(&error);
                let distrust = failure::is_distrust(&error);
                return Err(if distrust { HttpError::Distrust { server, why } } else { HttpError::Unreachable { server, why } });
            }
        };
        match response.status().as_u16() {
            200 => Ok(()),
            401 => {
                let body = response.bytes().await.unwrap_or_default();
                Err(HttpError::Unauthorized { server, message: answer::failure(401, &body).message })
            }
            code => Err(HttpError::NotReady { server, code }),
        }
    }
}

fn unreachable(error: &reqwest::Error) -> Status {
    Status::new(Reason::ServiceUnavailable, failure::text(error))
}

#[async_trait]
impl Wire for HttpClient {
    async fn exchange(&self, request: http::Request<Bytes>) -> Result<http::Response<Parts>, Status> {
        let (head, body) = request.into_parts();
        let mut sent = self.http.request(head.method, format!("{}{}", self.server, head.uri)).headers(head.headers).body(body);
        if let Some(token) = &self.token {
            sent = sent.bearer_auth(token);
        }
        let response = sent.send().await.map_err(|error| unreachable(&error))?;
        let mut answer = http::Response::new(());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        Ok(answer.map(|()| response.bytes_stream().map_err(|error| unreachable(&error)).boxed()))
    }
}
