//! `mizzen kubeconfig`.

use std::path::PathBuf;

use anyhow::Context;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, value_name = "DIR", default_value = crate::config::DEFAULT_DATA_DIR, env = "MIZZEN_DATA_DIR")]
    data_dir: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let path = args.data_dir.join("kubeconfig");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {} (is the cluster up?)", path.display()))?;
    print!("{text}");
    Ok(())
}
