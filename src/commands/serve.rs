//! What `up` and `server` share: the folder, the listener and an orderly end.

use std::net::IpAddr;

use anyhow::Context;
use tokio::net::TcpListener;

use super::signals;
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::data_dir::DataDir;
use crate::cluster::end::End;
use crate::cluster::node;
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
    async fn listen(&mut self) -> anyhow::Result<()> {
        let address = self.config.api_address;
        self.listener = Some(TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?);
        Ok(())
    }

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

/// Runs `command` until it ends, or SIGTERM or SIGINT end it with success. Pods go on running. Of a new cluster that cannot
/// start, nothing is left.
///
/// # Errors
/// What kept it from starting, or ended it.
pub async fn until_signalled(
    flags: Flags,
    command: impl AsyncFnOnce(&mut Start, &mut Running) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut config = Config::load(flags)?;
    signals::log_to_stderr();
    let data = DataDir::create(&config.data_dir)?;
    config.settle_families(data.cluster());
    let _lock = data.lock()?;
    let mut start = Start { config, data, end: End::default(), listener: None };
    let end = start.end.clone();
    let mut running = Running::default();
    let work = async {
        start.listen().await?;
        command(&mut start, &mut running).await
    };
    let outcome = signals::until_signalled(&end, work).await;
    match running.0 {
        Some(control_plane) => control_plane.stopped().await,
        // Nobody has had an answer of it.
        None if outcome.is_err() => node::unmake(&start.data).await,
        None => {}
    }
    outcome
}
