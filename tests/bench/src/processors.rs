//! Who runs on which processor, and before whom: for what is measured of a server beside a client that takes all it can get of
//! the same machine.

use std::io;

use anyhow::Context;
use nix::libc;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// As a client on another machine, the calling thread waits for none of this machine's.
///
/// # Errors
/// Where only root may do so.
pub(crate) fn before_all_others() -> anyhow::Result<()> {
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: the kernel reads the structure, which outlives the call.
    let code = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()).context("make a thread a real-time one") }
}

/// The server on the first processor, and this process on all others, until it is dropped.
pub(crate) struct Apart {
    server: u32,
}

impl Apart {
    /// `None` where there is one processor only.
    ///
    /// # Errors
    /// When the kernel refuses, or a process is gone.
    pub(crate) fn keep(server: u32) -> anyhow::Result<Option<Self>> {
        let count = processors()?;
        if count < 2 {
            return Ok(None);
        }
        let apart = Self { server };
        pin(server, 0..1)?;
        pin(std::process::id(), 1..count)?;
        Ok(Some(apart))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        for process in [self.server, std::process::id()] {
            if let Err(error) = processors().and_then(|count| pin(process, 0..count)) {
                eprintln!("give process {process} all processors again: {error:#}");
            }
        }
    }
}

fn processors() -> anyhow::Result<usize> {
    // Of the machine, and not those that this process may use now.
    let count = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).context("count the processors")?;
    Ok(count.and_then(|count| usize::try_from(count).ok()).unwrap_or(1))
}

/// All threads of a process; those that they start later go where they are.
fn pin(process: u32, processors: std::ops::Range<usize>) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(processor)?;
    }
    let threads = format!("/proc/{process}/task");
    for thread in std::fs::read_dir(&threads).with_context(|| format!("list {threads}"))? {
        let Some(id) = thread?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match sched_setaffinity(Pid::from_raw(id), &set) {
            // It has ended meanwhile.
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("choose the processors of thread {id}")),
        }
    }
    Ok(())
}
