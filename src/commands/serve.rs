//! What `up` and `server` share: the folder, the listener and an orderly end.

use std::net::IpAddr;

use anyhow::Context;
use tokio::net::TcpListener;

use super::signals;
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
    signals::log_to_stderr();
    let data = DataDir::create(&config.data_dir)?;
    let _lock = data.lock()?;
    let listener = TcpListener::bind(config.api_address).await.with_context(|| format!("listen on {}", config.api_address))?;
    let mut start = Start { config, data, end: End::default(), listener: Some(listener) };
    let end = start.end.clone();
    let mut running = Running::default();
    let outcome = signals::until_signalled(&end, command(&mut start, &mut running)).await;
    if let Some(control_plane) = running.0 {
        control_plane.stopped().await;
    }
    outcome
}
