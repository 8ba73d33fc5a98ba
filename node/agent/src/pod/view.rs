//! What a pod's decisions are made from: a snapshot, with no way to act.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use mizzen_runtime::{ContainerState, Exit};

use super::allocation::{self, Pending};
use crate::spec::resources;

/// A pod as its worker sees it at one moment.
pub(crate) struct View<'a> {
    pub(crate) pod: &'a Pod,
    /// The API has it no more.
    pub(crate) gone: bool,
    pub(crate) now: Timestamp,
    /// When this node first saw the pod.
    pub(crate) start_time: Timestamp,
    pub(crate) containers: BTreeMap<String, ContainerView>,
    pub(crate) prepared: Prepared,
    pub(crate) addresses: &'a [IpAddr],
    pub(crate) host_addresses: &'a [IpAddr],
    /// Refused at admission: reason and message.
    pub(crate) rejected: Option<(String, String)>,
    /// The phase that the API was told before, when it is final.
    pub(crate) finished: Option<String>,
    /// Network and volumes are given back.
    pub(crate) released: bool,
    /// So is everything else.
    pub(crate) torn_down: bool,
    pub(crate) refresh_at: Timestamp,
    /// Why the pod did not get what it asked for.
    pub(crate) pending: Option<&'a Pending>,
}

/// Network, volumes and cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Prepared {
    No,
    Failed {
        retry_at: Timestamp,
    },
    /// Volumes, and an address that is kept: images must say first which network the pod needs.
    Addressed,
    Yes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContainerView {
    /// The number of its first attempt here. Those before it are known by nothing but their logs: the containers were taken
    /// away (`mizzen down`), or lost.
    pub(crate) first: u32,
    pub(crate) image: ImageView,
    pub(crate) current: Option<Attempt>,
    pub(crate) previous: Option<Attempt>,
    /// The attempt whose start is under way, until its postStart hook is done.
    pub(crate) starting: Option<u32>,
    /// Ids of attempts before the previous one.
    pub(crate) older: Vec<String>,
    /// Why it could not be created, since when and until when it waits.
    pub(crate) start_error: Option<Failure>,
    /// Its current attempt was ended because the manifest names another image: the next one comes whatever the policy is.
    pub(crate) replaced: bool,
    /// How long it must stay down after its last exit.
    pub(crate) backoff: SignedDuration,
    /// The startup probe has passed, or there is none.
    pub(crate) started: bool,
    /// The readiness probe passes, or there is none.
    pub(crate) ready: bool,
    /// The startup or liveness probe gave up: its message and its own grace period.
    pub(crate) unhealthy: Option<(String, Option<i64>)>,
    /// The amounts of CPU and memory that it is to have.
    pub(crate) granted: String,
    pub(crate) resizes: Resizes,
}

/// A container was to have other amounts of CPU and memory while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resize {
    pub(crate) id: String,
    pub(crate) amounts: String,
    pub(crate) outcome: Resized,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resized {
    Done,
    /// It did not work, and is tried again.
    Failed(String),
}

/// What became of the resizes of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resizes {
    last: Option<Resize>,
    /// The last that was done: one that fails takes nothing back.
    done: Option<Resize>,
}

impl Resizes {
    pub(crate) fn tried(&mut self, resize: Resize) {
        if resize.outcome == Resized::Done {
            self.done = Some(resize.clone());
        }
        self.last = Some(resize);
    }

    /// The last did not work either, for whatever amounts of memory were used then.
    pub(crate) fn failed_as(&self, resize: &Resize) -> bool {
        let failed = self.last.as_ref().filter(|last| matches!(last.outcome, Resized::Failed(_)));
        failed.is_some_and(|last| last.id == resize.id && last.amounts == resize.amounts)
    }

    /// Why the last did not work.
    pub(crate) fn error(&self) -> Option<&str> {
        match &self.last.as_ref()?.outcome {
            Resized::Failed(why) => Some(why),
            Resized::Done => None,
        }
    }

    /// The last attempt that was given other amounts, and these.
    pub(crate) fn done(&self) -> Option<(&str, &str)> {
        self.done.as_ref().map(|resize| (resize.id.as_str(), resize.amounts.as_str()))
    }

    /// The amounts that an attempt was given since it started.
    pub(crate) fn given(&self, id: &str) -> Option<&str> {
        self.done.as_ref().filter(|resize| resize.id == id).map(|resize| resize.amounts.as_str())
    }
}

impl ContainerView {
    /// It has ended for another image, and nothing keeps an attempt with that one from coming.
    pub(crate) fn is_being_replaced(&self) -> bool {
        let has_ended = self.current.as_ref().is_some_and(|current| current.exit().is_some());
        self.replaced && has_ended && self.start_error.is_none() && !matches!(self.image, ImageView::Failed(_))
    }

    /// It runs, and its postStart hook is not done: nobody is told yet.
    pub(crate) fn is_coming_up(&self) -> bool {
        let running = self.current.as_ref().filter(|current| current.is_running());
        running.is_some_and(|current| self.starting == Some(current.number))
    }

    /// Its first start is behind it, well or not. What is tried again is tried in its own time.
    fn had_its_turn(&self) -> bool {
        let failed = self.start_error.is_some() || matches!(self.image, ImageView::Failed(_));
        failed || (self.current.is_some() && self.starting != Some(self.first))
    }

    /// The amounts that the current attempt has; `None` when that is not known: an older agent started it.
    pub(crate) fn amounts(&self) -> Option<&str> {
        let current = self.current.as_ref()?;
        let amounts = self.resizes.given(&current.id).unwrap_or(&current.amounts);
        (!amounts.is_empty()).then_some(amounts)
    }

    /// Whether another attempt comes after this exit of the current one.
    pub(crate) fn comes_again(&self, policy: RestartPolicy, exit: &Exit) -> bool {
        self.replaced || policy.restarts(exit)
    }

    /// It runs with other amounts than it was granted.
    pub(crate) fn is_to_be_resized(&self) -> bool {
        self.current.as_ref().is_some_and(Attempt::is_running) && self.amounts().is_some_and(|amounts| amounts != self.granted)
    }

    /// Why its last resize did not work.
    pub(crate) fn resize_error(&self) -> Option<&str> {
        self.resizes.last.as_ref().filter(|resize| resize.amounts == self.granted && self.is_to_be_resized())?;
        self.resizes.error()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) id: String,
    pub(crate) state: ContainerState,
    pub(crate) image: String,
    /// As the manifest named it; empty where an older agent started the container.
    pub(crate) asked_image: String,
    pub(crate) image_id: String,
    /// What it was started with.
    pub(crate) amounts: String,
}

impl Attempt {
    pub(crate) fn exit(&self) -> Option<&Exit> {
        match &self.state {
            ContainerState::Exited(exit) => Some(exit),
            ContainerState::Running { .. } => None,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.exit().is_none()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ImageView {
    #[default]
    Unknown,
    Ready {
        wasm: bool,
    },
    Failed(Failure),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) at: Timestamp,
    pub(crate) retry_at: Timestamp,
}

impl View<'_> {
    pub(crate) fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }

    pub(crate) fn init_containers(&self) -> &[Container] {
        self.spec().and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default()
    }

    pub(crate) fn main_containers(&self) -> &[Container] {
        self.spec().map(|spec| spec.containers.as_slice()).unwrap_or_default()
    }

    /// Names of containers that were added to look at the others.
    pub(crate) fn ephemeral_containers(&self) -> impl Iterator<Item = &str> {
        self.spec()
            .into_iter()
            .flat_map(|spec| spec.ephemeral_containers.iter().flatten())
            .map(|container| container.name.as_str())
    }

    /// What the manifest calls a container's image.
    pub(crate) fn image(&self, name: &str) -> &str {
        let lasting = self.init_containers().iter().chain(self.main_containers());
        let lasting = lasting.map(|container| (container.name.as_str(), container.image.as_deref()));
        let ephemeral = self.spec().into_iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
        let ephemeral = ephemeral.map(|container| (container.name.as_str(), container.image.as_deref()));
        lasting.chain(ephemeral).find(|(known, _)| *known == name).and_then(|(_, image)| image).unwrap_or_default()
    }

    /// The manifest asks for other amounts of CPU and memory than the pod was granted.
    pub(crate) fn asks_for_others(&self) -> bool {
        let mut containers = self.init_containers().iter().chain(self.main_containers());
        containers
            .any(|container| self.container(&container.name).is_some_and(|state| state.granted != resources::amounts(container)))
    }

    /// What keeps the pod from having what its manifest asks for now.
    pub(crate) fn pending(&self) -> Option<&Pending> {
        self.pending.filter(|pending| self.asks_for_others() && pending.wanted == allocation::wanted(self.pod))
    }

    pub(crate) fn restart_policy(&self) -> RestartPolicy {
        match self.spec().and_then(|spec| spec.restart_policy.as_deref()) {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        }
    }

    pub(crate) fn container(&self, name: &str) -> Option<&ContainerView> {
        self.containers.get(name)
    }

    pub(crate) fn current(&self, name: &str) -> Option<&Attempt> {
        self.container(name)?.current.as_ref()
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// `activeDeadlineSeconds` is over.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.spec()?.active_deadline_seconds?;
        self.start_time.checked_add(SignedDuration::from_secs(seconds)).ok()
    }

    /// Seconds that containers get to end by themselves.
    pub(crate) fn grace(&self) -> i64 {
        self.pod.metadata.deletion_grace_period_seconds.unwrap_or_else(|| self.own_grace()).max(0)
    }

    /// The same of a pod that goes on: a negative number is accepted, and stands for the shortest.
    pub(crate) fn own_grace(&self) -> i64 {
        match self.spec().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30) {
            seconds if seconds < 0 => 1,
            seconds => seconds,
        }
    }

    /// Every init container has done its part: ordinary ones ended well, sidecars are up.
    pub(crate) fn initialized(&self) -> bool {
        self.main_containers().iter().any(|container| self.current(&container.name).is_some())
            || self.init_containers().iter().all(|container| self.init_done(container))
    }

    /// Main containers start in their order, and one with a postStart hook holds up those after it until that is done. Nothing
    /// else tells them of each other, so that the others need not wait for starts.
    pub(crate) fn has_turn(&self, container: &Container) -> bool {
        let before = self.main_containers().iter().take_while(|other| other.name != container.name);
        let hooked = before.filter(|other| other.lifecycle.as_ref().is_some_and(|hooks| hooks.post_start.is_some()));
        hooked.filter_map(|other| self.container(&other.name)).all(ContainerView::had_its_turn)
    }

    pub(crate) fn init_done(&self, container: &Container) -> bool {
        let Some(view) = self.container(&container.name) else { return false };
        let Some(current) = &view.current else { return false };
        match current.exit() {
            None => is_sidecar(container) && view.started && !view.is_coming_up(),
            Some(exit) => !is_sidecar(container) && exit.code == 0,
        }
    }

    pub(crate) fn any_running(&self) -> bool {
        self.containers.values().any(|view| view.current.as_ref().is_some_and(Attempt::is_running))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    pub(crate) fn restarts(self, exit: &Exit) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit.code != 0,
            Self::Never => false,
        }
    }
}

/// An init container that runs beside the others (`restartPolicy: Always`).
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// When a container that exited ended; the beginning of time when its record is damaged.
pub(crate) fn finished_at(exit: &Exit) -> Timestamp {
    exit.finished_at.parse().unwrap_or(Timestamp::UNIX_EPOCH)
}
