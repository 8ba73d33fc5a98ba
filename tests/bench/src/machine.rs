//! What was measured on.

use std::process::Command;

use mizzen_tests::command::run;

/// Cores, memory, kernel and day, on one line.
pub(crate) fn describe(date: Option<&str>) -> String {
    let today = || run(Command::new("date").args(["-u", "+%F"])).stdout.trim().to_owned();
    let date = date.map_or_else(today, str::to_owned);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field("/proc/meminfo", "MemTotal:").and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() / 1024;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    format!("{date} · {cores} cores · {memory} MiB · Linux {} · {build} · load {} at the start", kernel.trim(), load())
}

/// The load average of the last minute.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}

/// The first word after a name in a file of `/proc`.
pub(crate) fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next().map(str::to_owned)
}

/// Whether a program is on the search path.
pub(crate) fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|dir| dir.join(program).is_file())
}
