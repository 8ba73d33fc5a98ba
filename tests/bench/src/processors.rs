//! Who runs on which processor, and before whom: for what is measured of a server beside a client that takes all it can get of
//! the same machine.

use std::io;
use std::ops::Range;

use anyhow::Context;
use nix::errno::Errno;
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

/// This process on all processors but the first, which a server has that was started for it, until it is dropped.
pub(crate) struct Apart;

impl Apart {
    /// What `start` gives, which has the first processor from its beginning: a server has as many threads as it has processors.
    /// `None` where there is one processor only.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn start<T>(start: impl FnOnce() -> T) -> anyhow::Result<Option<(Self, T)>> {
        let count = processors()?;
        if count < 2 {
            return Ok(None);
        }
        // From here on whatever happens gives this process its processors again.
        let apart = Self;
        choose(Pid::from_raw(0), 0..1).context("choose the processor of what is started")?;
        let started = start();
        pin(1..count)?;
        Ok(Some((apart, started)))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Err(error) = processors().and_then(|count| pin(0..count)) {
            eprintln!("use all processors again: {error:#}");
        }
    }
}

fn processors() -> anyhow::Result<usize> {
    // Of the machine, and not those that this process may use now.
    let count = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).context("count the processors")?;
    Ok(count.and_then(|count| usize::try_from(count).ok()).unwrap_or(1))
}

/// All threads of this process; those that they start later go where they are.
fn pin(processors: Range<usize>) -> anyhow::Result<()> {
    const THREADS: &str = "/proc/self/task";
    for thread in std::fs::read_dir(THREADS).context("list the threads of this process")? {
        let Some(id) = thread?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match choose(Pid::from_raw(id), processors.clone()) {
            // It has ended meanwhile.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("choose the processors of thread {id}")),
        }
    }
    Ok(())
}

fn choose(thread: Pid, processors: Range<usize>) -> nix::Result<()> {
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(processor)?;
    }
    sched_setaffinity(thread, &set)
}
