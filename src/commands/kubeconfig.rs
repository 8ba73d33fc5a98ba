//! `mizzen kubeconfig`.

use std::path::PathBuf;

use anyhow::Context;
use mizzen_reconcile::{Clock, SystemClock};

use crate::cluster::data_dir::DataDir;
use crate::cluster::node_credentials::NodeCredentials;
use crate::config::check_node_name;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, value_name = "DIR", default_value = crate::config::DEFAULT_DATA_DIR, env = "MIZZEN_DATA_DIR")]
    data_dir: PathBuf,
    /// Make and print a node's kubeconfig instead, for `mizzen agent`; it is valid for a year
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Where the node reaches the server [default: where the administrator does]
    #[arg(long, value_name = "URL", requires = "node")]
    server: Option<String>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let text = match args.node {
        Some(node) => {
            check_node_name(&node)?;
            let data = DataDir::open(&args.data_dir)?;
            let is_told = args.server.is_some();
            let made = NodeCredentials::issue(&data, &node, args.server, SystemClock.now());
            let credentials = made.context("make the kubeconfig of a node")?;
            if !is_told && credentials.is_for_this_machine() {
                let server = credentials.server();
                eprintln!(
                    "mizzen: the node will look for the server at {server}, which is good on this machine only; --server names another URL"
                );
            }
            credentials.to_yaml().context("make the kubeconfig of a node")?
        }
        None => {
            let path = args.data_dir.join("kubeconfig");
            std::fs::read_to_string(&path).with_context(|| format!("read {} (is the cluster up?)", path.display()))?
        }
    };
    print!("{text}");
    Ok(())
}
