//! API Priority and Fairness: requests are told apart by `FlowSchema` objects and run within the limits of
//! `PriorityLevelConfiguration` objects, so that no client can drown the others (docs/decisions/0020).

pub mod bootstrap;
mod config;
mod crowd;
mod dangling;
mod held;
mod level;
mod limits;
mod queues;
mod report;
mod rules;
mod shuffle;
mod sizes;
mod stats;
mod turns;
pub(crate) mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName};
use mizzen_api::{Object, Reason, Status};
use mizzen_store::{RangeOptions, Store, StoreError};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use config::{Config, Schema, Seats};
use crowd::Crowds;
use level::Permit;
use sizes::Sizes;
use stats::Wait;
use turns::Turns;

use crate::auth::{Action, Identity};
use crate::follow;

pub(crate) use held::until_dropped;
pub(crate) use level::PATIENCE;
pub(crate) use turns::Speaker;

/// Between two looks at who could lend seats to whom, while seats are scarce.
const ADJUST: Duration = Duration::from_millis(250);
/// A list counts for one seat for so many objects, and for at most so many seats.
const OBJECTS_A_SEAT: u64 = 100;
const LIST_SEATS: u64 = 10;

const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

pub(crate) struct Fairness {
    store: Arc<dyn Store>,
    seats: Seats,
    config: ArcSwap<Config>,
    /// Held while the configuration is replaced.
    loading: Mutex<()>,
    scarce: Arc<Notify>,
    turns: Turns,
    /// The turns of crowds, who are served by threads of their own.
    crowd_turns: Turns,
    crowds: Crowds,
    since: Instant,
    list_sizes: Sizes,
}

/// A request that runs. Its seats are given back when it is dropped.
pub(crate) struct Seat {
    class: Class,
    permit: Option<Permit>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let (Some(schema), Some(permit)) = (&self.class.0, self.permit.take()) {
            schema.stats.finished(permit.since().elapsed());
        }
    }
}

impl Seat {
    pub(crate) fn class(&self) -> Class {
        self.class.clone()
    }
}

/// What a request was found to be.
#[derive(Clone)]
pub(crate) struct Class(Option<Arc<Schema>>);

impl Class {
    /// Whose connection it came on.
    pub(crate) fn names(&self, speaker: &Speaker, user: &Identity, action: &Action<'_>) {
        let limited = self.0.as_ref().filter(|schema| schema.level.shape != level::Shape::Exempt);
        speaker.is(limited.map(|schema| shuffle::hash(&schema.name, schema.spec.distinguisher(user, action))));
    }

    /// Names schema and level in an answer.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        if let Some(schema) = &self.0 {
            headers.insert(SCHEMA_UID, schema.uid.clone());
            headers.insert(LEVEL_UID, schema.level.uid.clone());
        }
    }
}

/// A request that is refused: 429, to be tried again.
pub(crate) struct Refused {
    pub(crate) class: Class,
}

impl From<Refused> for Status {
    fn from(_: Refused) -> Self {
        let mut status = Self::new(Reason::TooManyRequests, "Too many requests, please try again later.");
        status.details.retry_after_seconds = Some(1);
        status
    }
}

impl Fairness {
    /// Takes over what the store has, and follows it until `shutdown`. All levels together have `count` seats, for which a
    /// request waits no longer than `patience`.
    pub(crate) fn start(store: Arc<dyn Store>, (count, patience): (u32, Duration), shutdown: CancellationToken) -> Arc<Self> {
        let fairness = Arc::new(Self {
            store: store.clone(),
            seats: Seats { count, patience },
            config: ArcSwap::default(),
            loading: Mutex::default(),
            scarce: Arc::default(),
            turns: Turns::new(),
            crowd_turns: Turns::new(),
            crowds: Crowds::new(),
            since: Instant::now(),
            list_sizes: Sizes::default(),
        });
        let revision = fairness.load();
        let follower = fairness.clone();
        tokio::spawn(follow::run(store, follow_prefix(), revision, shutdown.clone(), move || follower.load()));
        let lender = fairness.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = lender.lend() => {}
            }
        });
        fairness
    }

    fn stored(&self, resource: &str) -> Result<(u64, Vec<Arc<Object>>), StoreError> {
        let range = self.store.range(&format!("{}{resource}/", follow_prefix()), &RangeOptions::default())?;
        Ok((range.revision, range.items.into_iter().map(|(_, object)| object).collect()))
    }

    /// Takes over what the store has. Returns the revision that it is of.
    fn load(&self) -> u64 {
        let _loading = self.loading.lock();
        let read = || Ok((self.stored("prioritylevelconfigurations")?, self.stored("flowschemas")?));
        match read() {
            Ok(((revision, levels), (_, schemas))) => {
                let config = Config::build(&self.config.load(), (&levels, &schemas), self.seats, &self.scarce);
                self.config.store(Arc::new(config));
                revision
            }
            Err::<_, StoreError>(error) => {
                tracing::error!(%error, "read the objects of flow control");
                self.store.revision()
            }
        }
    }

    /// Lets levels lend each other seats while somewhere they are scarce. Sleeps otherwise.
    async fn lend(&self) {
        loop {
            self.scarce.notified().await;
            let mut borrowed = true;
            while borrowed {
                borrowed = self.adjust();
                tokio::time::sleep(ADJUST).await;
            }
        }
    }

    /// Sets every limit by what levels could use; true while any differs from its nominal one.
    fn adjust(&self) -> bool {
        let config = self.config.load();
        let limited: Vec<_> = config.levels.iter().filter(|level| level.shape != level::Shape::Exempt).collect();
        let demands: Vec<_> = limited.iter().map(|level| (level.bounds(), level.demand())).collect();
        let limits = limits::share_out(&demands);
        // First those that lend.
        let mut changes: Vec<_> = limited.iter().zip(&limits).collect();
        changes.sort_by_key(|(level, limit)| **limit > level.bounds().nominal);
        for (level, limit) in changes {
            level.set_limit(*limit);
        }
        demands.iter().zip(limits).any(|((bounds, demand), limit)| limit != bounds.nominal || *demand > limit)
    }

    /// Waits until a request may run.
    ///
    /// # Errors
    /// When it may not, now.
    pub(crate) async fn begin(&self, user: &Identity, action: &Action<'_>, seats: u32) -> Result<Seat, Refused> {
        let Some(schema) = self.config.load().classify(user, action) else {
            return Ok(Seat { class: Class(None), permit: None });
        };
        let came = Instant::now();
        let wait = Wait::begin(&schema.stats);
        let flow = || shuffle::hash(&schema.name, schema.spec.distinguisher(user, action));
        let admitted = schema.level.begin(seats, flow).await;
        wait.answered();
        match admitted {
            Ok(permit) => {
                schema.stats.dispatched(permit.since() - came);
                Ok(Seat { class: Class(Some(schema)), permit: Some(permit) })
            }
            Err(why) => {
                tracing::debug!(schema = &*schema.name, user = user.username, ?why, "a request is refused");
                schema.stats.refused(why, came.elapsed());
                Err(Refused { class: Class(Some(schema)) })
            }
        }
    }

    /// Notes that somebody comes with a new connection. Returns whether so many come that others are to be kept from them.
    pub(crate) fn comes(&self, speaker: &Speaker) -> bool {
        self.adds(speaker, crowd::HANDSHAKE)
    }

    /// Notes that somebody asks, in so many bytes. Returns whether they ask so much that others are to be kept from it.
    pub(crate) fn asks(&self, speaker: &Speaker, bytes: u64) -> bool {
        self.crowds.is_there(speaker.flow().unwrap_or(u64::MAX), self.since.elapsed());
        self.adds(speaker, crowd::cost(bytes))
    }

    /// Notes that somebody is sent so many bytes.
    pub(crate) fn is_sent(&self, speaker: &Speaker, bytes: u64) {
        self.adds(speaker, crowd::cost(bytes));
    }

    fn adds(&self, speaker: &Speaker, cost: u64) -> bool {
        speaker.flow().is_some_and(|flow| self.crowds.adds(flow, cost, self.since.elapsed()))
    }

    /// Runs a request when it is its speaker's turn on the processor. Crowds have turns of their own: where their threads wait for a
    /// processor, nobody else is to wait for them.
    pub(crate) async fn in_turn<T>(&self, speaker: &Speaker, is_crowd: bool, request: impl Future<Output = T>) -> T {
        if is_crowd {
            // As before the chunks of large answers (decision 0064).
            std::thread::yield_now();
            self.crowd_turns.run(speaker, request).await
        } else {
            self.turns.run(speaker, request).await
        }
    }

    /// The seats of a list, by how many objects such lists had of late and at most `limit` (0: all).
    pub(crate) fn seats_of_list(&self, resource: &str, limit: u64) -> u32 {
        let known = self.list_sizes.expected(resource, Instant::now());
        let objects = if limit > 0 { known.min(limit) } else { known };
        u32::try_from(objects.div_ceil(OBJECTS_A_SEAT).clamp(1, LIST_SEATS)).unwrap_or(1)
    }

    /// A list had so many objects, or would have had without a limit.
    pub(crate) fn listed(&self, resource: &str, objects: u64) {
        self.list_sizes.seen(resource, objects, Instant::now());
    }
}

fn follow_prefix() -> String {
    format!("/registry/{}/", bootstrap::GROUP)
}
