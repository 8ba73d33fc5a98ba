//! `mizzen delete`: objects by name or from files.

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::Value;

use super::apply;
use super::kube_client::Connection;
use super::resources::{self, Resource};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Resource and names, such as `pod web-1`
    what: Vec<String>,
    /// Delete what is in these files or folders
    #[arg(short, long)]
    filename: Vec<PathBuf>,
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Seconds that pods get to end by themselves
    #[arg(long)]
    grace_period: Option<i64>,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = args.connection.client().await?;
    let mut doomed: Vec<(Resource, String, String)> = Vec::new();
    for object in args.filename.iter().map(|path| apply::read(path)).collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten() {
        let (api_version, kind, name) = apply::identify(&object)?;
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&args.namespace);
        doomed.push((resources::of_kind(&client, api_version, kind).await?, namespace.to_owned(), name.to_owned()));
    }
    if let Some((resource, names)) = args.what.split_first() {
        let resource = resources::resolve(&client, resource).await?;
        doomed.extend(names.iter().map(|name| (resource.clone(), args.namespace.clone(), name.clone())));
    }
    if doomed.is_empty() {
        bail!("name what to delete: a resource and names, or -f FILE");
    }
    for (resource, namespace, name) in doomed {
        let query = args.grace_period.map(|seconds| format!("?gracePeriodSeconds={seconds}")).unwrap_or_default();
        let path = format!("{}/{name}{query}", resource.path(Some(&namespace)));
        let request = http::Request::delete(path).body(Vec::new())?;
        client.request::<Value>(request).await.with_context(|| format!("delete {}/{name}", resource.qualified()))?;
        println!("{} \"{name}\" deleted", resource.qualified());
    }
    Ok(())
}
