//! `mizzen agent`: a node of a server that runs elsewhere, reached over HTTPS.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use mizzen_network::PeersConfig;
use mizzen_reconcile::{Clock, SystemClock};

use super::signals;
use crate::cluster::data_dir::DataDir;
use crate::cluster::end::End;
use crate::cluster::node::{self, Asked, Membership, Node, Settings, open_joined_network};
use crate::cluster::node_credentials::NodeCredentials;
use crate::cluster::{join, machine};
use crate::config::agent::{Config, Flags};

pub async fn run(flags: Flags) -> anyhow::Result<()> {
    let config = Config::load(flags)?;
    machine::require_usable("mizzen agent")?;
    signals::log_to_stderr();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let credentials = NodeCredentials::read(&config.kubeconfig, config.node_name.as_deref(), clock.now())?;
    let data = DataDir::create(&config.data_dir)?;
    let _lock = data.lock()?;
    let end = End::default();
    let joined = Cell::new(false);
    let work = async {
        let asked = Asked::listen(config.node_api_address).await?;
        let settings = Settings { limits: config.node, dns: config.dns, ingress: config.ingress };
        serve(credentials, &data, asked, (settings, config.peers), clock, &end, &joined).await
    };
    let outcome = signals::until_signalled(&end, work).await;
    if outcome.is_err() && !joined.get() {
        node::unmake(&data).await;
    }
    outcome
}

async fn serve(
    credentials: NodeCredentials,
    data: &DataDir,
    asked: Asked,
    (settings, peers): (Settings, PeersConfig),
    clock: Arc<dyn Clock>,
    end: &End,
    joined: &Cell<bool>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let client = credentials.client()?;
    join::wait_for_server(&client, |why| eprintln!("mizzen: waiting for the server: {why}")).await?;
    let address = match asked.address() {
        Some(address) => Some(address),
        None => join::address_seen_by(credentials.server()).await?,
    };
    let network = open_joined_network(data, address, peers, client.as_ref(), &credentials.node_name).await?;
    let member = Membership::over_https(&credentials, client, clock)?;
    joined.set(true);
    let mut node = Node::start(data, network, asked, member, settings, end).await?;
    node.ready().await?;
    println!(
        "Node {} is Ready after {:.2} s at {}",
        credentials.node_name,
        started.elapsed().as_secs_f64(),
        credentials.server()
    );
    node.ended().await
}
