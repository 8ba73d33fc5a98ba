//! Ends a container: preStop, its stop signal, and after the grace period SIGKILL.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ObjectReference};
use mizzen_runtime::{ContainerState, ContainerStatus, Runtime, RuntimeError};
use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio::time::Instant;

use super::lifecycle;
use crate::error::HookError;
use crate::pod::labels;
use crate::shared::Shared;

/// How often a container is looked at while it ends, beside the runtime's own notices.
const LOOK: Duration = Duration::from_millis(500);

/// Which container, and how.
pub(crate) struct Stop {
    pub(crate) container: Option<Container>,
    /// What events are about.
    pub(crate) about: ObjectReference,
    pub(crate) status: ContainerStatus,
    pub(crate) address: Option<IpAddr>,
    /// Seconds; less when the pod is given less meanwhile.
    pub(crate) grace: i64,
}

/// How long a container may take, as it is now.
struct Grace {
    begun: Instant,
    own: i64,
    pods: watch::Receiver<i64>,
}

impl Grace {
    fn seconds(&mut self) -> u64 {
        u64::try_from(self.own.min(*self.pods.borrow_and_update())).unwrap_or(0)
    }

    /// Waits until it is over.
    async fn expired(&mut self) {
        loop {
            let end = self.begun + Duration::from_secs(self.seconds());
            let changed = tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                changed = self.pods.changed() => changed,
            };
            if changed.is_err() {
                // Nobody can shorten it any more.
                return tokio::time::sleep_until(end).await;
            }
        }
    }
}

/// Returns when the container is down. `pods_grace` is what the pod as a whole has left, in seconds.
pub(crate) async fn stop(shared: &Shared, stop: &Stop, pods_grace: watch::Receiver<i64>) -> Result<ContainerStatus, HookError> {
    let wasm = labels::is_wasm(&stop.status);
    let id = stop.status.id.as_str();
    let Some(runtime) = shared.runtime(wasm) else { return Ok(stop.status.clone()) };
    let mut grace = Grace { begun: Instant::now(), own: stop.grace, pods: pods_grace };
    let pre_stop = stop.container.as_ref().and_then(|c| Some((c, c.lifecycle.as_ref()?.pre_stop.as_ref()?)));
    if let Some((container, handler)) = pre_stop
        && grace.seconds() > 0
    {
        tokio::select! {
            done = lifecycle::run(shared, container, id, wasm, stop.address, handler) => {
                if let Err(why) = done {
                    tracing::info!(id, why, "preStop hook failed");
                    // What the hook printed may be secret.
                    shared.recorder.warning(&stop.about, "FailedPreStopHook", "PreStopHook failed");
                }
            }
            () = grace.expired() => {}
        }
    }
    if grace.seconds() > 0 {
        runtime.signal(id, stop_signal(labels::get(&stop.status.labels, labels::STOP_SIGNAL)) as i32).await?;
        tokio::select! {
            status = exited(runtime, id) => return status,
            () = grace.expired() => {}
        }
    }
    runtime.signal(id, Signal::SIGKILL as i32).await?;
    exited(runtime, id).await
}

/// Returns when the container is down.
pub(super) async fn exited(runtime: &Arc<dyn Runtime>, id: &str) -> Result<ContainerStatus, HookError> {
    let mut changes = runtime.changes();
    loop {
        changes.mark_unchanged();
        match runtime.status(id).await {
            Ok(status) if matches!(status.state, ContainerState::Exited(_)) => return Ok(status),
            Ok(_) => {}
            Err(error @ RuntimeError::NotFound { .. }) => return Err(error.into()),
            Err(error) => tracing::debug!(id, %error, "container not seen"),
        }
        let _ = tokio::time::timeout(LOOK, changes.changed()).await;
    }
}

/// `SIGTERM`, `TERM`, `15`; anything else is SIGTERM.
fn stop_signal(name: &str) -> Signal {
    let number = name.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
    let full = if name.starts_with("SIG") { name.to_owned() } else { format!("SIG{name}") };
    number.or_else(|| full.parse().ok()).unwrap_or(Signal::SIGTERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_grace_period_ends_sooner_when_the_pod_is_given_less() {
        let pods = watch::Sender::new(i64::MAX);
        let mut grace = Grace { begun: Instant::now(), own: 30, pods: pods.subscribe() };
        let begun = Instant::now();
        let shorten = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            pods.send_replace(7);
        };
        tokio::join!(grace.expired(), shorten);
        assert_eq!(begun.elapsed().as_secs(), 7);
    }

    #[test]
    fn stop_signals_are_read_by_name_and_number() {
        for (name, signal) in [
            ("SIGQUIT", Signal::SIGQUIT),
            ("QUIT", Signal::SIGQUIT),
            ("3", Signal::SIGQUIT),
            ("", Signal::SIGTERM),
            ("x", Signal::SIGTERM),
        ] {
            assert_eq!(stop_signal(name), signal, "{name}");
        }
    }
}
