//! What `up` and `server` share: the folder, the listener, signals, and an orderly end.

use std::net::IpAddr;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::control_plane::ControlPlane;
use crate::cluster::data_dir::DataDir;
use crate::cluster::end::End;
use crate::config::{Config, Flags};

/// What a command that serves starts from.
pub struct Start {
    pub config: Config,
    pub data: DataDir,
    pub end: End,
    listener: Option<TcpListener>,
}

/// Kept outside of the running command, so that it is closed in order however the command ends.
#[derive(Default)]
pub struct Running(Option<ControlPlane>);

impl Start {
    /// Brings the control plane up; `node_address` is where pods reach this machine.
    ///
    /// # Errors
    /// As [`ControlPlane::start`].
    pub async fn control_plane<'a>(
        &mut self,
        running: &'a mut Running,
        node_address: Option<IpAddr>,
    ) -> anyhow::Result<&'a ControlPlane> {
        let listener = self.listener.take().context("the control plane was started before")?;
        let control_plane = ControlPlane::start(&self.config, &self.data, listener, node_address, &self.end).await?;
        Ok(running.0.insert(control_plane))
    }
}

/// Runs `command` until it ends, or SIGTERM or SIGINT end it with success. Pods go on running.
///
/// # Errors
/// What kept it from starting, or ended it.
pub async fn until_signalled(
    flags: Flags,
    command: impl AsyncFnOnce(&mut Start, &mut Running) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let config = Config::load(flags)?;
    log_to_stderr();
    let data = DataDir::create(&config.data_dir)?;
    let _lock = data.lock()?;
    let listener = TcpListener::bind(config.api_address).await.with_context(|| format!("listen on {}", config.api_address))?;
    // Before anything starts, so that a signal at any moment ends it in order.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut start = Start { config, data, end: End::default(), listener: Some(listener) };
    let end = start.end.clone();
    let mut running = Running::default();
    let outcome = tokio::select! {
        outcome = command(&mut start, &mut running) => outcome,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = end.cancel.cancelled() => Err(anyhow::anyhow!("{}", end.failure().unwrap_or("a part of the process ended it"))),
    };
    end.cancel.cancel();
    if let Some(control_plane) = running.0 {
        control_plane.stopped().await;
    }
    outcome
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MIZZEN_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
