//! `mizzen describe`: objects for people to read, with what happened to them.

use std::process::ExitCode;

use anyhow::bail;
use mizzen_reconcile::{Clock, SystemClock};
use serde_json::Value;

use crate::client::describe::describe;
use crate::client::failure::{self, print};
use crate::client::manifests::Files;
use crate::client::pods::text;
use crate::client::resources::Catalogue;
use crate::client::session::{Connection, Session, with_query};
use crate::client::targets::{self, Target, objects};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Resources and names, or what names begin with: `pod web`, `deploy/web`, `nodes`
    what: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Label selector
    #[arg(short = 'l', long, default_value = "")]
    selector: String,
    /// Without events
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    show_events: bool,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Args) -> ExitCode {
    args.connection.run(async |session| args.describe_all(session).await).await
}

impl Args {
    async fn describe_all(&self, session: &Session) -> anyhow::Result<ExitCode> {
        let catalogue = Catalogue::discover(&session.client).await?;
        let mut targets = targets::parse(&catalogue, &self.what)?;
        if self.files.are_given() {
            targets.extend(targets::in_files(&catalogue, &self.files)?);
        }
        if targets.is_empty() {
            bail!("You must specify the type of resource to describe");
        }
        if self.all_namespaces {
            targets::check_everywhere(&targets)?;
        }
        let mut code = ExitCode::SUCCESS;
        let mut found = Vec::new();
        for target in &targets {
            match self.find(session, target).await {
                Ok(objects) => found.extend(objects),
                Err(error) => code = failure::say(&error, &session.server),
            }
        }
        if found.is_empty() && code == ExitCode::SUCCESS {
            eprintln!("No resources found in {} namespace.", session.namespace);
        }
        for (at, object) in found.iter().enumerate() {
            let mut events = if self.show_events { events(session, object).await? } else { Vec::new() };
            let gap = if at == 0 { "" } else { "\n\n" };
            print(format!("{gap}{}", describe(object, &mut events, SystemClock.now())))?;
        }
        Ok(code)
    }

    /// The objects of a target. Where there is none of a name, those whose names begin so.
    async fn find(&self, session: &Session, target: &Target) -> anyhow::Result<Vec<Value>> {
        let path = target.path(session, self.all_namespaces);
        let Some(name) = &target.name else {
            return Ok(objects(session.get(&with_query(&path, &[("labelSelector", &self.selector)])).await?));
        };
        let missing = match session.get(&path).await {
            Err(error) if failure::is_not_found(&error) => error,
            answer => return Ok(vec![answer?]),
        };
        let collection = Target { name: None, ..target.clone() };
        let mut found = objects(session.get(&collection.path(session, self.all_namespaces)).await?);
        found.retain(|object| text(object, "/metadata/name").starts_with(name.as_str()));
        if found.is_empty() { Err(missing) } else { Ok(found) }
    }
}

/// The events about an object; about what has no namespace, those in all.
async fn events(session: &Session, object: &Value) -> anyhow::Result<Vec<Value>> {
    let path = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/events"),
        None => "/api/v1/events".to_owned(),
    };
    // A node's events name it instead of its uid.
    let about = match object["kind"].as_str() {
        Some("Node") => format!("involvedObject.kind=Node,involvedObject.name={}", text(object, "/metadata/name")),
        _ => format!("involvedObject.uid={}", text(object, "/metadata/uid")),
    };
    Ok(objects(session.get(&with_query(&path, &[("fieldSelector", &about)])).await?))
}
