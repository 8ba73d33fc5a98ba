//! Connections that nodes hold open to this server: what it asks of a node goes through the node's tunnel while there is one,
//! so that a node needs to be reached by nobody (docs/decisions/0042-tunnels-of-nodes.md).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mizzen_api::Status;
use mizzen_api::tunnel::{PROTOCOL, REFUSAL};
use parking_lot::Mutex;

use crate::carried::Carried;

/// A node that does not answer a ping within as long again is gone, though no packet says so.
const PING: Duration = Duration::from_secs(10);
/// How long a node may take to take up a connection through its tunnel.
const OPEN: Duration = Duration::from_secs(5);

/// The tunnels that are up, by node.
#[derive(Default)]
pub(crate) struct Tunnels {
    up: Mutex<HashMap<String, Tunnel>>,
    opened: AtomicU64,
}

struct Tunnel {
    /// Which one it is, of all that this server had.
    number: u64,
    sender: SendRequest<Body>,
}

impl Tunnels {
    /// Takes up the tunnel of a node, which the request has proved to be. Of two the newer counts: a node that comes again has
    /// lost the older.
    pub(crate) fn accept(self: &Arc<Self>, node: &str, mut request: Request<Body>) -> Result<Response, Status> {
        let asked = request.headers().get(header::UPGRADE);
        if asked.is_none_or(|asked| !asked.as_bytes().eq_ignore_ascii_case(PROTOCOL.as_bytes())) {
            return Err(Status::bad_request(format!("a tunnel is asked for with Upgrade: {PROTOCOL}")));
        }
        let upgrade = hyper::upgrade::on(&mut request);
        let (tunnels, node) = (self.clone(), node.to_owned());
        tokio::spawn(async move {
            match upgrade.await {
                Ok(connection) => tunnels.hold(&node, connection).await,
                Err(error) => tracing::info!(node, %error, "a tunnel was not upgraded"),
            }
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
            .header(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
        response.body(Body::empty()).map_err(Status::internal)
    }

    /// Until it breaks.
    async fn hold(&self, node: &str, connection: Upgraded) {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING).keep_alive_while_idle(true);
        let (sender, connection) = match builder.handshake(connection).await {
            Ok(made) => made,
            Err(error) => return tracing::info!(node, %error, "a tunnel was not begun"),
        };
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        self.up.lock().insert(node.to_owned(), Tunnel { number, sender });
        tracing::debug!(node, "tunnel up");
        let ended = connection.await;
        tracing::debug!(node, ?ended, "tunnel down");
        let mut up = self.up.lock();
        if up.get(node).is_some_and(|tunnel| tunnel.number == number) {
            up.remove(node);
        }
    }

    /// A connection to the node's own API; `None` when the node has no tunnel, or it does not carry any more.
    pub(crate) async fn connect(&self, node: &str) -> Option<Carried> {
        self.reach(node, &format!("{node}:443")).await?.ok()
    }

    /// A connection to a port of a pod on the node, which dials it (`IP:PORT`), or to the node's own API (`NODE:PORT`). `None`
    /// when the node has no tunnel, or it does not carry any more.
    ///
    /// # Errors
    /// Why the node does not reach it.
    pub(crate) async fn reach(&self, node: &str, to: &str) -> Option<Result<Carried, String>> {
        let sender = self.up.lock().get(node)?.sender.clone();
        match tokio::time::timeout(OPEN, open(sender, to)).await {
            Ok(Ok(answered)) => Some(answered),
            Ok(Err(error)) => {
                tracing::debug!(node, %error, "nothing goes through the tunnel");
                None
            }
            Err(_) => {
                tracing::debug!(node, "no answer through the tunnel in {OPEN:?}");
                None
            }
        }
    }
}

/// What the node answers, unless the tunnel does not carry.
async fn open(
    mut sender: SendRequest<Body>,
    to: &str,
) -> Result<Result<Carried, String>, Box<dyn std::error::Error + Send + Sync>> {
    sender.ready().await?;
    let response = sender.send_request(Request::connect(to).body(Body::empty())?).await?;
    if response.status() != StatusCode::OK {
        let why = response.headers().get(REFUSAL).and_then(|why| why.to_str().ok()).map(str::to_owned);
        return Ok(Err(why.unwrap_or_else(|| format!("the node answers {}", response.status()))));
    }
    Ok(Ok(Carried::new(hyper::upgrade::on(response).await?)))
}
