//! `mizzen describe`: an object as YAML, and what happened to it.

use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::Value;

use super::kube_client::Connection;
use super::resources;

#[derive(Debug, clap::Args)]
pub struct Args {
    resource: String,
    name: String,
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = args.connection.client().await?;
    let resource = resources::resolve(&client, &args.resource).await?;
    let path = format!("{}/{}", resource.path(Some(&args.namespace)), args.name);
    let mut object: Value = client.request(http::Request::get(path).body(Vec::new())?).await?;
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    print!("{}", serde_yaml_ng::to_string(&object)?);
    print!("Events:{}", events(client, &resource, &object, &args).await?);
    Ok(())
}

async fn events(client: Client, resource: &resources::Resource, object: &Value, args: &Args) -> anyhow::Result<String> {
    let api: Api<Event> = if resource.namespaced { Api::namespaced(client, &args.namespace) } else { Api::all(client) };
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
    let mut events = api.list(&ListParams::default().fields(&format!("involvedObject.uid={uid}"))).await?.items;
    if events.is_empty() {
        return Ok("  <none>\n".to_owned());
    }
    events.sort_by_key(|event| event.last_timestamp.clone());
    let line = |event: &Event| {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        format!(
            "  {:<8} {:<20} x{:<4} {}\n",
            text(&event.type_),
            text(&event.reason),
            event.count.unwrap_or(1),
            text(&event.message)
        )
    };
    Ok(format!("\n{}", events.iter().map(line).collect::<String>()))
}
