//! `mizzen hollow`: simulated nodes for a real server (docs/hollow-nodes.md).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use mizzen_client::http::{HttpClient, HttpConfig};
use mizzen_hollow::profile::{Rule, parse_duration, parse_finish_after};
use mizzen_hollow::{Hollow, HollowConfig, Profile};
use mizzen_reconcile::SystemClock;

use super::signals;
use crate::cluster::end::End;
use crate::cluster::kubeconfig::Login;
use crate::config::is_dns_name;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of an administrator: it acts for all the nodes
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: PathBuf,
    /// Where the server is [default: where the kubeconfig says]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 1)]
    nodes: usize,
    /// They are called PREFIX-0, PREFIX-1 and on
    #[arg(long, default_value = "hollow")]
    prefix: String,
    /// How they look, and what becomes of their pods (YAML, docs/hollow-nodes.md)
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// How long pods take to start, of those that no rule of the profile is for
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    start_after: String,
    /// How long their containers run [default: for ever]
    #[arg(long, value_name = "DURATION")]
    finish_after: Option<String>,
    /// How many of a hundred of them fail when they end
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    fail_percent: u8,
    /// Leave the nodes there at the end, for the next `mizzen hollow`
    #[arg(long)]
    keep: bool,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    signals::log_to_stderr();
    let profile = profile(&args)?;
    anyhow::ensure!(is_dns_name(&args.prefix), "--prefix: {:?} is no DNS name in lower case", args.prefix);
    let login = Login::read(&args.kubeconfig)?;
    let server = args.server.unwrap_or(login.server);
    let http = HttpConfig {
        server: server.clone(),
        root: login.root,
        certificate: Some((login.pair.certificate, login.pair.key)),
        token: None,
        user_agent: "mizzen-hollow".to_owned(),
    };
    let client = HttpClient::new(http)?;
    client.ready().await?;
    let config =
        HollowConfig { client: Arc::new(client), clock: Arc::new(SystemClock), count: args.nodes, prefix: args.prefix, profile };
    let mut hollow = Hollow::new(config);
    let end = End::default();
    let outcome = signals::until_signalled(&end, async {
        let started = Instant::now();
        hollow.start().await.context("register hollow nodes")?;
        let took = started.elapsed().as_secs_f64();
        println!("{} hollow nodes are Ready after {took:.2} s at {server}", args.nodes);
        std::future::pending().await
    })
    .await;
    // Those that were registered before a signal or an error, too.
    let left = if args.keep { 0 } else { hollow.remove().await };
    outcome?;
    anyhow::ensure!(left == 0, "{left} hollow nodes could not be deleted");
    Ok(())
}

/// The file, and behind its rules the one that the flags make.
fn profile(args: &Args) -> anyhow::Result<Profile> {
    let mut profile = match &args.profile {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            Profile::parse(&text).with_context(|| path.display().to_string())?
        }
        None => Profile::parse("{}")?,
    };
    let finish_after = args.finish_after.as_deref().map(|text| parse_finish_after("--finish-after", text)).transpose()?;
    profile.rules.push(Rule {
        start_after: parse_duration("--start-after", &args.start_after)?,
        finish_after,
        fail_percent: args.fail_percent,
        ..Rule::default()
    });
    Ok(profile)
}
