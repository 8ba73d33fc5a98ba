//! `mizzen agent`: a node of a server that runs elsewhere, reached over HTTPS.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Node as NodeObject;
use mizzen_node_state::{Memory, Remembering};
use mizzen_reconcile::{Clock, SystemClock, typed};
use tokio_util::sync::CancellationToken;

use super::signals;
use crate::cluster::data_dir::DataDir;
use crate::cluster::end::End;
use crate::cluster::joining::live::Live;
use crate::cluster::joining::token::JoinToken;
use crate::cluster::node::{self, Asked, Membership, Node, Settings, open_joined_network};
use crate::cluster::node_credentials::{NodeCredentials, check_name};
use crate::cluster::{join, joining, machine, start_code};
use crate::config::agent::{Access, Config, Flags};
use crate::config::check_node_name;

pub async fn run(flags: Flags) -> anyhow::Result<()> {
    let config = Config::load(flags)?;
    machine::require_usable("mizzen agent")?;
    signals::log_to_stderr();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // What cannot be used is refused before anything is made.
    let given = match &config.access {
        Access::Kubeconfig(path) => Some(NodeCredentials::read(path, config.node_name.as_deref(), clock.now())?),
        Access::Joined { .. } => None,
    };
    let data = DataDir::create(&config.data_dir)?;
    let _lock = data.lock()?;
    let end = End::default();
    let joined = Cell::new(false);
    let work = async {
        let asked = Asked::listen(config.node_api_address).await?;
        let credentials = match given {
            Some(credentials) => credentials,
            None => own_credentials(&config, &data, &*clock).await?,
        };
        serve(credentials, &data, asked, config, clock, &end, &joined).await
    };
    let outcome = signals::until_signalled(&end, work).await;
    if outcome.is_err() && !joined.get() {
        node::unmake(&data).await;
    }
    outcome
}

fn say_waiting(why: &str) {
    eprintln!("mizzen: waiting for the server: {why}");
}

/// What this machine was given when it joined, or is given now.
async fn own_credentials(config: &Config, data: &DataDir, clock: &dyn Clock) -> anyhow::Result<NodeCredentials> {
    let Access::Joined { server, token } = &config.access else { bail!("the node has a kubeconfig") };
    let known = NodeCredentials::load(&data.identity(), config.node_name.as_deref())?;
    let (name, server) = match (known, token) {
        (Some(mut known), _) if !known.has_ended(clock.now())? => {
            if let Some(server) = server {
                known.move_to(server)?;
            }
            return Ok(known);
        }
        (Some(known), Some(_)) => (known.node_name.clone(), server.clone().unwrap_or_else(|| known.server().to_owned())),
        (Some(known), None) => {
            bail!(
                "the certificate of node {} has ended: it joins again with a new --token (`mizzen token create` on the server)",
                known.node_name
            )
        }
        (None, _) => (
            config
                .node_name
                .clone()
                .or_else(machine::host_name)
                .context("find this machine's name (--node-name)")?
                .to_ascii_lowercase(),
            server.clone().context(
                "an agent needs --server and --token (`mizzen token create --print-join-command` on the server), or --kubeconfig",
            )?,
        ),
    };
    let token: &JoinToken =
        token.as_ref().context("this machine has not joined yet: --token (`mizzen token create` on the server prints one)")?;
    check_node_name(&name)?;
    check_name(&name)?;
    let mut credentials = joining::join(&server, token, &name, say_waiting).await?;
    credentials.keep(&data.identity())?;
    Ok(credentials)
}

async fn serve(
    credentials: NodeCredentials,
    data: &DataDir,
    asked: Asked,
    config: Config,
    clock: Arc<dyn Clock>,
    end: &End,
    joined: &Cell<bool>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let server = credentials.server().to_owned();
    let memory = Memory::open(&data.node_state())?;
    end.spawn(write_down_at_the_end(memory.clone(), end.cancel.clone()));
    let is_away = find_server(&credentials, &memory).await?;
    let address = match asked.address() {
        Some(address) => Some(address),
        None => match (join::address_seen_by(&server).await, is_away) {
            (Ok(Some(address)), _) => Some(address),
            (Ok(None) | Err(_), true) => told_address(&memory, &credentials.node_name),
            (seen, false) => seen?,
        },
    };
    let live = Live::new(credentials)?;
    let client = Arc::new(Remembering::new(live.client(), memory));
    let own = (live.node_name(), &config.registration);
    let network = open_joined_network(data, address, (config.peers, config.cni), client.as_ref(), own).await?;
    let member = Membership::over_https(&live, client, clock.clone())?;
    let name = member.node_name.clone();
    joined.set(true);
    let Config { node: limits, dns, ingress, registration, .. } = config;
    let settings = Settings { limits, dns, ingress, registration };
    let mut node = Node::start(data, network, asked, member, settings, end).await?;
    let running = async {
        node.ready().await?;
        println!("Node {name} is Ready after {:.2} s at {server}", started.elapsed().as_secs_f64());
        end.spawn(start_code::give_back(end.cancel.clone()));
        node.ended().await
    };
    let renewing = async {
        live.keep(clock, end.cancel.clone()).await;
        std::future::pending().await
    };
    tokio::select! {
        outcome = running => outcome,
        () = renewing => Ok(()),
    }
}

/// Tasks that hold the memory may outlast everything that waits for it: what it gathers would end with the process.
async fn write_down_at_the_end(memory: Arc<Memory>, cancel: CancellationToken) {
    cancel.cancelled().await;
    if tokio::task::spawn_blocking(move || memory.flush()).await.is_err() {
        tracing::warn!("the last of what the server said is not remembered");
    }
}

/// Waits for the server, unless the node knows its pods: then it begins without, and answers whether the server is away.
async fn find_server(credentials: &NodeCredentials, memory: &Memory) -> anyhow::Result<bool> {
    let client = credentials.client()?;
    if !memory.knows_pods() {
        join::wait_for_server(&client, say_waiting).await?;
        return Ok(false);
    }
    let why = join::look_for_server(&client).await?;
    if let Some(why) = &why {
        eprintln!("mizzen: the server is away, and the node goes on from what it remembers: {why}");
    }
    Ok(why.is_some())
}

/// The address that the node told the server of when it was there, if the machine still has it.
fn told_address(memory: &Memory, node: &str) -> Option<IpAddr> {
    let node = memory.get(&typed::gvr::<NodeObject>(), "", node)?;
    let node = typed::view::<NodeObject>(&node).ok()?;
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let told = addresses.iter().find(|address| address.type_ == "InternalIP")?.address.parse().ok()?;
    machine::addresses().contains(&told).then_some(told)
}
