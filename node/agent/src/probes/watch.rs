//! Watches one container by its probes until it is cancelled.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::tally::Tally;
use super::{ProbeKind, exec, grpc, http, tcp};
use crate::pod::outcome::Outcome;
use crate::shared::Shared;

/// How long a container may take to listen before failures count: where a kubelet first asks about a second after the start, this
/// node asks at once, and a whole period is long to wait for what a moment later would have passed.
const SETTLING: Duration = Duration::from_secs(1);

/// Between attempts that do not count.
const AGAIN: Duration = Duration::from_millis(500);

/// What is watched.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) container: Container,
    pub(crate) id: String,
    pub(crate) wasm: bool,
    pub(crate) address: Option<IpAddr>,
    /// The startup probe has passed already (an agent that was restarted).
    pub(crate) started: bool,
}

/// Starts the container's probes: the startup probe alone until it passes, then the others.
pub(crate) fn start(shared: &Arc<Shared>, target: Target, outcomes: mpsc::UnboundedSender<Outcome>) -> CancellationToken {
    let cancel = CancellationToken::new();
    let (shared, token) = (shared.clone(), cancel.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = token.cancelled() => {}
            () = watch(&shared, &target, &outcomes) => {}
        }
    });
    cancel
}

async fn watch(shared: &Shared, target: &Target, outcomes: &mpsc::UnboundedSender<Outcome>) {
    if let Some(probe) = target.container.startup_probe.as_ref().filter(|_| !target.started) {
        repeat(shared, target, ProbeKind::Startup, probe, outcomes).await;
    }
    let readiness = async {
        if let Some(probe) = &target.container.readiness_probe {
            repeat(shared, target, ProbeKind::Readiness, probe, outcomes).await;
        }
    };
    let liveness = async {
        if let Some(probe) = &target.container.liveness_probe {
            repeat(shared, target, ProbeKind::Liveness, probe, outcomes).await;
        }
    };
    tokio::join!(readiness, liveness);
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default))
}

/// Probes until the startup probe passes; the others for ever.
async fn repeat(shared: &Shared, target: &Target, kind: ProbeKind, probe: &Probe, outcomes: &mpsc::UnboundedSender<Outcome>) {
    tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
    let mut tally = Tally::new(probe.success_threshold, probe.failure_threshold);
    let mut ticks = tokio::time::interval(seconds(probe.period_seconds, 10));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = None;
    let begun = Instant::now();
    loop {
        ticks.tick().await;
        let result = once(shared, target, probe).await;
        if result.is_err() && is_too_early(probe, begun.elapsed()) {
            tokio::time::sleep(AGAIN).await;
            ticks.reset_immediately();
            continue;
        }
        let verdict = tally.count(result.is_ok());
        let news = verdict.filter(|_| told != verdict);
        if verdict.is_some() {
            told = verdict;
        }
        let message = result.err();
        if news.is_some() || message.is_some() {
            let (id, container) = (target.id.clone(), target.container.name.clone());
            let grace = probe.termination_grace_period_seconds;
            // A worker that has ended does not want to know.
            let _ = outcomes.send(Outcome::Probe { id, container, kind, verdict: news, message, grace });
        }
        if kind == ProbeKind::Startup && verdict == Some(true) {
            return;
        }
    }
}

/// Whether a failure this long after the first attempt does not count.
fn is_too_early(probe: &Probe, since: Duration) -> bool {
    probe.initial_delay_seconds.unwrap_or_default() <= 0 && since < SETTLING
}

/// `Err` is a failed probe, in the words of its event.
async fn once(shared: &Shared, target: &Target, probe: &Probe) -> Result<(), String> {
    let timeout = seconds(probe.timeout_seconds, 1);
    if let Some(action) = &probe.exec {
        let runtime = shared.runtime(target.wasm).ok_or("this node has no Wasm runtime")?;
        return match exec::run(runtime.as_ref(), (&target.id, &target.container.name), action, timeout).await {
            Ok((0, _)) => Ok(()),
            Ok((_, output)) => Err(output),
            Err(why) => Err(why),
        };
    }
    if let Some(action) = &probe.http_get {
        return http::get(&target.container, action, target.address, timeout).await.map(|_| ());
    }
    if let Some(action) = &probe.tcp_socket {
        return tcp::connect(&target.container, action, target.address, timeout).await;
    }
    if let Some(action) = &probe.grpc {
        return grpc::check(action, target.address, timeout).await;
    }
    Err("the probe is of a kind that this node does not have (exec, httpGet, tcpSocket and grpc are)".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_after_a_moment_or_the_initial_delay() {
        let probe = |delay| Probe { initial_delay_seconds: delay, ..Probe::default() };
        let early = |delay, millis| is_too_early(&probe(delay), Duration::from_millis(millis));
        assert!(early(None, 0) && early(Some(0), 999));
        assert!(!early(None, 1000) && !early(Some(1), 0));
    }
}
