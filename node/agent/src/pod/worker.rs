//! One pod's loop: snapshot, decide, act, wait.

mod outcomes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::allocation;
use super::containers::containers;
use super::decide::{Command, Decision, SHOWN_AS_FAILED, Why, decide};
use super::handle::{Desired, Handle};
use super::memory::Memory;
use super::outcome::Outcome;
use super::publish::Told;
use super::sources::Subscription;
use super::view::{ContainerView, View};
use super::{act, health, phase, publish, resizing, status};
use crate::error::HookError;
use crate::node::room::Share;
use crate::shared::{Shared, about};

/// How long news wait for a start that is under way: most are over by then, and what comes of them is told with what led to
/// them, in one write.
const TOGETHER: SignedDuration = SignedDuration::from_millis(100);

/// How long they wait for a container of another image to take an old one's place. Kubernetes looks at containers once a second,
/// so that nobody there sees a quick replacement as a pod that is not ready; its conformance test counts on that.
const REPLACED: SignedDuration = SignedDuration::from_secs(1);

/// A step that failed is not tried again before this.
#[derive(Default)]
struct Retry {
    failures: u32,
    at: Option<Timestamp>,
}

pub(crate) struct Worker {
    pub(super) shared: Arc<Shared>,
    handle: Arc<Handle>,
    pub(super) memory: Memory,
    /// The API's view, with what was told last.
    pub(super) pod: Arc<Pod>,
    gone: bool,
    told: Option<PodStatus>,
    /// Containers are being removed: the last word has been told.
    last_word: bool,
    /// The version of the object in which `told` stands.
    told_at: u64,
    /// Somebody has said otherwise since.
    contradicted: bool,
    tell_again_at: Option<Timestamp>,
    /// Since when news have waited.
    held_since: Option<Timestamp>,
    pub(super) sender: mpsc::UnboundedSender<Outcome>,
    tasks: JoinSet<String>,
    under_way: HashSet<String>,
    retries: HashMap<String, Retry>,
    /// Tells when other pods of the node have less than before.
    pub(super) freed: watch::Receiver<()>,
    /// Shortens the grace of what is being stopped.
    grace: watch::Sender<i64>,
}

/// Whether downward API volumes have something else to show.
fn shows_otherwise(before: &Pod, now: &Pod) -> bool {
    before.metadata.labels != now.metadata.labels || before.metadata.annotations != now.metadata.annotations
}

async fn changed(awaited: Option<&mut Subscription>) {
    match awaited {
        Some(awaited) => awaited.changed().await,
        None => std::future::pending().await,
    }
}

impl Worker {
    /// Runs until nothing of the pod is left here.
    pub(crate) async fn run(shared: Arc<Shared>, handle: Arc<Handle>, rejected: Option<(String, String)>) {
        let mut desired = handle.desired.subscribe();
        let mut observed = handle.observed.subscribe();
        let (sender, mut outcomes) = mpsc::unbounded_channel();
        let pod = desired.borrow().pod.clone();
        let mut sources = shared.sources.volumes(&pod);
        let mut awaited: Option<Subscription> = None;
        let mut memory = Memory::new(&pod, shared.now());
        memory.rejected = rejected;
        if pod.status.as_ref().is_some_and(|status| status.start_time.is_some()) {
            let record = allocation::read(&shared, &pod).await;
            memory.take_up(&pod, record, &observed.borrow().clone());
            let of = |field: &Option<String>| field.clone().unwrap_or_default();
            let metadata = &pod.metadata;
            memory.count_attempts(&shared.log_dir(&of(&metadata.namespace), &of(&metadata.name), &of(&metadata.uid))).await;
            let granted = allocation::granted(&pod, &memory.granted);
            shared.room.renote(pod.metadata.uid.as_deref().unwrap_or_default(), Share::of(&granted));
        }
        let told = pod.status.clone().filter(|status| status.host_ip.is_some());
        let mut worker = Self {
            freed: shared.room.freed(),
            grace: watch::Sender::new(i64::MAX),
            tasks: JoinSet::new(),
            under_way: HashSet::new(),
            retries: HashMap::new(),
            last_word: false,
            told_at: 0,
            contradicted: false,
            tell_again_at: None,
            held_since: None,
            gone: false,
            shared,
            handle,
            memory,
            pod,
            told,
            sender,
        };
        loop {
            let Desired { pod, gone } = desired.borrow_and_update().clone();
            worker.gone = gone;
            if shows_otherwise(&worker.pod, &pod) {
                worker.memory.sources_changed(worker.shared.now());
            }
            worker.contradicted |= publish::is_contradicted(&pod, worker.told.as_ref(), worker.told_at);
            worker.pod = Arc::new(publish::with_latest_status(&pod, worker.told.as_ref()));
            worker.memory.names_images(&worker.pod);
            let listed = observed.borrow_and_update().clone();
            let exited = worker.memory.observe(&listed, worker.shared.now());
            worker.note_exits(exited).await;
            let Some(wake_at) = worker.turn().await else { return };
            awaited = match worker.memory.lacks_configuration() {
                true => awaited.or_else(|| Some(worker.shared.sources.environment(&worker.pod))),
                false => None,
            };
            let sleep = worker.sleep(wake_at);
            tokio::select! {
                changed = desired.changed() => if changed.is_err() { return },
                changed = observed.changed() => if changed.is_err() { return },
                changed = worker.freed.changed(), if worker.memory.pending.is_some() => {
                    if changed.is_err() { return }
                    worker.memory.room_appeared();
                }
                () = sources.changed() => worker.memory.sources_changed(worker.shared.now()),
                () = changed(awaited.as_mut()) => worker.memory.configuration_changed(worker.shared.now()),
                Some(outcome) = outcomes.recv() => {
                    worker.apply(outcome).await;
                    while let Ok(outcome) = outcomes.try_recv() {
                        worker.apply(outcome).await;
                    }
                }
                Some(ended) = worker.tasks.join_next() => {
                    // A task's outcome was sent before it ended.
                    if let Ok(key) = ended {
                        worker.under_way.remove(&key);
                    }
                    while let Ok(outcome) = outcomes.try_recv() {
                        worker.apply(outcome).await;
                    }
                }
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// One round; `None` when it was the last.
    async fn turn(&mut self) -> Option<Option<Timestamp>> {
        let pod = self.pod.clone();
        health::watch_probes(self);
        let now = self.shared.now();
        let addresses = self.memory.ready.as_ref().map(|ready| ready.network.addresses.clone()).unwrap_or_default();
        let views = self.memory.views(&pod);
        let pending = self.memory.pending.clone();
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
        let view = View {
            pod: &pod,
            gone: self.gone,
            now,
            start_time: self.memory.start_time,
            prepared: self.memory.view_prepared(),
            addresses: &addresses,
            host_addresses: &self.shared.host_addresses,
            rejected: self.memory.rejected.clone(),
            finished: phase.filter(|phase| phase == "Succeeded" || phase == "Failed"),
            released: self.memory.released,
            torn_down: self.memory.torn_down,
            refresh_at: self.memory.refresh_at,
            containers: views,
            pending: pending.as_ref(),
        };
        let Decision { commands, wake_at } = decide(&view);
        let status = status::status(&view);
        let grace = if view.is_deleted() { view.grace() } else { i64::MAX };
        let overran = phase::overran(&view);
        let is_replacing = !view.is_deleted() && view.containers.values().any(ContainerView::is_being_replaced);
        let is_resized = !view.containers.values().any(ContainerView::is_to_be_resized);
        let ends = view.is_deleted() && !view.any_running() && !self.gone && !self.last_word && !self.is_making();
        self.handle.share(self.memory.known.values());
        if commands.contains(&Command::Forget) {
            return None;
        }
        // How the pod ended is told before anything of it is taken away: whoever holds it by a finalizer waits for that.
        if ends && !publish::same(self.told.as_ref(), &status) {
            let told = self.tell_again_at.is_none_or(|at| at <= now) && self.tell(&pod, status, now).await;
            return Some(if told { Some(now) } else { self.tell_again_at });
        }
        self.grace.send_if_modified(|known| std::mem::replace(known, grace) != grace);
        for command in commands {
            self.begin(command, now);
        }
        self.tell_back_offs(now);
        if overran && !std::mem::replace(&mut self.memory.deadline_told, true) {
            let (reason, message) = phase::DEADLINE_EXCEEDED;
            self.shared.recorder.normal(&about(&pod, None), reason, message);
        }
        if is_resized {
            resizing::tell_completed(self);
        }
        let may_tell = !self.gone && !self.last_word && self.tell_again_at.is_none_or(|at| at <= now);
        let is_news = may_tell && (self.contradicted || !publish::same(self.told.as_ref(), &status));
        let told_at = if is_news { self.held_until(now, is_replacing) } else { None };
        if is_news && told_at.is_none() && self.tell(&pod, status, now).await {
            // Telling may have made the pod final, which is a new situation.
            return Some(Some(now));
        }
        let retries = self.retries.values().filter_map(|retry| retry.at).filter(|at| *at > now).min();
        Some([wake_at, retries, self.tell_again_at, told_at].into_iter().flatten().min())
    }

    /// Whether the status was told; if not, it is to be later.
    async fn tell(&mut self, pod: &Pod, status: PodStatus, now: Timestamp) -> bool {
        match publish::publish(&self.shared, pod, &status).await {
            Told::Not => {
                self.tell_again_at = now.checked_add(SignedDuration::from_secs(1)).ok();
                return false;
            }
            Told::At(version) => self.told_at = version,
            Told::Moot => {}
        }
        (self.told, self.tell_again_at, self.contradicted) = (Some(status), None, false);
        true
    }

    /// When news are to be told; `None` is now.
    fn held_until(&mut self, now: Timestamp, is_replacing: bool) -> Option<Timestamp> {
        let is_starting = self.memory.containers.values().any(|memory| memory.starting.is_some());
        let wait = match (is_replacing, is_starting) {
            (true, _) => REPLACED,
            (false, true) => TOGETHER,
            (false, false) => SignedDuration::ZERO,
        };
        let until = self.held_since.get_or_insert(now).checked_add(wait).ok().filter(|until| *until > now);
        if until.is_none() {
            self.held_since = None;
        }
        until
    }

    fn sleep(&self, wake_at: Option<Timestamp>) -> Duration {
        let Some(at) = wake_at else { return Duration::from_secs(3600) };
        Duration::try_from(at.duration_since(self.shared.now())).unwrap_or(Duration::ZERO).max(Duration::from_millis(1))
    }

    fn begin(&mut self, command: Command, now: Timestamp) {
        let key = act::key(&command);
        if self.retries.get(&key).and_then(|retry| retry.at).is_some_and(|at| at > now) || !self.under_way.insert(key.clone()) {
            return;
        }
        if matches!(command, Command::Release | Command::Teardown | Command::Remove { .. }) && self.is_making() {
            // What is being made must be there before it can be taken away.
            self.under_way.remove(&key);
            return;
        }
        self.announce(&command);
        if matches!(command, Command::Prepare { .. } | Command::Refresh) {
            self.memory.sources_are_read();
        }
        let Some(task) = act::task(self, command) else {
            self.under_way.remove(&key);
            return;
        };
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            let outcome = task.await;
            // The receiver lives as long as the task set.
            let _ = sender.send(outcome);
            key
        });
    }

    /// Seconds that the pod as a whole has to end; without end while it is not being deleted.
    pub(super) fn grace(&self) -> watch::Receiver<i64> {
        self.grace.subscribe()
    }

    fn is_making(&self) -> bool {
        self.under_way.iter().any(|key| key == "prepare" || key.starts_with("start "))
    }

    fn announce(&self, command: &Command) {
        if let Command::Stop { container, why, .. } = command {
            let message = match why {
                Why::PodEnds => format!("Stopping container {container}"),
                Why::Unhealthy(why) => why.clone(),
                Why::Changed => format!("Container {container} definition changed, will be restarted"),
                Why::Resized => format!("Container {container} resize requires restart"),
            };
            self.shared.recorder.normal(&about(&self.pod, Some(container)), "Killing", message);
        }
    }

    /// The pod as if its manifest asked for what it was granted.
    pub(super) fn granted(&self) -> Arc<Pod> {
        allocation::granted(&self.pod, &self.memory.granted)
    }

    /// A step has worked, or need not any more.
    pub(super) fn succeeded(&mut self, key: &str) {
        self.retries.remove(key);
    }

    pub(super) fn failed(&mut self, key: String, error: &HookError, now: Timestamp) {
        tracing::warn!(pod = self.pod.metadata.name, step = key, %error, "step failed, will be tried again");
        let retry = self.retries.entry(key).or_default();
        let wait = SignedDuration::from_millis(250).saturating_mul(1 << retry.failures.min(7));
        retry.failures = retry.failures.saturating_add(1);
        retry.at = now.checked_add(wait).ok();
    }

    pub(super) fn is_last_word(&mut self) {
        self.last_word = true;
    }

    /// Events for containers that are kept waiting.
    fn tell_back_offs(&mut self, now: Timestamp) {
        for container in containers(&self.pod) {
            let Some(memory) = self.memory.containers.get_mut(&container.name) else { continue };
            if memory.back_off_to_tell() && self.pod.metadata.deletion_timestamp.is_none() {
                let of = |field: &Option<String>| field.clone().unwrap_or_default();
                let metadata = &self.pod.metadata;
                let (name, namespace, uid) = (of(&metadata.name), of(&metadata.namespace), of(&metadata.uid));
                let message = format!("Back-off restarting failed container {} in pod {name}_{namespace}({uid})", container.name);
                self.shared.recorder.warning(&about(&self.pod, Some(&container.name)), "BackOff", message);
            }
            let shown = memory.image_failure().is_some_and(|failure| {
                failure.reason == "ErrImagePull" && failure.at.checked_add(SHOWN_AS_FAILED).is_ok_and(|at| at <= now)
            });
            if shown && !memory.image_back_off_told {
                memory.image_back_off_told = true;
                let about = about(&self.pod, Some(&container.name));
                let image = container.image.as_deref().unwrap_or_default();
                self.shared.recorder.normal(&about, "BackOff", format!("Back-off pulling image \"{image}\""));
                self.shared.recorder.warning(&about, "Failed", "Error: ImagePullBackOff");
            }
        }
    }
}
