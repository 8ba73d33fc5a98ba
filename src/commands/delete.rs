//! `mizzen delete`: objects by name, by label or from files; waits until they are gone.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use futures::TryStreamExt;
use http::Method;
use kube::core::WatchEvent;
use serde_json::{Value, json};

use crate::client::failure::{self, print};
use crate::client::manifests::Files;
use crate::client::pods::text;
use crate::client::resources::Catalogue;
use crate::client::session::{Connection, Session, with_query};
use crate::client::targets::{self, Target, objects};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Resource and names: `pod web-1`, `pod/web-1 svc/web`
    what: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// Those with these labels
    #[arg(short = 'l', long, default_value = "")]
    selector: String,
    #[arg(long, default_value = "")]
    field_selector: String,
    /// All of the resource
    #[arg(long)]
    all: bool,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Seconds that pods get to end by themselves
    #[arg(long, allow_hyphen_values = true)]
    grace_period: Option<i64>,
    /// Give pods a second to end
    #[arg(long, conflicts_with = "grace_period")]
    now: bool,
    /// At once, with --grace-period=0: without waiting for the word of the node
    #[arg(long)]
    force: bool,
    /// What becomes of what the object owns
    #[arg(long, value_parser = ["background", "foreground", "orphan"], default_value = "background")]
    cascade: String,
    /// Wait until the objects are gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    wait: bool,
    /// Seconds to wait for that; 0 waits for ever
    #[arg(long, default_value = "0", value_parser = seconds)]
    timeout: Duration,
    #[arg(long)]
    ignore_not_found: bool,
    #[command(flatten)]
    connection: Connection,
}

/// `30`, `30s`, `5m` or `1h`.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|character: char| !character.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("expected a number of s, m or h, such as 30s".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "expected a number of s, m or h, such as 30s".to_owned())?;
    Ok(Duration::from_secs(number.saturating_mul(factor)))
}

/// An object that was told to go.
struct Doomed {
    target: Target,
    uid: String,
}

pub async fn run(args: Args) -> ExitCode {
    args.connection.run(async |session| args.delete_all(session).await).await
}

impl Args {
    async fn delete_all(&self, session: &Session) -> anyhow::Result<ExitCode> {
        let catalogue = Catalogue::discover(&session.client).await?;
        let mut targets = targets::parse(&catalogue, &self.what)?;
        if self.files.are_given() {
            targets.extend(targets::in_files(&catalogue, &self.files)?);
        }
        if targets.is_empty() {
            bail!("You must provide one or more resources by argument or filename");
        }
        let selects = !self.selector.is_empty() || !self.field_selector.is_empty();
        if (selects || self.all) && targets.iter().any(|target| target.name.is_some()) {
            bail!("name cannot be provided when a selector is specified");
        }
        if !(selects || self.all) && targets.iter().any(|target| target.name.is_none()) {
            bail!("resource(s) were provided, but no name was specified");
        }
        if self.all_namespaces {
            targets::check_everywhere(&targets)?;
        }
        if self.grace_period == Some(0) && !self.force {
            eprintln!("Warning: without --force, a grace period of 0 is taken for 1");
        }
        if self.force {
            eprintln!(
                "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely."
            );
        }
        let mut code = ExitCode::SUCCESS;
        let mut doomed = Vec::new();
        for target in self.named(session, targets).await? {
            match self.delete(session, target).await {
                Ok(told) => doomed.extend(told),
                Err(error) => code = failure::say(&error, &session.server),
            }
        }
        if doomed.is_empty() && code == ExitCode::SUCCESS && (selects || self.all) {
            print("No resources found\n")?;
        }
        if self.wait && !self.force {
            let gone = async {
                for one in &doomed {
                    wait_until_gone(session, one).await?;
                }
                anyhow::Ok(())
            };
            match self.timeout {
                Duration::ZERO => gone.await?,
                limit => match tokio::time::timeout(limit, gone).await {
                    Ok(gone) => gone?,
                    Err(_) => bail!("timed out waiting for the objects to go"),
                },
            }
        }
        Ok(code)
    }

    /// The objects, each by its name.
    async fn named(&self, session: &Session, targets: Vec<Target>) -> anyhow::Result<Vec<Target>> {
        let selectors = [("labelSelector", self.selector.as_str()), ("fieldSelector", self.field_selector.as_str())];
        let mut named = Vec::new();
        for target in targets {
            if target.name.is_some() {
                named.push(target);
                continue;
            }
            let list = session.get(&with_query(&target.path(session, self.all_namespaces), &selectors)).await?;
            named.extend(objects(list).iter().map(|object| Target {
                resource: target.resource.clone(),
                name: object["metadata"]["name"].as_str().map(str::to_owned),
                namespace: object["metadata"]["namespace"].as_str().map(str::to_owned),
            }));
        }
        Ok(named)
    }

    /// `None` when there is no such object, and that is no failure.
    async fn delete(&self, session: &Session, target: Target) -> anyhow::Result<Option<Doomed>> {
        let policy = match self.cascade.as_str() {
            "foreground" => "Foreground",
            "orphan" => "Orphan",
            _ => "Background",
        };
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        let grace = match (self.now, self.grace_period) {
            (true, _) => Some(1),
            (false, Some(0)) if !self.force => Some(1),
            (false, None) if self.force => Some(0),
            (false, given) => given.filter(|seconds| *seconds >= 0),
        };
        if let Some(seconds) = grace {
            options["gracePeriodSeconds"] = json!(seconds);
        }
        let path = target.path(session, false);
        let answer = match session.put(Method::DELETE, &path, "application/json", &options).await {
            Err(error) if self.ignore_not_found && failure::is_not_found(&error) => return Ok(None),
            answer => answer?,
        };
        let name = target.name.as_deref().unwrap_or_default();
        print(format!("{} {name:?} {}deleted\n", target.resource.one(), if self.force { "force " } else { "" }))?;
        // The answer is the object that is going, or the status of one that is gone.
        let uid = if answer["kind"] == "Status" { text(&answer, "/details/uid") } else { text(&answer, "/metadata/uid") };
        Ok(Some(Doomed { target, uid }))
    }
}

/// Returns when there is no object of that name any more, or another one.
async fn wait_until_gone(session: &Session, doomed: &Doomed) -> anyhow::Result<()> {
    let path = doomed.target.path(session, false);
    let collection = Target { name: None, ..doomed.target.clone() }.path(session, false);
    let only = format!("metadata.name={}", doomed.target.name.as_deref().unwrap_or_default());
    // Each watch ends some time; what there is then tells whether there is more to wait for.
    while let Some(object) = session.find(&path).await?.filter(|object| text(object, "/metadata/uid") == doomed.uid) {
        let version = text(&object, "/metadata/resourceVersion");
        let query = [("watch", "1"), ("fieldSelector", only.as_str()), ("resourceVersion", version.as_str())];
        let request = http::Request::get(with_query(&collection, &query)).header("Accept", "application/json").body(Vec::new())?;
        let events = session.client.request_events::<Value>(request).await?;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.try_next().await? {
            if matches!(event, WatchEvent::Deleted(_) | WatchEvent::Error(_)) {
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_of_seconds_minutes_or_hours() {
        let read = |text| seconds(text).map(|duration| duration.as_secs());
        assert_eq!([read("30"), read("30s"), read("2m"), read("1h")], [Ok(30), Ok(30), Ok(120), Ok(3600)]);
        assert!(read("soon").is_err() && read("").is_err() && read("1d").is_err());
    }
}
