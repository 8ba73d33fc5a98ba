//! Audit of what is stored: policies that ask for it are asked about every object that they would be asked about if it were
//! created, and PolicyReports say what they answer.
//!
//! Level-triggered: an audit looks at everything there is and writes what is not said yet. One is begun after so long, and when
//! other policies are at work than the last time. It takes its time, so that requests do not wait for it.

mod look;
mod report;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use mizzen_api::{GroupVersion, Object, ObjectRef, ResourceDescriptor, Scope, Status, Verb};
use mizzen_client::{ApiRequest, Client, DeleteOptions};
use mizzen_extensions::matching::Subject;
use mizzen_extensions::plugins::{self, Answer, Policy, Review};
use mizzen_extensions::reports;
use mizzen_store::RangeOptions;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::plugins::{NOT_LOADED, Plugin};
use super::{Dynamic, GROUP};
use crate::auth::Identity;
use crate::pipeline::Pipeline;
use crate::{errors, follow};
pub(super) use report::{Finding, Outcome};

/// Objects that are read together.
const PAGE: usize = 64;
/// Bytes of those of them that are looked at together: their documents, and a text for each version in which a policy sees them,
/// take several times as much.
const PART: usize = 1 << 20;
/// For each moment of work, so many of rest.
const REST: u32 = 3;
/// At a time.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// Changes of policies come together: one is applied after the other, then loaded, then they say so.
const SETTLE: Duration = Duration::from_millis(250);

/// Pages at all of whose objects a policy failed, one after the other: it is not asked about more in that audit.
const STRIKES: u32 = 2;

/// As whom the creation of what is stored is asked about: somebody of whom nothing is known.
const WHO: &str = "system:mizzen:policy-audit";

pub(crate) struct Auditor {
    pipeline: Arc<Pipeline>,
    dynamic: Arc<Dynamic>,
    /// Writes the reports.
    client: Arc<dyn Client>,
    who: Arc<Identity>,
    period: Duration,
}

/// A policy that audits.
pub(super) struct Asked {
    plugin: Arc<Plugin>,
    /// What is at work. Nothing where that is lost: what it said last stands then.
    policy: Option<Arc<dyn Policy>>,
    /// Whether it was asked about something of this page, and whether it had an answer.
    was_asked: AtomicBool,
    has_answered: AtomicBool,
    /// Pages that it failed at, up to the last one.
    strikes: AtomicU32,
}

/// Which policies there were, and of which component and settings. The pointers keep their addresses from being given to
/// others.
struct Stand(Vec<Standing>);

type Standing = (Arc<Plugin>, Option<Weak<dyn Policy>>);

impl PartialEq for Stand {
    fn eq(&self, other: &Self) -> bool {
        let same = |one: &Option<Weak<dyn Policy>>, two: &Option<Weak<dyn Policy>>| match (one, two) {
            (Some(one), Some(two)) => std::ptr::addr_eq(one.as_ptr(), two.as_ptr()),
            (one, two) => one.is_none() && two.is_none(),
        };
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(one, two)| Arc::ptr_eq(&one.0, &two.0) && same(&one.1, &two.1))
    }
}

/// What the last audit came to, for metrics.
#[derive(Clone, Debug, Default)]
pub(super) struct Audited {
    /// Of each policy: how often it came to which outcome.
    pub(super) results: Vec<(ObjectRef, [u64; Outcome::ALL.len()])>,
    pub(super) objects: u64,
    pub(super) took: Duration,
    /// Seconds since 1970; when it ended.
    pub(super) at: i64,
    /// Since the server started.
    pub(super) audits: u64,
    pub(super) written: u64,
    pub(super) failed: u64,
}

impl Asked {
    /// What it says to each, unless it fails at everything.
    async fn answers(&self, reviews: &[&Review]) -> Vec<Result<Answer, String>> {
        if reviews.is_empty() {
            return Vec::new();
        }
        let Some(policy) = &self.policy else { return vec![Err(NOT_LOADED.to_owned()); reviews.len()] };
        if self.strikes.load(Ordering::Relaxed) >= STRIKES {
            let why = "it failed at everything that was tried before, and was not asked";
            return reviews.iter().map(|_| Err(why.to_owned())).collect();
        }
        let answers = policy.review_stored(reviews).await;
        self.was_asked.store(true, Ordering::Relaxed);
        self.has_answered.fetch_or(answers.iter().any(Result::is_ok), Ordering::Relaxed);
        answers
    }

    fn page_ended(&self) {
        let was_asked = self.was_asked.swap(false, Ordering::Relaxed);
        match self.has_answered.swap(false, Ordering::Relaxed) {
            true => self.strikes.store(0, Ordering::Relaxed),
            false => drop(self.strikes.fetch_add(u32::from(was_asked), Ordering::Relaxed)),
        }
    }
}

impl Auditor {
    /// `client` must be allowed to write reports.
    pub(crate) fn new(pipeline: Arc<Pipeline>, client: Arc<dyn Client>, period: Duration) -> Self {
        let dynamic = pipeline.admission.dynamic().clone();
        Self { pipeline, dynamic, client, who: Arc::new(Identity::component(WHO, &[])), period }
    }

    /// Audits until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let changed = Arc::new(Notify::new());
        let (waker, newest) = (changed.clone(), self.pipeline.store.clone());
        let wake = move || {
            waker.notify_one();
            newest.revision()
        };
        let (store, revision) = (self.pipeline.store.clone(), self.pipeline.store.revision());
        let following = follow::run(store, format!("/registry/{}/", plugins::GROUP), revision, shutdown.clone(), wake);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = following => {}
            () = self.again_and_again(&changed) => {}
        }
    }

    async fn again_and_again(&self, changed: &Notify) {
        let mut before: Option<Stand> = None;
        let mut due = Instant::now();
        loop {
            // Whoever told of a change may have been quicker than what follows the objects for requests.
            self.dynamic.load();
            let stand = self.stand();
            if before.as_ref() != Some(&stand) || Instant::now() >= due {
                if let Err(status) = self.audit(&stand).await {
                    tracing::warn!(%status, "audit by admission policies");
                }
                before = Some(stand);
                due = Instant::now() + self.period;
            }
            tokio::select! {
                () = changed.notified() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    fn stand(&self) -> Stand {
        let snapshot = self.dynamic.snapshot.load();
        let all = snapshot.mutating_plugins.iter().chain(&snapshot.validating_plugins).filter(|plugin| plugin.audits);
        Stand(all.map(|plugin| (plugin.clone(), plugin.policy().map(|policy| Arc::downgrade(&policy)))).collect())
    }

    /// Looks at everything once.
    async fn audit(&self, stand: &Stand) -> Result<(), Status> {
        let begun = Instant::now();
        let asked = stand.0.iter().filter_map(|(plugin, policy)| {
            let policy = policy.as_ref().and_then(Weak::upgrade);
            (policy.is_some() || plugin.was_loaded).then(|| Asked {
                plugin: plugin.clone(),
                policy,
                was_asked: AtomicBool::default(),
                has_answered: AtomicBool::default(),
                strikes: AtomicU32::default(),
            })
        });
        let asked: Vec<Asked> = asked.collect();
        let mut round = Round {
            audited: Audited {
                results: asked.iter().map(|asked| (asked.plugin.object.clone(), Default::default())).collect(),
                ..Audited::default()
            },
            reports: HashSet::new(),
            whole: true,
        };
        let registry = self.pipeline.registry.snapshot();
        for descriptor in registry.iter().filter(|descriptor| is_audited(descriptor)) {
            let about: Vec<usize> = (0..asked.len()).filter(|place| may_match(&asked[*place].plugin, descriptor)).collect();
            if !about.is_empty()
                && let Err(status) = self.audit_kind(&asked, &about, descriptor, &mut round).await
            {
                tracing::warn!(%status, resource = %descriptor.group_resource(), "audit by admission policies");
                round.whole = false;
            }
        }
        // What could not be looked at keeps what was said of it.
        if round.whole {
            self.remove_others(&mut round).await?;
        }
        self.dynamic.note_audit(round.audited, begun.elapsed(), (self.pipeline.clock)());
        Ok(())
    }

    async fn audit_kind(
        &self,
        asked: &[Asked],
        about: &[usize],
        descriptor: &Arc<ResourceDescriptor>,
        round: &mut Round,
    ) -> Result<(), Status> {
        let prefix = descriptor.prefix();
        let mut options = RangeOptions { limit: PAGE, ..RangeOptions::default() };
        loop {
            let begun = Instant::now();
            let page = self.pipeline.store.range(&prefix, &options).map_err(errors::store)?;
            let Some((last, _)) = page.items.last() else { return Ok(()) };
            options.start_after = Some(last.to_string());
            for part in parts(page.items.into_iter().map(|(_, object)| object)) {
                for (document, findings) in self.look(asked, about, descriptor, part).await? {
                    round.count(&findings);
                    if let Some(report) = report::of(descriptor, &document, asked, &findings) {
                        self.write(descriptor.scope, report, round).await;
                    }
                }
            }
            asked.iter().for_each(Asked::page_ended);
            if page.remaining == 0 {
                return Ok(());
            }
            rest(begun).await;
        }
    }

    /// Stores a report, unless it says nothing new.
    async fn write(&self, scope: Scope, report: report::Report, round: &mut Round) {
        let Some(kind) = kind(scope) else { return };
        let (namespace, name) = (report.namespace.clone(), report.name.clone());
        round.reports.insert(name.clone());
        let present = self.pipeline.store.get(&kind.key(&namespace, &name)).and_then(|object| object.value().ok());
        let request = match present {
            None => ApiRequest::create(&kind.gvr(), &namespace, report.document(&kind.gvk(), (self.pipeline.clock)())),
            Some(present) => match report.over(present, (self.pipeline.clock)()) {
                None => return,
                Some(changed) => ApiRequest::update(&kind.gvr(), &namespace, &name, changed),
            },
        };
        round.note(self.client.write(request.manager("mizzen-policy-audit")).await.map(drop));
    }

    /// Removes the reports on what is gone, or what no policy has anything to say of any more.
    async fn remove_others(&self, round: &mut Round) -> Result<(), Status> {
        for kind in &reports::kinds().descriptors {
            let mut options = RangeOptions { limit: PAGE, ..RangeOptions::default() };
            loop {
                let begun = Instant::now();
                let page = self.pipeline.store.range(&kind.prefix(), &options).map_err(errors::store)?;
                let Some((last, _)) = page.items.last() else { break };
                options.start_after = Some(last.to_string());
                for (_, object) in &page.items {
                    let head = object.head();
                    if report::is_ours(&head.labels) && !round.reports.contains(&head.name) && !head.is_terminating() {
                        let options = DeleteOptions { uid: Some(head.uid.clone()), ..DeleteOptions::default() };
                        let request = ApiRequest::delete(&kind.gvr(), &head.namespace, &head.name, options);
                        round.note(self.client.write(request).await.map(drop));
                    }
                }
                if page.remaining == 0 {
                    break;
                }
                rest(begun).await;
            }
        }
        Ok(())
    }
}

/// The objects in order, as many at a time as go together.
fn parts(objects: impl Iterator<Item = Arc<Object>>) -> Vec<Vec<Arc<Object>>> {
    let mut parts: Vec<Vec<Arc<Object>>> = Vec::new();
    let mut bytes = 0;
    for object in objects {
        let size = object.bytes().len();
        match parts.last_mut() {
            Some(part) if bytes + size <= PART => {
                bytes += size;
                part.push(object);
            }
            // One that is too large for any goes alone.
            _ => {
                bytes = size;
                parts.push(vec![object]);
            }
        }
    }
    parts
}

/// One audit.
struct Round {
    audited: Audited,
    /// The names of the reports that there are to be.
    reports: HashSet<String>,
    /// Nothing was left out.
    whole: bool,
}

impl Round {
    fn count(&mut self, findings: &[(usize, Finding)]) {
        self.audited.objects += 1;
        for (place, finding) in findings {
            self.audited.results[*place].1[finding.outcome as usize] += 1;
        }
    }

    fn note(&mut self, written: Result<(), Status>) {
        match written {
            Ok(()) => self.audited.written += 1,
            // The object went, or its namespace goes, or somebody else wrote: the next audit sees.
            Err(status) => {
                tracing::debug!(%status, "write a policy report");
                self.audited.failed += 1;
            }
        }
    }
}

impl Dynamic {
    fn note_audit(&self, now: Audited, took: Duration, at: jiff::Timestamp) {
        let mut before = self.audited.lock();
        *before = Audited {
            took,
            at: at.as_second(),
            audits: before.audits + 1,
            written: before.written + now.written,
            failed: before.failed + now.failed,
            ..now
        };
    }
}

/// Lets others work.
async fn rest(begun: Instant) {
    tokio::time::sleep((begun.elapsed() * REST).min(LONGEST_REST)).await;
}

fn kind(scope: Scope) -> Option<&'static Arc<ResourceDescriptor>> {
    reports::kinds().descriptors.iter().find(|kind| kind.scope == scope)
}

/// Whether objects of the kind are stored, as what they are, and are worth a report. Reports on reports would never end, and
/// events are gone in an hour.
fn is_audited(descriptor: &ResourceDescriptor) -> bool {
    let is_stored = !descriptor.virtual_only && descriptor.stored_as.is_none() && descriptor.verbs.contains(&Verb::Create);
    let is_event = descriptor.group.is_empty() && &*descriptor.resource == "events";
    is_stored && descriptor.is_preferred() && !is_event && ![GROUP, reports::GROUP].contains(&&*descriptor.group)
}

fn may_match(plugin: &Plugin, descriptor: &ResourceDescriptor) -> bool {
    let all = descriptor.versions.iter().map(|version| GroupVersion::new(descriptor.group.clone(), version.clone()));
    let (spoken, equivalents) = (descriptor.gvk().group_version(), all.collect::<Vec<_>>());
    plugin.matching.may_match(&Subject {
        operation: "CREATE",
        spoken: &spoken,
        resource: &descriptor.resource,
        subresource: "",
        name: "",
        is_namespaced: descriptor.scope == Scope::Namespaced,
        equivalents: &equivalents,
    })
}
