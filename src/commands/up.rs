//! `mizzen up`: control plane and node in one process.

use std::time::Instant;

use anyhow::Context;
use mizzen_network::Machines;

use super::serve;
use crate::cluster::further_nodes::FurtherNodes;
use crate::cluster::{executables, machine, node, start_code};
use crate::config::Flags;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    /// So many nodes, the further ones in network namespaces of this machine, to try out a cluster
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=100))]
    nodes: u8,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    machine::require_usable("mizzen up")?;
    let Args { flags, nodes: count } = args;
    let file = flags.config.clone();
    serve::until_signalled(flags, async move |start, control_plane| {
        let asked = node::Asked::listen(start.config.node_api_address).await?;
        let machines = match count {
            1 => None,
            _ => {
                let second = start.config.second.map(|second| second.link());
                Some(Machines::open(&node::network_config(&start.data), second).await.context("make a link for further nodes")?)
            }
        };
        let address = asked.address().or(machines.as_ref().map(Machines::address));
        let network = node::open_own_network(&start.data, &mut start.config, address).await?;
        let control_plane = start.control_plane(control_plane, Some(network.node_address())).await?;
        let member = node::Membership::in_process(&start.config.node_name, control_plane)?;
        let settings = node::Settings {
            limits: start.config.node,
            dns: start.config.dns.clone(),
            ingress: start.config.ingress.clone(),
            registration: start.config.registration.clone(),
        };
        let mut node = node::Node::start(&start.data, network, asked, member, settings, &start.end).await?;
        node.ready().await?;
        let now = control_plane.clock.now();
        let further = match machines {
            None => None,
            Some(machines) => {
                let config = (&start.config, file.as_deref());
                Some(FurtherNodes::start(count, config, &start.data, &machines, now).await?)
            }
        };
        println!(
            "{} is Ready after {:.2} s: {} get pods -A --kubeconfig {}",
            if count == 1 { format!("Node {}", start.config.node_name) } else { format!("Each of {count} nodes") },
            started.elapsed().as_secs_f64(),
            executables::client(),
            start.config.kubeconfig.display()
        );
        start.end.spawn(start_code::give_back(start.end.cancel.clone()));
        match further {
            None => node.ended().await,
            Some(further) => tokio::select! {
                ended = node.ended() => ended,
                () = further.keep() => Ok(()),
            },
        }
    })
    .await
}
