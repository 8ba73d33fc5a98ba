//! What the kernel says of this process, and which version it is, at `/metrics`.

use std::fmt::Write as _;

use crate::metrics::{heading, line};

/// The kernel counts the time of processes in hundredths of a second, whatever its clock is.
const TICKS: f64 = 100.0;

pub(crate) fn report(page: &mut String) {
    heading(page, "kubernetes_build_info", "gauge", "Always 1; the labels say which version this is.");
    let labels = format!("major=\"1\",minor=\"36\",git_version=\"{}\"", crate::version::GIT_VERSION);
    line(page, "kubernetes_build_info", &labels, 1);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    if let Some(times) = Times::parse(&read("/proc/self/stat"), &read("/proc/stat")) {
        number(page, "process_cpu_seconds_total", "counter", "Processor time spent, in seconds.", times.spent);
        number(page, "process_start_time_seconds", "gauge", "When the process began, in seconds since 1970.", times.began);
        number(page, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", times.virtual_bytes);
    }
    if let Some(kib) = kib(&read("/proc/self/status"), "VmRSS:") {
        number(page, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", kib * 1024);
    }
    let open = std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or_default();
    number(page, "process_open_fds", "gauge", "Number of open file descriptors.", open);
    if let Some(most) = most_files(&read("/proc/self/limits")) {
        number(page, "process_max_fds", "gauge", "Maximum number of open file descriptors.", most);
    }
}

fn number(page: &mut String, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
    heading(page, name, kind, help);
    // Writing into a String cannot fail.
    let _ = writeln!(page, "{name} {value}");
}

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq)]
struct Times {
    spent: f64,
    began: f64,
    virtual_bytes: u64,
}

impl Times {
    fn parse(own: &str, system: &str) -> Option<Self> {
        // The name, in parentheses, may hold anything.
        let fields: Vec<&str> = own.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |place: usize| fields.get(place)?.parse::<u64>().ok();
        let booted = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<f64>().ok()?;
        Some(Self {
            spent: (field(11)? + field(12)?) as f64 / TICKS,
            began: booted + field(19)? as f64 / TICKS,
            virtual_bytes: field(20)?,
        })
    }
}

fn kib(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().trim_end_matches(" kB").trim().parse().ok()
}

fn most_files(limits: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_read() {
        let own = "12 (a (b) c) S 1 12 12 0 -1 4194304 500 0 0 0 250 50 0 0 20 0 9 0 1000 4096 77 18446744073709551615";
        let wanted = Times { spent: 3.0, began: 1_700_000_010.0, virtual_bytes: 4096 };
        assert_eq!(Times::parse(own, "cpu 1 2\nbtime 1700000000\nprocesses 5\n"), Some(wanted));
        assert_eq!(Times::parse("", ""), None);
        assert_eq!(kib("Name:\tx\nVmRSS:\t    2048 kB\n", "VmRSS:"), Some(2048));
        assert_eq!(
            most_files("Limit Soft Hard\nMax open files            1024                 4096                 files\n"),
            Some(1024)
        );
    }

    #[test]
    fn every_figure_is_there_on_this_machine() {
        let mut page = String::new();
        report(&mut page);
        for name in
            ["process_cpu_seconds_total", "process_start_time_seconds", "process_resident_memory_bytes", "process_max_fds"]
        {
            assert!(page.contains(&format!("\n{name} ")), "{name} in {page}");
        }
    }
}
