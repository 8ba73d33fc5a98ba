//! `mizzen get`: the server's tables, or the objects themselves.

use std::process::ExitCode;

use anyhow::bail;
use futures::TryStreamExt;
use kube::core::WatchEvent;
use serde_json::Value;

use crate::client::failure::{self, print};
use crate::client::manifests::Files;
use crate::client::output::{Output, without_managed_fields};
use crate::client::resources::Catalogue;
use crate::client::session::{Connection, Session, with_query};
use crate::client::table::{self, Columns, Printer};
use crate::client::targets::{self, Target, objects};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Resources and names: `pods`, `pod web-1`, `deploy,svc`, `pod/web-1 svc/web`, `all`
    what: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Label selector
    #[arg(short = 'l', long, default_value = "")]
    selector: String,
    #[arg(long, default_value = "")]
    field_selector: String,
    /// wide, yaml, json, name or jsonpath=TEMPLATE
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
    #[command(flatten)]
    columns: Columns,
    /// Go on with what changes
    #[arg(short, long)]
    watch: bool,
    /// Only what changes from now on
    #[arg(long)]
    watch_only: bool,
    /// No failure where there is no object of a name
    #[arg(long)]
    ignore_not_found: bool,
    /// With the field managers in JSON and YAML
    #[arg(long)]
    show_managed_fields: bool,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Args) -> ExitCode {
    args.connection.run(async |session| args.get(session).await).await
}

impl Args {
    async fn get(&self, session: &Session) -> anyhow::Result<ExitCode> {
        let output = match &self.output {
            Some(format) => Output::parse(format).map_err(anyhow::Error::msg)?,
            None => Output::Table,
        };
        let catalogue = Catalogue::discover(&session.client).await?;
        let mut targets = targets::parse(&catalogue, &self.what)?;
        if self.files.are_given() {
            targets.extend(targets::in_files(&catalogue, &self.files)?);
        }
        let Some(first) = targets.first() else { bail!("You must specify the type of resource to get") };
        let selects = !self.selector.is_empty() || !self.field_selector.is_empty();
        if selects && targets.iter().any(|target| target.name.is_some()) {
            bail!("name cannot be provided when a selector is specified");
        }
        if self.all_namespaces {
            targets::check_everywhere(&targets)?;
        }
        let several = targets.iter().any(|target| target.resource != first.resource);
        if self.watch || self.watch_only {
            if targets.len() > 1 {
                bail!("you may only specify a single resource to watch");
            }
            return self.follow(session, first, &output).await;
        }
        if output.is_table() {
            self.tables(session, &targets, several, &output).await
        } else {
            self.objects(session, &targets, &output).await
        }
    }

    async fn ask(&self, session: &Session, target: &Target, output: &Output) -> anyhow::Result<Option<Value>> {
        let selectors = [("labelSelector", self.selector.as_str()), ("fieldSelector", self.field_selector.as_str())];
        let path = with_query(&target.path(session, self.all_namespaces), &selectors);
        match session.send(request(&path, output)?).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if self.ignore_not_found && failure::is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn printer(&self, target: &Target, prefix: bool, output: &Output) -> Printer {
        let columns = Columns {
            wide: matches!(output, Output::Wide),
            namespaces: self.all_namespaces && target.resource.namespaced,
            ..self.columns.clone()
        };
        Printer::new(columns, prefix.then(|| target.resource.one()))
    }

    /// The tables of all, with a line between those of two resources.
    async fn tables(&self, session: &Session, targets: &[Target], several: bool, output: &Output) -> anyhow::Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        let mut said_anything = false;
        for of_one in targets.chunk_by(|a, b| a.resource == b.resource) {
            let mut all: Option<Value> = None;
            for target in of_one {
                match self.ask(session, target, output).await {
                    Ok(answer) => all = merged(all, answer),
                    Err(error) if targets.len() == 1 => return Err(error),
                    Err(error) => code = failure::say(&error, &session.server),
                }
            }
            let Some(table) = all.filter(|table| table["rows"].as_array().is_none_or(|rows| !rows.is_empty())) else { continue };
            let gap = if said_anything { "\n" } else { "" };
            print(format!("{gap}{}", self.printer(&of_one[0], several, output).print(&table)?))?;
            said_anything = true;
        }
        if !said_anything && code == ExitCode::SUCCESS && !self.ignore_not_found {
            let namespaced = targets.iter().any(|target| target.resource.namespaced) && !self.all_namespaces;
            let place = if namespaced { format!(" in {} namespace.", session.namespace) } else { String::new() };
            eprintln!("No resources found{place}");
        }
        Ok(code)
    }

    async fn objects(&self, session: &Session, targets: &[Target], output: &Output) -> anyhow::Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        let mut found = Vec::new();
        for target in targets {
            match self.ask(session, target, output).await {
                Ok(answer) => found.extend(answer.map(objects).unwrap_or_default().into_iter().map(|mut object| {
                    if !self.show_managed_fields {
                        without_managed_fields(&mut object);
                    }
                    (target.resource.clone(), object)
                })),
                Err(error) if targets.len() == 1 => return Err(error),
                Err(error) => code = failure::say(&error, &session.server),
            }
        }
        let alone = targets.len() == 1 && targets[0].name.is_some();
        // Nothing of that name, and nobody minds.
        if !(alone && found.is_empty()) {
            print(output.print(found, alone)?)?;
        }
        Ok(code)
    }

    /// What there is, and then every change until it is interrupted.
    async fn follow(&self, session: &Session, target: &Target, output: &Output) -> anyhow::Result<ExitCode> {
        let mut fields = self.field_selector.clone();
        if let Some(name) = &target.name {
            // The refusal of a name that is not there is the server's.
            session.get(&target.path(session, false)).await?;
            fields = format!("metadata.name={name}");
        }
        let collection = Target { name: None, ..target.clone() };
        let path = collection.path(session, self.all_namespaces);
        let selectors = [("labelSelector", self.selector.as_str()), ("fieldSelector", fields.as_str())];
        let mut printer = self.printer(target, false, output);
        let mut show = |answer: Value| -> anyhow::Result<()> {
            if output.is_table() {
                return print(printer.print(&answer)?);
            }
            for mut object in objects(answer) {
                if !self.show_managed_fields {
                    without_managed_fields(&mut object);
                }
                print(output.print(vec![(target.resource.clone(), object)], true)?)?;
            }
            Ok(())
        };
        let first = session.send(request(&with_query(&path, &selectors), output)?).await?;
        let mut version = version_of(&first).unwrap_or_default();
        let is_empty = ["rows", "items"].iter().all(|list| first[list].as_array().is_none_or(Vec::is_empty));
        if !self.watch_only && !is_empty {
            show(first)?;
        }
        // A server ends a watch after a while; the next one goes on where it ended.
        loop {
            let mut query = vec![("watch", "1"), ("allowWatchBookmarks", "true"), ("resourceVersion", version.as_str())];
            query.extend(selectors);
            let request = request(&with_query(&path, &query), output)?;
            let events = session.client.request_events::<Value>(request).await?;
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.try_next().await? {
                match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                        version = version_of(&object).unwrap_or(version);
                        show(object)?;
                    }
                    WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                    WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
                }
            }
        }
    }
}

fn request(path: &str, output: &Output) -> anyhow::Result<http::Request<Vec<u8>>> {
    let accept = if output.is_table() { table::ACCEPT } else { "application/json" };
    Ok(http::Request::get(path).header("Accept", accept).body(Vec::new())?)
}

/// One table of two of the same resource.
fn merged(all: Option<Value>, next: Option<Value>) -> Option<Value> {
    match (all, next) {
        (Some(mut all), Some(mut next)) => {
            if let (Some(rows), Some(more)) = (all["rows"].as_array_mut(), next["rows"].as_array_mut()) {
                rows.append(more);
            }
            Some(all)
        }
        (all, next) => all.or(next),
    }
}

/// The resource version of a list, a table or an object; of a table in a watch, its row's.
fn version_of(answer: &Value) -> Option<String> {
    let own = answer.pointer("/metadata/resourceVersion").and_then(Value::as_str).filter(|version| !version.is_empty());
    own.or_else(|| answer.pointer("/rows/0/object/metadata/resourceVersion")?.as_str()).map(str::to_owned)
}
