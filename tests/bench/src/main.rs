//! Measures what a user waits for, with the real executables and with TLS, RBAC, admission and fsync on, and prints one
//! Markdown table. Nothing here asserts a time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails ends the run, and says where")]

mod api;
mod cpu;
mod create_to_exit;
mod disk;
mod dns;
mod etcd;
mod fill;
mod flood;
mod http2;
mod https;
mod ingress;
mod list;
mod load;
mod machine;
mod memory;
mod pace;
mod pods;
mod policy;
mod processors;
mod raft;
mod samples;
mod scale;
mod scheduler;
mod services;
mod startup;
mod table;
mod wasm;
mod watch;
mod writes;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use table::Table;

/// Benchmarks of mizzen: prints one Markdown table
#[derive(Debug, Parser)]
struct Args {
    /// The day to print [default: today's]
    #[arg(long)]
    date: Option<String>,
    /// Only these parts; all when none is named
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Hollow nodes of the part `scheduler`, which places twice as many pods on them with each profile
    #[arg(long, default_value_t = 5_000)]
    nodes: usize,
    /// Services of the part `services`, at each of which changes are measured
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 5_000, 30_000])]
    services: Vec<usize>,
    #[command(subcommand)]
    helper: Option<Helper>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Startup,
    Pods,
    Wasm,
    CreateToExit,
    Writes,
    Api,
    List,
    Watch,
    Scheduler,
    Policy,
    Flood,
    Dns,
    Ingress,
    Services,
    /// 150,000 pods, which takes minutes: only when it is named
    Scale,
}

/// What the benchmark runs itself as, in namespaces of its own.
#[derive(Debug, Subcommand)]
enum Helper {
    /// Time an OCI runtime's `run` of a bundle, in microseconds, one line each
    #[command(hide = true)]
    TimeRuns { runtime: PathBuf, bundle: PathBuf, runs: usize },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(Helper::TimeRuns { runtime, bundle, runs }) = &args.helper {
        return create_to_exit::print_runs(runtime, bundle, *runs);
    }
    // A second installation can only be the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    println!("{}\n", machine::describe(args.date.as_deref()));
    let mut table = Table::default();
    if wanted(Part::Startup) {
        startup::measure(&mut table).await?;
    }
    if wanted(Part::Pods) {
        pods::measure(&mut table).await?;
    }
    if wanted(Part::Wasm) {
        wasm::measure(&mut table).await?;
    }
    if wanted(Part::CreateToExit) {
        create_to_exit::measure(&mut table).await?;
    }
    if wanted(Part::Writes) {
        writes::measure(&mut table).await?;
    }
    if wanted(Part::Api) {
        api::measure(&mut table).await?;
    }
    if wanted(Part::List) {
        list::measure(&mut table).await?;
    }
    if wanted(Part::Watch) {
        watch::measure(&mut table).await?;
    }
    if wanted(Part::Scheduler) {
        scheduler::measure(&mut table, args.nodes).await?;
    }
    if wanted(Part::Policy) {
        policy::measure(&mut table).await?;
    }
    if wanted(Part::Flood) {
        flood::measure(&mut table).await?;
    }
    if wanted(Part::Dns) {
        dns::measure(&mut table).await?;
    }
    if wanted(Part::Ingress) {
        ingress::measure(&mut table).await?;
    }
    if wanted(Part::Services) {
        services::measure(&mut table, &args.services).await?;
    }
    if args.only.contains(&Part::Scale) {
        scale::measure(&mut table).await?;
    }
    println!("{table}");
    Ok(())
}
