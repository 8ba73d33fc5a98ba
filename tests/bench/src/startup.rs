//! `mizzen up` on an empty folder until its node is Ready, and what it holds when nothing runs.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mizzen_tests::Cluster;
use mizzen_tests::command::run;
use mizzen_tests::executables::mizzen;
use mizzen_tests::ports::Port;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::memory::{self, megabytes};
use crate::samples::Samples;
use crate::table::Table;

const RUNS: usize = 5;
/// What start-up leaves behind (allocator, caches) has settled by then.
const IDLE: Duration = Duration::from_secs(15);

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let mut times = Samples::default();
    for _ in 0..RUNS {
        times.push(up_once().await?);
    }
    let what = format!("`mizzen up`, empty folder to Node Ready (p50 / worst of {RUNS})");
    table.row(&what, times.summary(), "1 s", String::new());

    let cluster = Cluster::up();
    tokio::time::sleep(IDLE).await;
    let idle = cluster.pid().and_then(memory::of).context("mizzen up is running")?;
    table.row("memory of server and agent, idle (Pss)", megabytes(idle), "60 MB", String::new());
    Ok(())
}

async fn up_once() -> anyhow::Result<Duration> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let port = Port::reserve();
    let mut up = tokio::process::Command::from(mizzen());
    up.args(["up", "--node-name", "bench", "--data-dir"]).arg(&data).arg("--api-address").arg(port.address().to_string());
    up.env("MIZZEN_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let begin = Instant::now();
    let mut process = up.spawn().context("start mizzen up")?;
    let mut lines = BufReader::new(process.stdout.take().context("has an output")?).lines();
    let ready = loop {
        match lines.next_line().await? {
            Some(line) if line.contains("is Ready") => break begin.elapsed(),
            Some(_) => {}
            None => bail!("mizzen up ended before its node was Ready"),
        }
    };
    if let Some(pid) = process.id() {
        kill(Pid::from_raw(pid.try_into()?), Signal::SIGTERM)?;
    }
    process.wait().await?;
    run(mizzen().args(["down", "--delete-data", "--data-dir"]).arg(&data)).ok();
    Ok(ready)
}
