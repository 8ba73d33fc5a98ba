//! Ends a container: preStop, its stop signal, and after the grace period SIGKILL.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Container;
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
    pub(crate) status: ContainerStatus,
    pub(crate) address: Option<IpAddr>,
}

/// Returns when the container is down. `grace` in seconds may shrink meanwhile.
pub(crate) async fn stop(shared: &Shared, stop: &Stop, mut grace: watch::Receiver<i64>) -> Result<ContainerStatus, HookError> {
    let wasm = labels::is_wasm(&stop.status);
    let id = stop.status.id.as_str();
    let Some(runtime) = shared.runtime(wasm) else { return Ok(stop.status.clone()) };
    let begun = Instant::now();
    let pre_stop = stop.container.as_ref().and_then(|c| Some((c, c.lifecycle.as_ref()?.pre_stop.as_ref()?)));
    if let Some((container, handler)) = pre_stop
        && *grace.borrow() > 0
    {
        tokio::select! {
            done = lifecycle::run(shared, container, id, wasm, stop.address, handler) => {
                if let Err(why) = done {
                    tracing::info!(id, why, "preStop hook failed");
                }
            }
            () = expired(begun, &mut grace) => {}
        }
    }
    if *grace.borrow() > 0 {
        runtime.signal(id, stop_signal(labels::get(&stop.status.labels, labels::STOP_SIGNAL)) as i32).await?;
        tokio::select! {
            status = exited(runtime, id) => return status,
            () = expired(begun, &mut grace) => {}
        }
    }
    runtime.signal(id, Signal::SIGKILL as i32).await?;
    exited(runtime, id).await
}

/// Waits until the grace period, as it is now, is over.
async fn expired(begun: Instant, grace: &mut watch::Receiver<i64>) {
    loop {
        let seconds = u64::try_from(*grace.borrow_and_update()).unwrap_or(0);
        let changed = tokio::select! {
            () = tokio::time::sleep_until(begun + Duration::from_secs(seconds)) => return,
            changed = grace.changed() => changed,
        };
        if changed.is_err() {
            // Nobody can shorten it any more.
            return tokio::time::sleep_until(begun + Duration::from_secs(seconds)).await;
        }
    }
}

async fn exited(runtime: &Arc<dyn Runtime>, id: &str) -> Result<ContainerStatus, HookError> {
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
