//! From what an object asks for to what is at work.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ObjectReference;
use mizzen_api::{GroupVersionResource, ObjectRef, Reason};
use mizzen_client::{ApiRequest, Client, ListOptions, PatchKind};
use mizzen_reconcile::{Action, Backoff, Clock, Error, EventType, Reconciler, Recorder, WatchCache};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fetch::{Component, Fetch};
use crate::loads::{Loads, Statistics};
use crate::login;
use crate::record::{Record, Records};
use crate::refusal::Refusal;
use crate::status::{self, Outcome};
use crate::table::{Live, Table};
use crate::wanted::Wanted;

/// How often what is counted is written into a status, at most.
const COUNTED: Duration = Duration::from_secs(15);

/// What was fetched since stays, though nobody uses it.
const FRESH: Duration = Duration::from_secs(600);

const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));

/// Which kind is followed.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) resource: GroupVersionResource,
    pub(crate) name: &'static str,
}

/// Keeps the plugins of one kind.
pub(crate) struct Loading<L: Loads> {
    pub(crate) kind: Kind,
    pub(crate) client: Arc<dyn Client>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) recorder: Recorder,
    pub(crate) objects: Arc<WatchCache>,
    pub(crate) keeper: Arc<Keeper<L>>,
    pub(crate) tries: Mutex<HashMap<ObjectRef, Try>>,
}

/// The last try for an object.
#[derive(Clone)]
pub(crate) struct Try {
    wanted: Wanted,
    outcome: Outcome,
    /// When the next one is due.
    next: Instant,
    failures: u32,
    /// The manifest that was refused: it will not be better for being compiled again.
    refused: Option<String>,
    /// What was counted when it was last written, and when.
    counted: Option<(Statistics, Instant)>,
}

/// What is at work, and where it comes from.
pub(crate) struct Keeper<L: Loads> {
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) loads: L,
    pub(crate) records: Records,
    pub(crate) table: Arc<Table<L::Plugin>>,
}

impl<L: Loads> Keeper<L> {
    pub(crate) fn open(folder: &Path, fetch: Arc<dyn Fetch>, loads: L, table: Arc<Table<L::Plugin>>) -> std::io::Result<Self> {
        Ok(Self { fetch, loads, records: Records::open(folder.to_owned())?, table })
    }

    /// Takes up again what was at work when the last server ended, without asking anybody.
    pub(crate) async fn restore(&self, key: &ObjectRef, wanted: &Wanted) -> Option<Arc<Live<L::Plugin>>> {
        let record = self.records.read(key).filter(|record| record.uid == wanted.uid)?;
        if !record.terms.capabilities.is_subset(&wanted.terms.capabilities) {
            return None;
        }
        let component = self.fetch.kept(&record.pinned()).or_else(|| {
            // The tag may still be the very same.
            self.fetch.kept(&record.image).filter(|component| component.manifest == record.manifest)
        })?;
        match self.loads.load(key, &component, &record.terms).await {
            Ok(plugin) => {
                let Record { uid, image, terms, .. } = record;
                let live = Arc::new(Live { plugin, component, uid, image, terms });
                self.table.put(key, live.clone());
                Some(live)
            }
            Err(why) => {
                tracing::warn!(object = %key, %why, "a plugin that was at work cannot be loaded any more");
                None
            }
        }
    }

    /// Lets another plugin work for the object from now on.
    async fn swap(&self, key: &ObjectRef, wanted: &Wanted, component: Component) -> Result<Arc<Live<L::Plugin>>, Refusal> {
        let plugin = self.loads.load(key, &component, &wanted.terms).await?;
        let (uid, image, terms) = (wanted.uid.clone(), wanted.image.clone(), wanted.terms.clone());
        let record =
            Record { uid: uid.clone(), image: image.clone(), manifest: component.manifest.clone(), terms: terms.clone() };
        if let Err(error) = self.records.write(key, &record) {
            // It works all the same; only the next server will not know.
            tracing::error!(object = %key, %error, "write what is at work");
        }
        let live = Arc::new(Live { plugin, component, uid, image, terms });
        self.table.put(key, live.clone());
        Ok(live)
    }

    fn forget(&self, key: &ObjectRef) {
        self.withdraw(key);
        self.records.remove(key);
    }

    /// Lets nothing work for the object any more.
    fn withdraw(&self, key: &ObjectRef) {
        self.table.remove(key);
        // What works nowhere cannot be refused.
        let _ = self.loads.engage(key, &Value::Null, None);
    }
}

impl<L: Loads> Loading<L> {
    /// Takes up what was at work for every object that there is.
    pub(crate) async fn restore(kind: &Kind, client: &dyn Client, keeper: &Keeper<L>) {
        let list = match client.list(&kind.resource, "", &ListOptions::default()).await {
            Ok(list) => list,
            Err(status) => {
                tracing::error!(%status, kind = kind.name, "list the objects of plugins");
                return;
            }
        };
        for object in &list.items {
            let (Some(wanted), Ok(document)) = (Wanted::of(object), object.value()) else { continue };
            let key = object.head().object_ref();
            let live = keeper.restore(&key, &wanted).await;
            if let Err(why) = keeper.loads.engage(&key, &document, live.as_ref().map(|live| &live.plugin)) {
                tracing::warn!(object = %key, %why, "a plugin that is taken up again");
            }
        }
    }

    /// Gets what the object asks for and puts it to work, unless it is there already.
    /// Tells the manifest besides, where that is what is refused.
    async fn attempt(
        &self,
        key: &ObjectRef,
        wanted: &Wanted,
        live: Option<&Live<L::Plugin>>,
        before: Option<&Try>,
        old: &Value,
    ) -> (Outcome, Option<String>) {
        let keeper = &*self.keeper;
        let pinned = wanted.is_pinned().then(|| keeper.fetch.kept(&wanted.image)).flatten();
        let pulled = match pinned {
            Some(component) => Ok(component),
            None => match login::find(&*self.client, wanted).await {
                Ok(login) => keeper.fetch.pull(&wanted.image, &login).await,
                Err(why) => Err(why),
            },
        };
        let (component, stale) = match pulled {
            Ok(component) => (component, None),
            Err(why) => match keeper.fetch.kept(&wanted.image) {
                Some(component) => (component, Some(why)),
                None => return (Outcome::Refused(why), None),
            },
        };
        let is_there = live.is_some_and(|live| {
            live.component.digest == component.digest && live.terms == wanted.terms && live.image == wanted.image
        });
        if !is_there {
            let manifest = component.manifest.clone();
            if let Some(before) = before.filter(|before| before.refused.as_ref() == Some(&manifest) && before.wanted == *wanted) {
                return (before.outcome.clone(), Some(manifest));
            }
            if !keeper.loads.is_compiled(&component) {
                let status = status::compiling(live, &component.digest, wanted.generation, old, self.clock.now());
                if let Err(error) = self.patch_status(key, &wanted.uid, status).await {
                    // It is compiled all the same.
                    tracing::debug!(object = %key, %error, "a plugin's status does not say that it is compiled");
                }
            }
            if let Err(why) = keeper.swap(key, wanted, component).await {
                return (Outcome::Refused(why), Some(manifest));
            }
        }
        (stale.map_or(Outcome::Current, Outcome::Stale), None)
    }

    /// Forgets what was fetched for nobody who is here now.
    async fn tidy(&self) {
        let keeper = &*self.keeper;
        // What others have fetched a moment ago has no record yet.
        let before = SystemTime::from(self.clock.now()).checked_sub(FRESH).unwrap_or(SystemTime::UNIX_EPOCH);
        keeper.fetch.keep_only(keeper.records.manifests(), before).await;
    }

    fn tell(
        &self,
        key: &ObjectRef,
        wanted: &Wanted,
        before: Option<&Outcome>,
        tried: &Outcome,
        live: Option<&Live<L::Plugin>>,
        swapped: bool,
    ) {
        let about = ObjectReference {
            api_version: Some(format!("{}/{}", self.kind.resource.group, self.kind.resource.version)),
            kind: Some(self.kind.name.to_owned()),
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            uid: Some(wanted.uid.clone()),
            ..ObjectReference::default()
        };
        if let Some(live) = live.filter(|_| swapped) {
            let signer = live.component.signer.as_ref().map(|key| format!(", signed by the key {key}")).unwrap_or_default();
            let message = format!("{} of {} is at work{signer}", live.component.digest, live.image);
            self.recorder.event(&about, EventType::Normal, "Loaded", message);
        }
        if let Outcome::Refused(why) | Outcome::Stale(why) = tried
            && before != Some(tried)
        {
            self.recorder.event(&about, EventType::Warning, why.reason, why.message.clone());
        }
    }

    /// Writes what the status does not say yet; what is counted now and then.
    async fn write_status(
        &self,
        key: &ObjectRef,
        document: &Value,
        tried: &mut Try,
        live: Option<&Live<L::Plugin>>,
        idle: Option<Refusal>,
    ) -> Result<(), Error> {
        let old = &document["status"];
        let mut wanted = status::status(live, &tried.outcome, idle, tried.wanted.generation, old, self.clock.now());
        let changed = !status::says(old, &wanted);
        let now = Instant::now();
        if let Some(live) = live {
            let counted = self.keeper.loads.statistics(&live.plugin);
            let is_due = tried.counted.is_none_or(|(before, at)| before != counted && now.duration_since(at) >= COUNTED);
            if changed || is_due {
                tried.counted = Some((counted, now));
                merge(&mut wanted, status::counted(&counted));
            }
        }
        if status::says(old, &wanted) {
            return Ok(());
        }
        self.patch_status(key, &tried.wanted.uid, wanted).await
    }

    /// That the object is gone is no failure.
    async fn patch_status(&self, key: &ObjectRef, uid: &str, status: Value) -> Result<(), Error> {
        let patch = json!({"metadata": {"uid": uid}, "status": status});
        let request = ApiRequest::patch(&self.kind.resource, &key.namespace, &key.name, PatchKind::Merge, patch);
        match self.client.write(request.subresource("status").manager("mizzen-plugins")).await {
            Ok(_) => Ok(()),
            Err(status) if status.is(Reason::NotFound) => Ok(()),
            Err(status) => Err(Error::api(format!("write the status of {} {key}", self.kind.name), status)),
        }
    }
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}

#[async_trait]
impl<L: Loads> Reconciler for Loading<L> {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(object) = self.objects.get(&key) else {
            self.keeper.forget(&key);
            self.tries.lock().remove(&key);
            return Ok(Action::Done);
        };
        let Some(wanted) = Wanted::of(&object) else { return Ok(Action::Done) };
        let mut live = self.keeper.table.get(&key);
        if live.as_ref().is_some_and(|live| live.uid != wanted.uid) {
            // Another object of the same name.
            self.keeper.forget(&key);
            live = None;
        }
        if live.as_ref().is_some_and(|live| !live.terms.capabilities.is_subset(&wanted.terms.capabilities)) {
            // What may not be done any more ends now, whatever comes after.
            self.keeper.withdraw(&key);
            live = None;
        }
        let before = self.tries.lock().get(&key).cloned();
        if live.is_none() && before.is_none() {
            live = self.keeper.restore(&key, &wanted).await;
        }
        let Ok(document) = object.value() else { return Ok(Action::Done) };
        // How it works is changed at once, whatever becomes of the component.
        let mut engaged = self.keeper.loads.engage(&key, &document, live.as_ref().map(|live| &live.plugin));
        let now = Instant::now();
        let known = before.filter(|before| before.wanted == wanted && now < before.next);
        let mut is_swapped = false;
        let mut tried = match known {
            Some(known) => known,
            None => {
                let before = self.tries.lock().get(&key).cloned();
                let (outcome, refused) = self.attempt(&key, &wanted, live.as_deref(), before.as_ref(), &document["status"]).await;
                let after = self.keeper.table.get(&key);
                let swapped = match (&live, &after) {
                    (Some(before), Some(after)) => !Arc::ptr_eq(before, after),
                    (before, after) => before.is_none() && after.is_some(),
                };
                (live, is_swapped) = (after, swapped);
                engaged = self.keeper.loads.engage(&key, &document, live.as_ref().map(|live| &live.plugin));
                let last = before.as_ref().map(|before| &before.outcome);
                self.tell(&key, &wanted, last, &outcome, live.as_deref(), swapped);
                let failures = before.as_ref().filter(|before| before.wanted == wanted).map_or(0, |before| before.failures);
                let (failures, wait) = match &outcome {
                    Outcome::Current => (0, wanted.refresh),
                    Outcome::Stale(_) | Outcome::Refused(_) => {
                        (failures.saturating_add(1), RETRY.delay(failures).min(wanted.refresh))
                    }
                };
                let counted = before.and_then(|before| before.counted);
                Try { wanted, outcome, next: Instant::now() + wait, failures, refused, counted }
            }
        };
        let written = self.write_status(&key, &document, &mut tried, live.as_deref(), engaged.err()).await;
        let wait = tried.next.saturating_duration_since(Instant::now());
        self.tries.lock().insert(key, tried);
        if is_swapped {
            self.tidy().await;
        }
        written?;
        Ok(Action::RequeueAfter(wait.min(COUNTED)))
    }
}
