//! `watch`: changes after a revision, narrowed by selectors.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use mizzen_api::validate;
use mizzen_api::{GroupVersionResource, Object, Scope, Status, Verb};
use mizzen_client::{WatchEvent, WatchOptions};
use mizzen_store::{Batch, Event, RangeOptions, StoreError, Watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Pipeline;
use super::select::Selection;
use super::target::Target;
use crate::auth::Identity;
use crate::custom::CustomKinds;
use crate::errors;

/// Objects that are there at the start come in batches of so many bytes, each as large as one of a list.
const BATCH: usize = 56 * 1024;

/// What comes next in a watch.
pub(crate) enum Next {
    /// For this watch alone.
    Events(Vec<WatchEvent>),
    /// Every change as it is stored: the same for all watches that show all of it.
    All(Arc<Batch>),
}

impl Next {
    pub(crate) fn into_events(self) -> Vec<WatchEvent> {
        match self {
            Self::Events(events) => events,
            Self::All(batch) => events(&batch),
        }
    }
}

pub(crate) type WatchItem = Result<Next, Status>;

/// What changes mean to one who sees all of them.
pub(crate) fn events(changes: &[Event]) -> Vec<WatchEvent> {
    changes.iter().filter_map(|change| event(change, true, true)).collect()
}

/// What a change means to one who sees the object if it `is` selected, and saw it if it `was`.
fn event(change: &Event, is: bool, was: bool) -> Option<WatchEvent> {
    match (&change.object, &change.previous) {
        (Some(object), None) => is.then(|| WatchEvent::Added(object.clone())),
        (Some(object), Some(previous)) => match (is, was) {
            (true, true) => Some(WatchEvent::Modified(object.clone())),
            (true, false) => Some(WatchEvent::Added(object.clone())),
            (false, true) => Some(WatchEvent::Deleted(crate::scan::at_revision(previous, change.revision))),
            (false, false) => None,
        },
        (None, Some(previous)) => was.then(|| WatchEvent::Deleted(crate::scan::at_revision(previous, change.revision))),
        (None, None) => None,
    }
}

/// How often a watch that asked for bookmarks gets one when nothing else happens.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long a watch lasts when the client does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// An open watch of the pipeline; [`Watching::stream`] yields batches of events.
pub(crate) struct Watching {
    pub(crate) target: Target,
    /// For a custom kind, what shows its objects.
    custom: Option<Arc<CustomKinds>>,
    selection: Selection,
    initial: VecDeque<WatchEvent>,
    changes: Box<dyn Watch>,
    bookmarks: bool,
    ends: Instant,
}

impl Pipeline {
    pub(crate) async fn watch(
        &self,
        user: &Identity,
        resource: &GroupVersionResource,
        namespace: &str,
        options: &WatchOptions,
    ) -> Result<Watching, Status> {
        let target = self.resolve(user, "watch", resource, (namespace, "", ""))?;
        let selection = Selection::parse(&target.descriptor, &options.label_selector, &options.field_selector)?;
        self.authorize_selected(user, "watch", &target, &selection)?;
        target.require(Verb::Watch)?;
        let prefix = narrowed(&target, &selection);
        let (initial, after) = self.begin(&target, &prefix, &selection, options).await?;
        let changes = self.store.watch(&prefix, after).map_err(errors::store)?;
        let lasts = options.timeout_seconds.filter(|seconds| *seconds > 0).map_or(DEFAULT_TIMEOUT, Duration::from_secs);
        let ends = Instant::now() + lasts.min(Duration::from_secs(24 * 3600));
        let custom = target.descriptor.custom.is_some().then(|| self.custom.clone());
        Ok(Watching { target, custom, selection, initial, changes, bookmarks: options.allow_bookmarks, ends })
    }

    /// The events that come first, and the revision after which changes follow (API concepts, "Semantics for watch").
    async fn begin(
        &self,
        target: &Target,
        prefix: &str,
        selection: &Selection,
        options: &WatchOptions,
    ) -> Result<(VecDeque<WatchEvent>, u64), Status> {
        check(options)?;
        let asked = super::list::parse_revision(&options.resource_version)?;
        let initial = match options.send_initial_events {
            Some(initial) => initial,
            None => asked == 0,
        };
        if options.send_initial_events.is_some() && initial {
            self.reach(&options.resource_version).await?;
        }
        if !initial {
            if asked == 0 {
                self.store.barrier().await.map_err(errors::store)?;
                return Ok((VecDeque::new(), self.store.revision()));
            }
            let newest = self.store.revision();
            return if asked > newest { Err(errors::too_large_revision(asked, newest)) } else { Ok((VecDeque::new(), asked)) };
        }
        if options.resource_version.is_empty() {
            self.store.barrier().await.map_err(errors::store)?;
        }
        let found = self.store.range(prefix, &RangeOptions::default()).map_err(errors::store)?;
        let present = found.items.into_iter().filter(|(key, _)| within(prefix, key)).map(|(_, object)| object).collect();
        let present = self.custom.shown(&target.descriptor, present).await?;
        let mut events: VecDeque<WatchEvent> =
            present.into_iter().filter(|object| selection.matches(&target.descriptor, object)).map(WatchEvent::Added).collect();
        if options.send_initial_events == Some(true) && options.allow_bookmarks {
            events.push_back(WatchEvent::Bookmark { revision: found.revision, initial_events_end: true });
        }
        Ok((events, found.revision))
    }
}

/// Which parameters go together.
fn check(options: &WatchOptions) -> Result<(), Status> {
    const FIELD: &str = "resourceVersionMatch";
    let matching = options.resource_version_match.as_str();
    let mut causes = Vec::new();
    if options.send_initial_events.is_some() && matching != "NotOlderThan" {
        causes.push(validate::forbidden(FIELD, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
    }
    if !matching.is_empty() && options.send_initial_events.is_none() {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        causes.push(validate::forbidden(FIELD, why));
    }
    if !matching.is_empty() && matching != "NotOlderThan" {
        causes.push(validate::not_supported(FIELD, matching, &["NotOlderThan"]));
    }
    errors::options("ListOptions", causes)
}

/// The store's prefix of a watch: one key where the selector names one object.
fn narrowed(target: &Target, selection: &Selection) -> String {
    match selection.name() {
        Some(name) if target.descriptor.scope == Scope::Cluster || !target.namespace.is_empty() => {
            format!("{}{name}", target.prefix())
        }
        _ => target.prefix(),
    }
}

/// Bytes of an event's object.
fn size(event: &WatchEvent) -> usize {
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => object.bytes().len(),
        WatchEvent::Bookmark { .. } => 0,
    }
}

/// A prefix that is one whole key matches only that key.
fn within(prefix: &str, key: &str) -> bool {
    prefix.ends_with('/') || prefix == key
}

/// Returns when a custom kind has gone; never for a built-in one.
async fn ended(life: Option<&CancellationToken>) {
    match life {
        Some(life) => life.cancelled().await,
        None => std::future::pending().await,
    }
}

impl Watching {
    /// Batches of events until the watch times out, the store ends it or `shutdown` is cancelled.
    pub(crate) fn stream(self, shutdown: CancellationToken) -> impl Stream<Item = WatchItem> + Send + 'static {
        let next_bookmark = Instant::now() + BOOKMARK_EVERY;
        // Both live as long as the watch: a thousand watchers that each set a clock for every event would meet at the timer.
        let alarm = Box::pin(tokio::time::sleep_until(self.ends.min(next_bookmark)));
        let shutdown = Box::pin(shutdown.cancelled_owned());
        // A watch on a custom kind ends with the kind.
        let life = self.custom.as_ref().map(|custom| custom.life(&self.target.descriptor));
        futures::stream::unfold(Some((self, alarm, shutdown)), move |state| {
            let life = life.clone();
            async move {
                let (mut watching, mut alarm, mut shutdown) = state?;
                if !watching.initial.is_empty() {
                    let batch = watching.next_initial();
                    let shown = watching.shown(batch);
                    let rest = shown.is_ok().then_some((watching, alarm, shutdown));
                    return Some((shown, rest));
                }
                loop {
                    tokio::select! {
                        biased;
                        () = shutdown.as_mut() => return None,
                        // Before the changes, or a busy resource would keep the clock from being looked at.
                        () = alarm.as_mut() => {
                            let now = Instant::now();
                            let ended = now >= watching.ends;
                            alarm.as_mut().reset(watching.ends.min(now + BOOKMARK_EVERY));
                            match watching.bookmark() {
                                Some(bookmark) => {
                                    let rest = (!ended).then_some((watching, alarm, shutdown));
                                    return Some((Ok(Next::Events(vec![bookmark])), rest));
                                }
                                None if ended => return None,
                                None => {}
                            }
                        }
                        changes = watching.changes.next() => match changes {
                            Ok(changes) if watching.shows_all() => {
                                return Some((Ok(Next::All(changes)), Some((watching, alarm, shutdown))));
                            }
                            Ok(changes) => {
                                let batch = match &watching.custom {
                                    None => watching.translate(&changes),
                                    Some(custom) => match custom.shown_events(&watching.target.descriptor, &changes).await {
                                        Ok(changes) => watching.translate(&changes),
                                        Err(status) => return Some((Err(status), None)),
                                    },
                                };
                                if !batch.is_empty() {
                                    let shown = watching.shown(batch);
                                    let rest = shown.is_ok().then_some((watching, alarm, shutdown));
                                    return Some((shown, rest));
                                }
                            }
                            Err(StoreError::Unavailable { .. }) => return None,
                            Err(error) => return Some((Err(errors::store(error)), None)),
                        },
                        // After the changes: the last of them say how the objects went.
                        () = ended(life.as_ref()) => return None,
                    }
                }
            }
        })
    }

    /// Whether it begins with objects of more bytes than so many.
    pub(crate) fn begins_with_more_than(&self, bytes: u64) -> bool {
        let mut left = bytes;
        !self.initial.iter().all(|event| {
            let rest = left.checked_sub(size(event) as u64);
            left = rest.unwrap_or(0);
            rest.is_some()
        })
    }

    /// The next of what is there at the start: one at least.
    fn next_initial(&mut self) -> Vec<WatchEvent> {
        let mut bytes = 0;
        let fits = |event: &&WatchEvent| {
            let fits = bytes < BATCH;
            bytes += size(event);
            fits
        };
        let count = self.initial.iter().take_while(fits).count();
        self.initial.drain(..count).collect()
    }

    fn bookmark(&self) -> Option<WatchEvent> {
        let revision = self.changes.progress();
        (self.bookmarks && revision > 0).then_some(WatchEvent::Bookmark { revision, initial_events_end: false })
    }

    /// The events with their objects in the client's form.
    fn shown(&self, batch: Vec<WatchEvent>) -> WatchItem {
        if self.target.form().is_none() {
            return Ok(Next::Events(batch));
        }
        let shown = batch.into_iter().map(|event| {
            Ok(match event {
                WatchEvent::Added(object) => WatchEvent::Added(self.target.shown(object)?),
                WatchEvent::Modified(object) => WatchEvent::Modified(self.target.shown(object)?),
                WatchEvent::Deleted(object) => WatchEvent::Deleted(self.target.shown(object)?),
                bookmark => bookmark,
            })
        });
        shown.collect::<Result<_, _>>().map(Next::Events)
    }

    /// Whether it shows every change of its collection as it is stored.
    fn shows_all(&self) -> bool {
        self.custom.is_none() && self.selection.is_everything() && self.target.form().is_none()
    }

    fn translate(&self, changes: &[Event]) -> Vec<WatchEvent> {
        changes.iter().filter_map(|change| self.event(change)).collect()
    }

    /// What a change means to one who sees only what the selectors let through.
    fn event(&self, change: &Event) -> Option<WatchEvent> {
        let matches = |object: &Option<Arc<Object>>| {
            object.as_ref().is_some_and(|object| self.selection.matches(&self.target.descriptor, object))
        };
        if let Some(name) = self.selection.name()
            && change.key.rsplit('/').next() != Some(name)
        {
            return None;
        }
        event(change, matches(&change.object), matches(&change.previous))
    }
}
