//! One endpoint's change, again and again: how soon the rules of all nodes say so, and what it costs one.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mizzen_tests::command::run;
use mizzen_tests::{Agent, client, leftovers};
use serde_json::json;

use super::kernel::Kernel;
use super::world::{World, endpoints, nth, slice_path};
use crate::cpu;
use crate::https::{Https, Request};
use crate::samples::{Samples, show};
use crate::table::Table;

/// Changes that are not counted, after services were made.
const WARM: usize = 10;
const TRANSACTIONS: usize = 50;
/// How long rules may take when many services were just made.
const SETTLING: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Changes<'a> {
    agent: &'a Agent,
    connection: Https,
    /// Of the server's node and of the agent's.
    tables: [String; 2],
    /// So far: no two make the same endpoint.
    made: usize,
}

impl<'a> Changes<'a> {
    /// # Errors
    /// When the API is not reached.
    pub(super) async fn new(world: &World, agent: &'a Agent) -> anyhow::Result<Self> {
        let table = |id: String| format!("mizzen_{id}_services");
        let tables = [table(world.cluster.id()), table(leftovers::cluster_id(&agent.data()))];
        Ok(Self { agent, connection: world.endpoint.connect().await?, tables, made: 0 })
    }

    /// # Errors
    /// When the API refuses, or rules do not follow.
    pub(super) async fn measure(&mut self, table: &mut Table, services: usize, changes: usize) -> anyhow::Result<()> {
        let mut kernel = Kernel::listen()?;
        // What was made before is in the rules when this is.
        self.change(&mut kernel, 0, SETTLING).await?;
        for number in 0..WARM {
            self.change(&mut kernel, number % services.max(1), PATIENCE).await?;
        }
        let pid = self.agent.pid().context("the agent runs")?;
        let before = cpu::of_family(pid).context("the agent runs")?;
        let mut times = Samples::default();
        for number in 0..changes {
            // Spread over all services.
            let service = number * services / changes;
            times.push(self.change(&mut kernel, service, PATIENCE).await?);
        }
        let after = cpu::of_family(pid).context("the agent runs")?;
        let what = format!("Service: an endpoint's change until the rules of two nodes say so, {services} services (p50 / p99)");
        table.row(&what, times.summary(), "p99 100 ms at 5,000", String::new());
        let (own, nft) = (cpu::each(after.0, before.0, changes), cpu::each(after.1, before.1, changes));
        let what = format!("Service: cost of one change, {services} services (processor time of the agent + of its nft)");
        let wall = format!("nft transaction of one element in the same table: {} wall (p50)", show(self.transactions()?));
        table.row(&what, format!("{own} + {nft}"), "flat", wall);
        Ok(())
    }

    /// Gives a service another endpoint beside the one that stays; from the request until the last node's rules say so.
    async fn change(&mut self, kernel: &mut Kernel, service: usize, patience: Duration) -> anyhow::Result<Duration> {
        self.made += 1;
        let endpoint = nth(Ipv4Addr::new(203, 0, 113, 0), self.made);
        let body = json!({"endpoints": endpoints(service, endpoint)}).to_string();
        let path = slice_path(service);
        let content_type = "application/merge-patch+json";
        let begin = Instant::now();
        self.connection.send(&Request { method: "PATCH", path: &path, content_type, body: body.as_bytes() }).await?;
        let last = kernel.until(&self.tables, endpoint.octets(), patience).await?;
        Ok(last.saturating_duration_since(begin))
    }

    /// What the `nft` command takes by the clock to put one element into the agent's table and take it out again, at once; the
    /// median of some.
    fn transactions(&self) -> anyhow::Result<Duration> {
        let [_, table] = &self.tables;
        let element = "{ 203.0.113.255 . tcp . 1 . 1:0 : 203.0.113.254 . 1 }";
        let rules = format!("add element ip {table} endpoints {element}\ndelete element ip {table} endpoints {element}\n");
        let mut times = Samples::default();
        for _ in 0..TRANSACTIONS {
            let begin = Instant::now();
            let ran = run(Command::new("nft").args(["-f", "-"]).stdin(Stdio::from(client::text(&rules))));
            times.push(begin.elapsed());
            ensure!(ran.code == Some(0), "nft: {}", ran.stderr);
        }
        Ok(times.median())
    }
}
