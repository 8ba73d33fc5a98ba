//! How commands that run until they are told to end do so.

use std::io::IsTerminal;

use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::end::End;
use crate::cluster::machine;

/// Runs `work` until it ends, [`End`] comes, or SIGTERM or SIGINT end it with success; `end` has come afterwards.
///
/// # Errors
/// What ended the work, if it is a failure.
pub async fn until_signalled(end: &End, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    machine::allow_many_connections();
    // Before anything starts, so that a signal at any moment ends it in order.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let outcome = tokio::select! {
        outcome = work => outcome,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = end.cancel.cancelled() => Err(anyhow::anyhow!("{}", end.failure().unwrap_or("a part of the process ended it"))),
    };
    end.cancel.cancel();
    end.settled().await;
    outcome
}

pub fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MIZZEN_LOG").unwrap_or_else(|_| "warn".into());
    // Escape sequences are for people, not for files.
    let coloured = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(coloured).with_writer(std::io::stderr).init();
}
