//! One HTTP request: who asks, what for, and the answer in the form that is asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body::Body as _;
use mizzen_api::Status;
use mizzen_extensions::plugins::SchedulerPlugins;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::accept::{self, Format};
use super::asked::{action, asked, is_connect, is_proxy, is_tunnel, limit, lists_first};
use super::path::{self, Path};
use super::{gzip, pretty, respond};
use crate::aggregation::{Aggregation, Foreign, Remote, Sent};
use crate::audit::{About, Audit, Trail};
use crate::auth::{Action, Identity};
use crate::authenticate::{Authenticate, Peer, anonymous};
use crate::connect::Connect;
use crate::discovery::Discovery;
use crate::fairness::{self, Class, Fairness, Seat, Speaker};
use crate::large::{LargeBeginning, Part, Sending, is_large};
use crate::metrics::{Asked, Metrics, Took};
use crate::openapi::OpenApi;
use crate::pipeline::Pipeline;
use crate::server::Deadlines;
use crate::waited;
use crate::work_queues::WorkQueues;

pub(crate) struct Handler {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) authenticator: Arc<dyn Authenticate>,
    pub(crate) connector: Option<Arc<dyn Connect>>,
    pub(crate) aggregation: Arc<Aggregation>,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) openapi: OpenApi,
    pub(crate) metrics: Metrics,
    pub(crate) fairness: Arc<Fairness>,
    pub(crate) audit: Option<Arc<Audit>>,
    pub(crate) deadlines: Deadlines,
    pub(crate) scheduler_plugins: Option<Arc<dyn SchedulerPlugins>>,
    pub(crate) work_queues: Option<WorkQueues>,
    pub(crate) shutdown: CancellationToken,
}

impl Handler {
    /// Answers one request; failures are answered too. Futures are boxed on the way down wherever they grow: each is
    /// moved into that of whoever awaits it, and a request's whole, moved at every step, cost more than the request.
    pub(crate) async fn handle(&self, connection: &Connection, request: Request<Body>) -> Response {
        let is_crowd = self.fairness.asks(&connection.speaker, request.body().size_hint().lower());
        connection.sending.is_to_a_crowd(is_crowd);
        let answer = Box::pin(self.answer(connection, request));
        self.fairness.in_turn(&connection.speaker, is_crowd, answer).await
    }

    async fn answer(&self, connection: &Connection, request: Request<Body>) -> Response {
        let audit_id = request.headers().get("audit-id").cloned().or_else(|| crate::uid::new().parse().ok());
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let started = std::time::Instant::now();
        let path = path::parse(uri.path());
        let remote = self.remote(&path, &uri);
        let asked = asked(&self.pipeline.registry, remote.is_some(), &path, &request);
        let stream = matches!(asked.verb, "WATCH" | "CONNECT");
        let reads = matches!(method, Method::GET | Method::HEAD);
        let counted = (!stream).then(|| self.metrics.in_flight(!reads));
        let compress = reads && gzip::is_accepted(request.headers());
        let for_people = !stream && pretty::is_asked(&uri, request.headers());
        let format = failure_format(request.headers());
        let verb = method.as_str().to_ascii_lowercase();
        let action = action(&path, &asked, &uri, &verb);
        let came = self.authenticator.authenticate(connection.peer.as_ref(), request.headers());
        self.metrics.authenticated(came.is_ok());
        if let (Ok(_), Some(not_after)) = (&came, connection.peer.as_ref().and_then(Peer::not_after)) {
            self.metrics.certified(not_after.as_second() - (self.pipeline.clock)().as_second());
        }
        let came = came.map(|user| user.unwrap_or_else(|| Arc::new(anonymous())));
        let mut trail = self.trail(came.as_deref().ok(), (&path, &action, stream), connection, &request, audit_id.as_ref());
        let who = came.and_then(|user| {
            let acting = super::impersonate::acting_as(&self.pipeline, user.clone(), request.headers())?;
            if let Some(trail) = trail.as_mut().filter(|_| !Arc::ptr_eq(&user, &acting)) {
                trail.impersonates(&acting);
            }
            Ok(acting)
        });
        let mut held = Held::default();
        let answered = match who {
            Ok(user) => {
                let span = tracing::debug_span!("request", audit_id = ?audit_id, user = user.username);
                let about = (&path, &action, remote);
                let seated = Box::pin(self.seated(user, about, asked, request, (&connection.speaker, &mut held)));
                match &trail {
                    None => seated.instrument(span).await,
                    Some(trail) => Box::pin(trail.over(seated)).instrument(span).await,
                }
            }
            Err(status) => Err(status),
        };
        let (mut response, failure) = match answered {
            Ok(response) => (response, None),
            Err(status) => (respond::status(&status, format), Some(status)),
        };
        if let Some(trail) = trail {
            response = trail.answered(response, failure.as_ref()).await;
        }
        if for_people && response.extensions().get::<Foreign>().is_none() {
            response = pretty::indented(response);
        }
        if compress {
            response = gzip::compressed(response);
        }
        drop(counted);
        if stream {
            // What comes of it comes over hours.
            connection.sending.is_to_a_crowd(false);
        }
        let Held { seat, class, waited, refused } = held;
        if refused {
            self.metrics.refused(&asked);
        }
        if !stream && is_large(&response) && response.extensions().get::<Foreign>().is_none() {
            self.fairness.is_sent(&connection.speaker, response.body().size_hint().lower());
            let seat = seat.filter(|_| asked.verb == "LIST");
            response = connection.sending.counts(response, Part::All, seat.map(fairness::until_dropped));
        } else if response.extensions().get::<LargeBeginning>().is_some() {
            response = connection.sending.counts(response, Part::Beginning, seat.map(fairness::until_dropped));
        }
        if let Some(class) = class {
            class.tell(response.headers_mut());
        }
        let (code, took) = (response.status().as_u16(), started.elapsed());
        let bytes = matches!(asked.verb, "GET" | "LIST").then(|| response.body().size_hint().exact()).flatten();
        self.metrics.answered(&asked, code, (!stream).then_some(Took { all: took, waited }), bytes);
        tracing::debug!(%method, path = uri.path(), code, audit_id = ?audit_id, micros = took.as_micros(), "request");
        if let Some(audit_id) = audit_id {
            response.headers_mut().insert("audit-id", audit_id);
        }
        response
    }

    /// Begins to note a request, if that is wanted. Without a user its credentials are wrong.
    fn trail(
        &self,
        user: Option<&Identity>,
        (path, action, is_stream): (&Path, &Action<'_>, bool),
        connection: &Connection,
        request: &Request<Body>,
        audit_id: Option<&HeaderValue>,
    ) -> Option<Trail> {
        let audit = self.audit.as_ref()?;
        let text = |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let forwarded = text(request.headers().get("x-forwarded-for"));
        let forwarded = forwarded.split(',').map(|address| address.trim().to_owned()).filter(|address| !address.is_empty());
        let about = About {
            audit_id: &text(audit_id),
            uri: request.uri().path_and_query().map_or_else(|| request.uri().path(), |uri| uri.as_str()),
            action,
            version: if let Path::Resource(path) = path { &path.version } else { "" },
            user_agent: &text(request.headers().get(USER_AGENT)),
            sources: forwarded.chain(connection.address.map(|address| address.to_string())).collect(),
            is_stream,
        };
        audit.begin(user.unwrap_or(&Identity::default()), &about)
    }

    /// Answers when the request has a seat. Streams take none, save for what a watch does until it has begun, and for what
    /// another server does until it has answered: a header alone must not free of turns.
    async fn seated(
        &self,
        user: Arc<Identity>,
        (path, action, remote): (&Path, &Action<'_>, Option<Arc<Remote>>),
        asked: Asked<'_>,
        request: Request<Body>,
        (speaker, held): (&Speaker, &mut Held),
    ) -> Result<Response, Status> {
        let is_stream = matches!(path, Path::Resource(path) if is_connect(path) || is_proxy(path) || is_tunnel(path));
        if !is_stream {
            let seats = match (path, asked.verb) {
                (Path::Resource(path), "LIST") => self.fairness.seats_of_list(&path.resource, limit(request.uri())),
                (Path::Resource(path), "WATCH") if lists_first(request.uri()) => self.fairness.seats_of_list(&path.resource, 0),
                _ => 1,
            };
            let came = std::time::Instant::now();
            let begun = self.fairness.begin(&user, action, seats).await;
            held.waited = came.elapsed();
            match begun {
                Ok(seat) => {
                    let class = seat.class();
                    // A look at a path, which anybody may take and some for nothing, says little of who speaks.
                    if matches!(path, Path::Resource(_)) {
                        class.names(speaker, &user, action);
                    }
                    held.class = Some(class);
                    held.seat = Some(seat);
                }
                Err(refused) => {
                    refused.class.names(speaker, &user, action);
                    held.class = Some(refused.class);
                    held.refused = true;
                    return Ok(respond::too_many_requests());
                }
            }
        }
        if let Some(remote) = remote {
            self.pipeline.authorize(&user, action)?;
            let sent = match (path, asked.verb) {
                (_, "WATCH" | "CONNECT") => Sent::Stream,
                (Path::GroupVersion(..), _) => Sent::Discovery,
                _ => Sent::Request,
            };
            return Ok(Box::pin(self.aggregation.relay(&remote, &user, sent, request)).await);
        }
        waited::counted(&mut held.waited, self.route(user, path, asked, request)).await
    }

    /// Who answers for a path, where it is not this server.
    fn remote(&self, path: &Path, uri: &Uri) -> Option<Arc<Remote>> {
        match path {
            Path::Resource(path) => self.aggregation.remote(&path.group, &path.version),
            Path::GroupVersion(group, version) => self.aggregation.remote(group, version),
            // Its part of OpenAPI is fetched when somebody asks for it.
            Path::Other => match path::parse(uri.path().strip_prefix("/openapi/v3")?) {
                Path::GroupVersion(group, version) => self.aggregation.describer(&group, &version),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What is known of who is at the other end.
pub(crate) struct Connection {
    pub(crate) peer: Option<Peer>,
    pub(crate) speaker: Speaker,
    pub(crate) address: Option<IpAddr>,
    pub(crate) sending: Sending,
}

/// What a request has of the server while it is answered.
#[derive(Default)]
struct Held {
    seat: Option<Seat>,
    class: Option<Class>,
    /// For its turn and for webhooks.
    waited: Duration,
    /// By flow control.
    refused: bool,
}

/// Most clients ask for JSON: only for the others their header is read before it is needed.
fn failure_format(headers: &HeaderMap) -> Format {
    let json = |value: &http::HeaderValue| value.as_bytes().starts_with(b"application/json") || value == "*/*";
    match headers.get(ACCEPT) {
        Some(value) if !json(value) => accept::for_status(headers),
        _ => Format::Json,
    }
}
