//! One request to a backend, tried elsewhere where that is safe: when nothing of it went out, or when doing it twice is the
//! same as doing it once, it has no body, and nothing of an answer has gone on.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::body::{Answer, Outgoing};
use crate::endpoint::Failed;

/// Endpoints that one request is tried with at most.
const TRIES: usize = 5;

/// Why there is no answer of the backend.
#[derive(Debug)]
pub(crate) enum Refusal {
    NoEndpoints,
    /// Said to whom runs the proxy, not to the client.
    BadGateway(String),
    TimedOut(String),
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoEndpoints => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Self::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

/// A backend's answer, and its side of what follows when it switches protocols.
pub(crate) type Answered = (Response<Answer>, Option<OnUpgrade>);

/// # Errors
/// When no endpoint answers.
pub(crate) async fn forward(
    backend: &Backend,
    mut request: Request<Outgoing>,
    limit: Duration,
    upgrades: bool,
) -> Result<Answered, Refusal> {
    let mut tried: Vec<SocketAddr> = Vec::new();
    let mut refusal = Refusal::NoEndpoints;
    while tried.len() < TRIES
        && let Some(endpoint) = backend.pick(&tried)
    {
        let address = endpoint.address;
        let again = copy(&request);
        let answered = match upgrades {
            false => endpoint.send(request, limit).await.map(|response| (response, None)),
            true => Box::pin(endpoint.send_upgrade(request, limit)).await,
        };
        tried.push(address);
        request = match (answered, again) {
            (Ok((response, None)), Some(again)) if response.body().is_small() => {
                let (head, body) = response.into_parts();
                let Ok(body) = timeout(limit, body.whole()).await else {
                    // It has said that it took the request: nobody else is asked.
                    return Err(Refusal::TimedOut(format!("{address} does not end its answer within {limit:?}")));
                };
                match body {
                    Ok(whole) => return Ok((Response::from_parts(head, Answer::Whole(Some(whole))), None)),
                    Err(error) => {
                        refusal = Refusal::BadGateway(format!("{address} broke off: {error}"));
                        again
                    }
                }
            }
            (Ok((response, switched)), _) => return Ok((response.map(Answer::Backend), switched)),
            (Err(Failed::TimedOut), _) => return Err(Refusal::TimedOut(format!("{address} does not answer within {limit:?}"))),
            (Err(Failed::Unsent { request, error }), _) => {
                let why = format!("{address} is not reached: {error}");
                let late = error.kind() == ErrorKind::TimedOut;
                refusal = if late { Refusal::TimedOut(why) } else { Refusal::BadGateway(why) };
                *request
            }
            (Err(Failed::Broken(error)), again) => {
                refusal = Refusal::BadGateway(format!("{address} broke off: {error}"));
                let Some(again) = again else { break };
                again
            }
        };
    }
    Err(refusal)
}

/// The request once more, if it may be sent twice.
fn copy(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE];
    if !matches!(request.body(), Outgoing::Nothing) || !safe.contains(request.method()) {
        return None;
    }
    let mut copy = Request::new(Outgoing::Nothing);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
