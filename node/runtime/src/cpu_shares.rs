//! How cgroups weigh beside each other when all want more CPU time than there is. Counted in shares, 1,024 for each CPU that is
//! asked for, whatever the kernel counts in: version 2 of cgroups has weights.

use std::path::Path;

use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::error::Error;
use cgroups_rs::fs::{Cgroup, Controller};
use parking_lot::Mutex;

/// The fewest that the kernel takes: what asks for nothing.
pub const LEAST: u64 = 2;
const MOST: u64 = 1 << 18;
const MOST_WEIGHT: u64 = 10_000;

/// Gives a cgroup its shares; nothing where no controller of CPUs is there. Blocks.
///
/// # Errors
/// When the kernel does not take them.
pub fn weigh(cgroup: &Cgroup, shares: u64) -> Result<(), Error> {
    let Some(cpu) = cgroup.controller_of::<CpuController>() else { return Ok(()) };
    cpu.set_shares(if cgroup.v2() { weight(shares) } else { shares.clamp(LEAST, MOST) })
}

/// Lets a cgroup weigh what those right below it weigh together, as if they were beside it. Blocks.
///
/// # Errors
/// When the kernel does not take it.
pub fn weigh_as_those_below(cgroup: &Cgroup) -> Result<(), Error> {
    // Whoever adds up last has seen all that were there before it began.
    static ADDING: Mutex<()> = Mutex::new(());
    let Some(cpu) = cgroup.controller_of::<CpuController>() else { return Ok(()) };
    let _adding = ADDING.lock();
    let (file, least, most) = if cgroup.v2() { ("cpu.weight", 1, MOST_WEIGHT) } else { ("cpu.shares", LEAST, MOST) };
    cpu.set_shares(sum_below(cpu.path(), file).clamp(least, most))
}

/// One that goes meanwhile weighs nothing any more.
fn sum_below(path: &Path, file: &str) -> u64 {
    let below = std::fs::read_dir(path).into_iter().flatten().flatten();
    let weights = below.filter_map(|entry| std::fs::read_to_string(entry.path().join(file)).ok()?.trim().parse::<u64>().ok());
    weights.sum()
}

/// The weight, of 1 to 10,000, of as many shares: 1,024 of them are 100, the kernel's default for both, as runc and crun have
/// it since they no longer make 39 of them.
/// <https://github.com/opencontainers/cgroups/blob/main/utils.go>
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are small")]
fn weight(shares: u64) -> u64 {
    if shares <= LEAST {
        return 1;
    }
    let log = (shares.min(MOST) as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    (10_f64.powf(exponent).ceil() as u64).clamp(1, MOST_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_meet_the_kernels_least_default_and_most() {
        for (shares, expected) in [(0, 1), (2, 1), (10, 4), (102, 17), (1024, 100), (1 << 18, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }

    #[test]
    fn those_below_are_added_up() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, shares) in [("a", "512\n"), ("b", "2\n")] {
            std::fs::create_dir(folder.path().join(name)).expect("makes");
            std::fs::write(folder.path().join(name).join("cpu.shares"), shares).expect("writes");
        }
        std::fs::create_dir(folder.path().join("gone")).expect("makes");
        assert_eq!(sum_below(folder.path(), "cpu.shares"), 514);
    }
}
