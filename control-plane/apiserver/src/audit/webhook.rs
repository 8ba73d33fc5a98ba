//! Events to a webhook, in batches (`audit.k8s.io/v1`, `EventList`). Requests do not wait for it: what it cannot take in time
//! is dropped, and the server's own log says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::AuditError;
use crate::webhook::{Place, place_of, post, trusting};

/// How long one delivery may take, as in Kubernetes.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a batch is tried.
const TRIES: u32 = 5;
/// What a wait is longer than the one before it.
const FACTOR: f64 = 1.5;
/// How long what is left may take when the server ends.
const LAST: Duration = Duration::from_secs(5);

/// Where the webhook is, and as whom it is told.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// `https://…`.
    pub url: String,
    /// Whom to trust, PEM.
    pub root: String,
    /// The name that its certificate is for, where it is not that of the URL.
    pub tls_server_name: Option<String>,
    /// Client certificate and key, PEM.
    pub pair: Option<(String, String)>,
    /// The value of the header `Authorization`.
    pub authorization: Option<String>,
    pub batches: Batches,
}

/// When a batch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    /// Events that wait at most; more are dropped.
    pub buffer: usize,
    /// Events of one batch at most.
    pub size: usize,
    /// How long an event waits for others.
    pub wait: Duration,
    /// How long after a failure a batch is tried again; longer with each time.
    pub backoff: Duration,
}

impl Default for Batches {
    fn default() -> Self {
        Self { buffer: 10_000, size: 400, wait: Duration::from_secs(30), backoff: Duration::from_secs(10) }
    }
}

/// Where requests leave their events.
pub(super) struct Queue {
    events: mpsc::Sender<Value>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    pub(super) fn push(&self, event: Value) {
        if self.events.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Takes events to the webhook.
pub struct Delivery {
    events: mpsc::Receiver<Value>,
    dropped: Arc<AtomicU64>,
    batches: Batches,
    place: Place,
    tls: Arc<rustls::ClientConfig>,
    authorization: Option<HeaderValue>,
}

pub(super) fn open(config: WebhookConfig) -> Result<(Queue, Delivery), AuditError> {
    let wrong = |why: String| AuditError::Webhook { url: config.url.clone(), why };
    if !config.url.starts_with("https://") {
        return Err(wrong("only https is spoken".to_owned()));
    }
    let mut place = place_of(&config.url).map_err(|error| wrong(error.to_string()))?;
    if let Some(name) = &config.tls_server_name {
        place.name.clone_from(name);
    }
    let tls = trusting(config.root.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    let tls = match &config.pair {
        None => tls.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
            let chain = chain.map_err(|error| wrong(format!("the client certificate: {error}")))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| wrong(format!("the client key: {error}")))?;
            tls.with_client_auth_cert(chain, key).map_err(|error| wrong(format!("the client certificate: {error}")))?
        }
    };
    let authorization = config.authorization.as_deref().map(HeaderValue::from_str).transpose();
    let mut authorization = authorization.map_err(|error| wrong(format!("the credentials: {error}")))?;
    if let Some(value) = &mut authorization {
        value.set_sensitive(true);
    }
    let (sender, events) = mpsc::channel(config.batches.buffer.max(1));
    let dropped = Arc::new(AtomicU64::new(0));
    let queue = Queue { events: sender, dropped: dropped.clone() };
    Ok((queue, Delivery { events, dropped, batches: config.batches, place, tls: Arc::new(tls), authorization }))
}

impl Delivery {
    /// Delivers until `shutdown`, and then what is left.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while let Some(batch) = self.gather(&shutdown).await {
            let body = body(batch);
            tokio::select! {
                () = shutdown.cancelled() => {
                    self.end(Some(body)).await;
                    return;
                }
                () = self.deliver(&body) => {}
            }
        }
        self.end(None).await;
    }

    /// Delivers what is left, `first` before the rest.
    async fn end(&mut self, first: Option<Bytes>) {
        let until = Instant::now() + LAST;
        if let Some(first) = first {
            self.last_try(first, until).await;
        }
        while let Some(batch) = self.waiting() {
            self.last_try(body(batch), until).await;
        }
        self.tell_dropped();
    }

    /// The next events that go together; `None` when the server ends.
    async fn gather(&mut self, shutdown: &CancellationToken) -> Option<Vec<Value>> {
        let first = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            first = self.events.recv() => first?,
        };
        let (mut batch, until) = (vec![first], Instant::now() + self.batches.wait);
        while batch.len() < self.batches.size {
            tokio::select! {
                biased;
                next = self.events.recv() => match next {
                    Some(event) => batch.push(event),
                    None => break,
                },
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep_until(until) => break,
            }
        }
        Some(batch)
    }

    /// What waits when the server ends, as one batch.
    fn waiting(&mut self) -> Option<Vec<Value>> {
        let mut batch = Vec::new();
        while batch.len() < self.batches.size
            && let Ok(event) = self.events.try_recv()
        {
            batch.push(event);
        }
        (!batch.is_empty()).then_some(batch)
    }

    async fn deliver(&self, body: &Bytes) {
        let mut wait = self.batches.backoff;
        for attempt in 1..=TRIES {
            match self.send(body.clone()).await {
                Ok(()) => break,
                Err(why) if attempt == TRIES => tracing::error!(url = self.place.url(), why, "audit events are lost"),
                Err(why) => {
                    tracing::warn!(url = self.place.url(), why, "audit events not delivered, trying again");
                    tokio::time::sleep(wait).await;
                    wait = wait.mul_f64(FACTOR);
                }
            }
        }
        self.tell_dropped();
    }

    fn tell_dropped(&self) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::error!(url = self.place.url(), dropped, "audit events are lost: the buffer was full");
        }
    }

    async fn last_try(&self, body: Bytes, until: Instant) {
        let sent = tokio::time::timeout_at(until, self.send(body)).await;
        let why = match sent {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why,
            Err(_) => format!("no answer in {LAST:?}"),
        };
        tracing::error!(url = self.place.url(), why, "audit events are lost");
    }

    async fn send(&self, body: Bytes) -> Result<(), String> {
        let sending = post(&self.place, self.tls.clone(), self.authorization.as_ref(), body);
        match tokio::time::timeout(TIMEOUT, sending).await {
            Err(_) => Err(format!("no answer in {TIMEOUT:?}")),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok((200..300, _))) => Ok(()),
            Ok(Ok((code, _))) => Err(format!("the server answered {code}")),
        }
    }
}

/// Events of a list do not say what they are: the list does.
fn body(mut events: Vec<Value>) -> Bytes {
    for event in events.iter_mut().filter_map(Value::as_object_mut) {
        event.remove("kind");
        event.remove("apiVersion");
    }
    json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events}).to_string().into()
}
