//! What the machine as a whole uses, from proc(5).

use std::path::PathBuf;

use jiff::Timestamp;

/// The kernel counts processor time in hundredths of a second for proc(5), on every architecture.
const TICK: u64 = 10_000_000;

#[derive(Debug, thiserror::Error)]
pub(super) enum MachineError {
    #[error("read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} has no {what}")]
    Missing { path: &'static str, what: &'static str },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) booted: Timestamp,
    /// Nanoseconds of processor time since then.
    pub(super) cpu: u64,
    /// Bytes, and so are the others.
    pub(super) memory_used: u64,
    /// Without what the kernel could give back at once.
    pub(super) working_set: u64,
    pub(super) memory_available: u64,
}

/// Blocks.
pub(super) fn read() -> Result<Machine, MachineError> {
    let text =
        |path: &'static str| std::fs::read_to_string(path).map_err(|source| MachineError::Read { path: path.into(), source });
    parse(&text("/proc/stat")?, &text("/proc/meminfo")?)
}

fn parse(stat: &str, meminfo: &str) -> Result<Machine, MachineError> {
    let after = |name: &'static str| {
        let missing = MachineError::Missing { path: "/proc/stat", what: name };
        stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).ok_or(missing)
    };
    let ticks: Vec<u64> = after("cpu")?.split_whitespace().map_while(|number| number.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what guests took is part of user.
    let busy: u64 = ticks.iter().take(8).enumerate().filter(|(place, _)| ![3, 4].contains(place)).map(|(_, ticks)| ticks).sum();
    let booted = after("btime")?.trim().parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let bytes = |name: &'static str| {
        let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
        value.map(|kib| kib * 1024).ok_or(MachineError::Missing { path: "/proc/meminfo", what: name })
    };
    let used = bytes("MemTotal:")?.saturating_sub(bytes("MemFree:")?);
    Ok(Machine {
        booted: booted.ok_or(MachineError::Missing { path: "/proc/stat", what: "btime" })?,
        cpu: busy * TICK,
        memory_used: used,
        working_set: used.saturating_sub(bytes("Inactive(file):")?),
        memory_available: bytes("MemAvailable:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_processors_and_pages_that_can_be_given_back_are_not_used() {
        let stat = "cpu  100 20 30 5000 400 5 6 7 50 0\ncpu0 100 20 30 5000 400 5 6 7 50 0\nbtime 1700000000\n";
        let meminfo = "MemTotal: 1000 kB\nMemFree: 300 kB\nMemAvailable: 600 kB\nInactive(file): 200 kB\n";
        let machine = parse(stat, meminfo).expect("is read");
        assert_eq!(machine.cpu, 168 * TICK);
        assert_eq!((machine.memory_used, machine.working_set, machine.memory_available), (700 << 10, 500 << 10, 600 << 10));
        assert_eq!(machine.booted.as_second(), 1_700_000_000);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = parse("cpu 1 2 3 4 5 6 7 8\n", "").expect_err("no boot time");
        assert_eq!(error.to_string(), "/proc/stat has no btime");
    }

    #[test]
    fn this_machine_can_be_read() {
        let machine = read().expect("is Linux");
        assert!(machine.cpu > 0 && machine.working_set > 0 && machine.working_set <= machine.memory_used);
    }
}
