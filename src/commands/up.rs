//! `mizzen up`: control plane and node in one process.

use std::time::Instant;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cluster::control_plane::ControlPlane;
use crate::cluster::data_dir::DataDir;
use crate::cluster::node;
use crate::config::{Config, Flags};

pub async fn run(flags: Flags) -> anyhow::Result<()> {
    let started = Instant::now();
    let config = Config::load(flags)?;
    log_to_stderr();
    require_a_usable_machine()?;
    let data = DataDir::create(&config.data_dir)?;
    let _lock = data.lock()?;
    let listener = tokio::net::TcpListener::bind(config.api_address)
        .await
        .with_context(|| format!("listen on {}", config.api_address))?;
    // Before anything starts, so that a signal at any moment ends it in order.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let cancel = CancellationToken::new();
    let mut control_plane = None;
    let run = async {
        let network = node::open_network(&data).await?;
        let control_plane = control_plane.insert(ControlPlane::start(&config, &data, listener, network.node_address(), cancel.clone()).await?);
        let mut node = node::Node::start(&config, &data, network, control_plane, cancel.clone()).await?;
        node.ready().await?;
        println!(
            "Node {} is Ready after {:.2} s: kubectl --kubeconfig {} get pods -A",
            config.node_name,
            started.elapsed().as_secs_f64(),
            config.kubeconfig.display()
        );
        node.ended().await
    };
    let outcome = tokio::select! {
        outcome = run => outcome,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    // Pods go on running; the next `up` takes them over.
    cancel.cancel();
    if let Some(control_plane) = control_plane {
        control_plane.stopped().await;
    }
    outcome
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MIZZEN_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn require_a_usable_machine() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("mizzen up must run as root: it makes namespaces, mounts and cgroups");
    }
    let v1 = std::path::Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists();
    let v2 = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").is_ok_and(|controllers| controllers.contains("memory"));
    if !v1 && !v2 {
        bail!("no usable cgroups: neither /sys/fs/cgroup/memory (v1) nor the memory controller in /sys/fs/cgroup (v2) is there");
    }
    Ok(())
}
