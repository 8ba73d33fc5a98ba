//! `mizzen apply`: server-side apply of YAML files.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

use super::kube_client::Connection;
use super::resources;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// File or folder of YAML or JSON; `-` is standard input
    #[arg(short, long, required = true)]
    filename: Vec<PathBuf>,
    /// For objects that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Take over fields that others manage
    #[arg(long)]
    force_conflicts: bool,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = args.connection.client().await?;
    for object in args.filename.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten() {
        let (api_version, kind, name) = identify(&object)?;
        let resource = resources::of_kind(&client, api_version, kind).await?;
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&args.namespace);
        let path = format!("{}/{name}?fieldManager=mizzen&force={}", resource.path(Some(namespace)), args.force_conflicts);
        let request = http::Request::patch(path)
            .header("Content-Type", "application/apply-patch+yaml")
            .header("Accept", "application/json")
            .body(serde_json::to_vec(&object)?)?;
        client.request::<Value>(request).await.with_context(|| format!("apply {}/{name}", resource.qualified()))?;
        println!("{}/{name} serverside-applied", resource.qualified());
    }
    Ok(())
}

/// What an object is called.
///
/// # Errors
/// When it does not say.
pub fn identify(object: &Value) -> anyhow::Result<(&str, &str, &str)> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    match (text("/apiVersion"), text("/kind"), text("/metadata/name")) {
        (Some(api_version), Some(kind), Some(name)) => Ok((api_version, kind, name)),
        _ => bail!("an object needs apiVersion, kind and metadata.name"),
    }
}

/// The objects in a file or in the YAML and JSON files of a folder, in order of their names; lists are taken apart.
///
/// # Errors
/// Names the file that cannot be read or parsed.
pub fn read(path: &Path) -> anyhow::Result<Vec<Value>> {
    if path.is_dir() {
        let mut files: Vec<PathBuf> = std::fs::read_dir(path)
            .with_context(|| format!("read {}", path.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.retain(|file| {
            file.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|wanted| extension == *wanted))
        });
        files.sort();
        return Ok(files.iter().map(|file| read(file)).collect::<anyhow::Result<Vec<_>>>()?.concat());
    }
    let text = if path == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) }
        .with_context(|| format!("read {}", path.display()))?;
    parse(&text).with_context(|| format!("parse {}", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        match Value::deserialize(document)? {
            Value::Null => {}
            Value::Object(mut list) if list.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List")) => {
                if let Some(Value::Array(items)) = list.remove("items") {
                    objects.extend(items);
                }
            }
            object => objects.push(object),
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let objects = parse("---\nkind: A\n---\n# nothing\n---\nkind: List\nitems:\n- kind: B\n- kind: C\n").expect("parses");
        let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
    }
}
