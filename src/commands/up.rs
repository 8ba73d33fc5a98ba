//! `mizzen up`: control plane and node in one process.

use std::time::Instant;

use super::serve;
use crate::cluster::{executables, machine, node};
use crate::config::Flags;

pub async fn run(flags: Flags) -> anyhow::Result<()> {
    let started = Instant::now();
    machine::require_usable("mizzen up")?;
    serve::until_signalled(flags, async move |start, control_plane| {
        let asked = node::Asked::listen(start.config.node_api_address).await?;
        let network = node::open_own_network(&start.data, &mut start.config, asked.address()).await?;
        let control_plane = start.control_plane(control_plane, Some(network.node_address())).await?;
        let member = node::Membership::in_process(&start.config.node_name, control_plane)?;
        let settings =
            node::Settings { limits: start.config.node, dns: start.config.dns.clone(), ingress: start.config.ingress.clone() };
        let mut node = node::Node::start(&start.data, network, asked, member, settings, &start.end).await?;
        node.ready().await?;
        println!(
            "Node {} is Ready after {:.2} s: {} get pods -A --kubeconfig {}",
            start.config.node_name,
            started.elapsed().as_secs_f64(),
            executables::client(),
            start.config.kubeconfig.display()
        );
        node.ended().await
    })
    .await
}
