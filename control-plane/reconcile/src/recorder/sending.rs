//! Writes events behind other work: one at a time while more come, for who has much to tell is busy, and many at once after.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use mizzen_api::Status;
use mizzen_client::{ApiRequest, Client, PatchKind};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Occurrence;
use super::event::{NewEvent, Subject, seconds};
use super::recent::Recent;
use super::similar::Similar;
use crate::Clock;
use crate::typed::gvr;

/// Events on their way at once when nothing new has come for [`QUIET`].
const AT_ONCE: usize = 16;
const QUIET: Duration = Duration::from_millis(100);
/// What Kubernetes begins the message of combined events with.
const COMBINED: &str = "(combined from similar events): ";

/// What makes two occurrences the same event; combined ones have no message of their own.
type Identity = (Subject, Option<String>);

struct Known {
    namespace: String,
    name: String,
    count: i32,
}

/// One event of those that are sent together, with how often it has occurred among them.
struct Outgoing {
    identity: Identity,
    occurrence: Occurrence,
    message: String,
    times: i32,
    at: Timestamp,
}

pub(super) struct Sending {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    component: String,
    host: String,
    known: Recent<Identity, Known>,
    similar: Similar,
    /// When the newest event happened: events are named by their time, and no two have the same.
    newest: Timestamp,
}

impl Sending {
    pub(super) fn new(client: Arc<dyn Client>, clock: Arc<dyn Clock>, component: &str, host: &str) -> Self {
        let (component, host) = (component.to_owned(), host.to_owned());
        let (known, similar) = (Recent::default(), Similar::default());
        Self { client, clock, component, host, known, similar, newest: Timestamp::MIN }
    }

    pub(super) async fn run(mut self, mut receiver: mpsc::Receiver<Occurrence>) {
        let (mut taken, mut left, mut came) = (Vec::new(), 0, Instant::now());
        loop {
            let now = Instant::now();
            if receiver.len() > left {
                came = now;
            }
            let at_once = if now - came < QUIET { 1 } else { AT_ONCE };
            if receiver.recv_many(&mut taken, at_once).await == 0 {
                return;
            }
            left = receiver.len();
            let outgoing = self.outgoing(&mut taken);
            self.send(outgoing).await;
        }
    }

    /// What to send of some occurrences: the same event once.
    fn outgoing(&mut self, taken: &mut Vec<Occurrence>) -> Vec<Outgoing> {
        let mut all: Vec<Outgoing> = Vec::with_capacity(taken.len());
        for occurrence in taken.drain(..) {
            let at = self.next_time();
            let subject = Subject::of(&occurrence);
            let (message, own) = match self.similar.is_combined(&subject, &occurrence.message, at) {
                true => (format!("{COMBINED}{}", occurrence.message), None),
                false => (occurrence.message.clone(), Some(occurrence.message.clone())),
            };
            let identity = (subject, own);
            match all.iter_mut().find(|known| known.identity == identity) {
                Some(known) => (known.message, known.at, known.times) = (message, at, known.times.saturating_add(1)),
                None => all.push(Outgoing { identity, occurrence, message, times: 1, at }),
            }
        }
        all
    }

    fn next_time(&mut self) -> Timestamp {
        let later = self.newest.checked_add(SignedDuration::from_nanos(1)).unwrap_or(self.newest);
        self.newest = self.clock.now().max(later);
        self.newest
    }

    async fn send(&mut self, all: Vec<Outgoing>) {
        let patches = all.iter().map(|one| {
            let known = self.known.get_mut(&one.identity)?;
            known.count = known.count.saturating_add(one.times);
            let patch = json!({"count": known.count, "lastTimestamp": seconds(one.at), "message": one.message});
            Some(ApiRequest::patch(&gvr::<Event>(), &known.namespace, &known.name, PatchKind::Merge, patch))
        });
        let patches: Vec<Option<ApiRequest>> = patches.collect();
        let sent = join_all(all.iter().zip(patches).map(|(one, patch)| self.send_one(one, patch))).await;
        for (one, created) in all.into_iter().zip(sent) {
            match created {
                Ok(Some(known)) => self.known.insert(one.identity, known),
                Ok(None) => {}
                Err(status) => tracing::debug!(%status, "event not created"),
            }
        }
    }

    /// What was created, if it was not there already.
    async fn send_one(&self, one: &Outgoing, patch: Option<ApiRequest>) -> Result<Option<Known>, Status> {
        if let Some(patch) = patch {
            match self.client.write(patch).await {
                Ok(_) => return Ok(None),
                // The event has expired or could not be patched: make a new one.
                Err(status) => tracing::debug!(%status, "event not patched"),
            }
        }
        let Outgoing { occurrence, message, times, at, .. } = one;
        let (component, host) = (&*self.component, &*self.host);
        let event = NewEvent { occurrence, message, count: *times, component, host, at: *at };
        let (namespace, name) = (event.namespace().to_owned(), event.name());
        self.client.write(ApiRequest::create(&gvr::<Event>(), &namespace, event.document())).await?;
        Ok(Some(Known { namespace, name, count: *times }))
    }
}
