//! Processor time: what a request costs, however busy the machine is with others.

use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

/// Processor time used so far.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    server: Option<Duration>,
    own: Duration,
}

impl Used {
    /// Of a server, in ticks of 10 ms as a rule, and of this process.
    pub(crate) fn now(server: Option<u32>) -> Self {
        Self { server: server.and_then(of), own: own() }
    }

    /// Of a server of several processes.
    pub(crate) fn of_all(servers: &[u32]) -> Self {
        Self { server: servers.iter().map(|pid| of(*pid)).sum(), own: own() }
    }

    /// Since `before`, for each of `count`.
    pub(crate) fn each_since(&self, before: &Self, count: usize) -> String {
        let own = each(self.own, before.own, count);
        match (self.server, before.server) {
            (Some(now), Some(before)) => format!("CPU each: server {}, client {own}", each(now, before, count)),
            _ => format!("CPU each: {own}"),
        }
    }
}

/// What a process has used since `before`, for each of `count`.
pub(crate) fn of_server_each(now: &Used, before: &Used, count: usize) -> String {
    each(now.server.unwrap_or_default(), before.server.unwrap_or_default(), count)
}

/// As [`of_server_each`], of two moments that [`of_threads`] looked at.
pub(crate) fn each(now: Duration, before: Duration, count: usize) -> String {
    format!("{:.0} µs", now.saturating_sub(before).as_secs_f64() * 1e6 / count.max(1) as f64)
}

fn own() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::from_secs(time.tv_sec() as u64) + Duration::from_micros(time.tv_usec() as u64))
        .sum()
}

/// What the threads of this name have used, of a process that runs; the kernel keeps 15 bytes of a name.
pub(crate) fn of_threads(pid: Option<u32>, name: &str) -> Duration {
    let Some(pid) = pid else { return Duration::ZERO };
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().map(|thread| thread.path());
    let is_meant = |thread: &Path| std::fs::read_to_string(thread.join("comm")).is_ok_and(|found| found.trim_end() == name);
    threads.filter(|thread| is_meant(thread)).filter_map(|thread| of_stat(&thread.join("stat"))).sum()
}

/// What a process has used itself, and what the children have that it has seen end.
pub(crate) fn of_family(pid: u32) -> Option<(Duration, Duration)> {
    let stat = stat(Path::new(&format!("/proc/{pid}/stat")))?;
    Some((sum(&stat, [UTIME, STIME])?, sum(&stat, [CUTIME, CSTIME])?))
}

fn of(pid: u32) -> Option<Duration> {
    of_stat(Path::new(&format!("/proc/{pid}/stat")))
}

/// `None` when the process is gone.
fn of_stat(path: &Path) -> Option<Duration> {
    sum(&stat(path)?, [UTIME, STIME])
}

/// Fields of `/proc/PID/stat` (proc(5)), counted from the one after the name.
const UTIME: usize = 11;
const STIME: usize = 12;
const CUTIME: usize = 13;
const CSTIME: usize = 14;

fn stat(path: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(path).ok()?;
    // The name, in parentheses, may hold spaces.
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn sum(stat: &[String], fields: [usize; 2]) -> Option<Duration> {
    let ticks: Option<u64> = fields.into_iter().map(|field| stat.get(field)?.parse::<u64>().ok()).sum();
    let per_second = sysconf(SysconfVar::CLK_TCK).ok()?? as u64;
    Some(Duration::from_micros(ticks? * 1_000_000 / per_second))
}
