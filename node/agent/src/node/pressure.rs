//! When the node says that it is short of something, and so gets no new pods: the kubelet's hard eviction thresholds.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/>

use std::path::Path;
use std::str::FromStr;

use mizzen_api::quantity::Quantity;

use super::capacity;

/// How much has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Least {
    /// Bytes, or how many.
    Amount(u64),
    /// Of all there is.
    Percent(u8),
}

impl Least {
    fn is_missed(self, total: u64, available: u64) -> bool {
        let least = match self {
            Self::Amount(amount) => u128::from(amount),
            Self::Percent(percent) => u128::from(total) * u128::from(percent) / 100,
        };
        u128::from(available) < least
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a quantity, such as 500Mi, nor a percentage from 0% to 100%")]
pub struct ParseLeastError(String);

impl FromStr for Least {
    type Err = ParseLeastError;

    /// `0%` and `100%` switch the signal off, as in the kubelet.
    fn from_str(text: &str) -> Result<Self, ParseLeastError> {
        let wrong = || ParseLeastError(text.to_owned());
        match text.strip_suffix('%') {
            Some("100") => Ok(Self::Percent(0)),
            Some(percent) => percent.parse().ok().filter(|percent| *percent < 100).map(Self::Percent).ok_or_else(wrong),
            None => {
                let quantity: Quantity = text.parse().map_err(|_| wrong())?;
                u64::try_from(quantity.value()).map(Self::Amount).map_err(|_| wrong())
            }
        }
    }
}

/// Below which of these the node is under pressure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionHard {
    pub memory_available: Least,
    /// Of the file system with the data folder, images included.
    pub nodefs_available: Least,
    pub nodefs_inodes_free: Least,
    pub pid_available: Least,
}

impl Default for EvictionHard {
    /// The kubelet's, but for the disk: a tenth of a large disk is no shortage.
    fn default() -> Self {
        Self {
            memory_available: Least::Amount(100 << 20),
            nodefs_available: Least::Percent(5),
            nodefs_inodes_free: Least::Percent(5),
            pid_available: Least::Percent(5),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    pub(crate) memory: bool,
    pub(crate) disk: bool,
    pub(crate) pids: bool,
}

/// What cannot be read is not said to be short.
pub(crate) fn read(data_dir: &Path, least: EvictionHard) -> Pressure {
    let missed = |least: Least, of: Option<(u64, u64)>| of.is_some_and(|(total, available)| least.is_missed(total, available));
    let disk = nix::sys::statvfs::statvfs(data_dir).ok();
    let bytes = disk.map(|disk| (disk.blocks() * disk.fragment_size(), disk.blocks_available() * disk.fragment_size()));
    // A file system that makes inodes as it needs them has none in all.
    let inodes = disk.map(|disk| (disk.files(), disk.files_available())).filter(|(total, _)| *total > 0);
    let positive = |number: i64| u64::try_from(number).ok();
    let memory = || Some((positive(capacity::meminfo("MemTotal:")?)?, positive(capacity::meminfo("MemAvailable:")?)?));
    Pressure {
        memory: missed(least.memory_available, memory()),
        disk: missed(least.nodefs_available, bytes) || missed(least.nodefs_inodes_free, inodes),
        pids: missed(least.pid_available, pids()),
    }
}

/// Process ids in all, and those that are free.
fn pids() -> Option<(u64, u64)> {
    let most = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse::<u64>().ok()?;
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let used = load.split(['/', ' ']).nth(4)?.parse::<u64>().ok()?;
    Some((most, most.saturating_sub(used)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_a_quantity_or_a_percentage() {
        assert_eq!("1Gi".parse(), Ok(Least::Amount(1 << 30)));
        assert_eq!("5%".parse(), Ok(Least::Percent(5)));
        assert_eq!("100%".parse(), Ok(Least::Percent(0)));
        for wrong in ["", "%", "-1%", "101%", "-1Gi", "much"] {
            assert_eq!(wrong.parse::<Least>(), Err(ParseLeastError(wrong.to_owned())));
        }
    }

    #[test]
    fn what_is_below_its_threshold_is_short() {
        assert!(Least::Percent(5).is_missed(1000, 49));
        assert!(!Least::Percent(5).is_missed(1000, 50));
        assert!(!Least::Percent(0).is_missed(1000, 0));
        assert!(Least::Amount(50).is_missed(u64::MAX, 49));
        assert!(!Least::Amount(50).is_missed(50, 50));
    }

    #[test]
    fn this_machine_is_short_of_all_when_more_is_wanted_than_there_is() {
        let all = Least::Amount(u64::MAX);
        let most = EvictionHard {
            memory_available: all,
            nodefs_available: all,
            nodefs_inodes_free: Least::Percent(0),
            pid_available: all,
        };
        assert_eq!(read(Path::new("/"), most), Pressure { memory: true, disk: true, pids: true });
        let none = Least::Percent(0);
        let least =
            EvictionHard { memory_available: none, nodefs_available: none, nodefs_inodes_free: none, pid_available: none };
        assert_eq!(read(Path::new("/"), least), Pressure::default());
    }
}
