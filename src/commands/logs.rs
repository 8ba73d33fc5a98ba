//! `mizzen logs`: of a pod, or of the pods of a workload or with a label.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use futures::future::try_join_all;
use futures::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use serde_json::Value;

use super::delete::seconds;
use crate::client::failure::print;
use crate::client::pods::{self, containers, default_container, text};
use crate::client::session::{Connection, Session};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// `web-1`, `pod/web-1`, `deploy/web`, `svc/web`
    #[arg(required_unless_present = "selector")]
    pod: Option<String>,
    /// Container
    #[arg(id = "CONTAINER", conflicts_with = "container")]
    second: Option<String>,
    #[arg(short, long)]
    container: Option<String>,
    /// All pods with these labels
    #[arg(short = 'l', long, conflicts_with = "pod")]
    selector: Option<String>,
    /// All pods of a workload
    #[arg(long)]
    all_pods: bool,
    /// All containers of each pod
    #[arg(long, conflicts_with = "container")]
    all_containers: bool,
    /// Go on as the log grows
    #[arg(short, long)]
    follow: bool,
    /// The container's last run before this one
    #[arg(short, long)]
    previous: bool,
    /// Only so many lines from the end; -1 is all [default: all, 10 with -l]
    #[arg(long, allow_negative_numbers = true)]
    tail: Option<i64>,
    /// Only what is not older than this: 30s, 5m, 1h
    #[arg(long, value_parser = seconds, conflicts_with = "since_time")]
    since: Option<Duration>,
    /// Only what is not older than this time (RFC 3339)
    #[arg(long)]
    since_time: Option<jiff::Timestamp>,
    #[arg(long)]
    limit_bytes: Option<i64>,
    #[arg(long)]
    timestamps: bool,
    /// Each line with pod and container before it
    #[arg(long)]
    prefix: bool,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Args) -> ExitCode {
    args.connection.run(async |session| args.logs(session).await).await
}

impl Args {
    async fn logs(&self, session: &Session) -> anyhow::Result<ExitCode> {
        let found = self.pods(session).await?;
        let streams: Vec<(String, String)> = found
            .iter()
            .flat_map(|pod| self.containers(pod).into_iter().map(|container| (text(pod, "/metadata/name"), container)))
            .collect();
        if self.follow && streams.len() > 1 {
            try_join_all(streams.iter().map(|(pod, container)| self.copy(session, pod, container, true))).await?;
        } else {
            for (pod, container) in &streams {
                self.copy(session, pod, container, false).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn pods(&self, session: &Session) -> anyhow::Result<Vec<Value>> {
        if let Some(selector) = &self.selector {
            let found = pods::labelled(session, selector, false).await?;
            if found.is_empty() {
                eprintln!("No resources found in {} namespace.", session.namespace);
            }
            return Ok(found);
        }
        let Some(word) = &self.pod else { bail!("expected 'logs POD' or 'logs TYPE/NAME'") };
        let mut found = pods::of(session, word).await?;
        if found.len() > 1 && !self.all_pods {
            eprintln!("Found {} pods, using pod/{}", found.len(), text(&found[0], "/metadata/name"));
            found.truncate(1);
        }
        Ok(found)
    }

    fn containers(&self, pod: &Value) -> Vec<String> {
        match self.container.as_ref().or(self.second.as_ref()) {
            Some(container) => vec![container.clone()],
            None if self.all_containers => containers(pod),
            None => vec![default_container(pod)],
        }
    }

    /// By whole lines where other logs are printed at the same time, or each line has its origin before it.
    async fn copy(&self, session: &Session, pod: &str, container: &str, beside_others: bool) -> anyhow::Result<()> {
        let tail = self.tail.or_else(|| self.selector.as_ref().map(|_| 10)).filter(|lines| *lines >= 0);
        let params = LogParams {
            container: Some(container.to_owned()),
            follow: self.follow,
            previous: self.previous,
            limit_bytes: self.limit_bytes,
            since_seconds: self.since.map(|since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
            since_time: self.since_time,
            tail_lines: tail,
            timestamps: self.timestamps,
            ..LogParams::default()
        };
        let pods: Api<Pod> = Api::namespaced(session.client.clone(), &session.namespace);
        let log = pods.log_stream(pod, &params).await?;
        let prefix = if self.prefix { format!("[pod/{pod}/{container}] ") } else { String::new() };
        if beside_others || self.prefix { lines(log, &prefix).await } else { bytes(log).await }
    }
}

async fn bytes(log: impl AsyncBufRead) -> anyhow::Result<()> {
    let mut log = std::pin::pin!(log);
    let mut buffer = vec![0; 32 * 1024];
    loop {
        match log.read(&mut buffer).await? {
            0 => return Ok(()),
            read => print(&buffer[..read])?,
        }
    }
}

async fn lines(log: impl AsyncBufRead, prefix: &str) -> anyhow::Result<()> {
    let mut log = std::pin::pin!(log);
    let mut line = prefix.as_bytes().to_vec();
    while log.read_until(b'\n', &mut line).await? > 0 {
        print(&line)?;
        line.truncate(prefix.len());
    }
    Ok(())
}
