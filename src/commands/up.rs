//! `mizzen up`: control plane and node in one process.

use std::time::Instant;

use anyhow::bail;

use super::serve;
use crate::cluster::node;
use crate::config::Flags;

pub async fn run(flags: Flags) -> anyhow::Result<()> {
    let started = Instant::now();
    require_a_usable_machine()?;
    serve::until_signalled(flags, async move |start, control_plane| {
        let network = node::open_network(&start.data).await?;
        let control_plane = start.control_plane(control_plane, Some(network.node_address())).await?;
        let mut node = node::Node::start(&start.config, &start.data, network, control_plane, start.end.cancel.clone()).await?;
        node.ready().await?;
        println!(
            "Node {} is Ready after {:.2} s: kubectl --kubeconfig {} get pods -A",
            start.config.node_name,
            started.elapsed().as_secs_f64(),
            start.config.kubeconfig.display()
        );
        node.ended().await
    })
    .await
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
