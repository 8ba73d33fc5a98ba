//! How soon the kernel lets a thread run that wakes.
//!
//! A thread that is given shorter slices gets no more of the processor, but comes before one with longer slices when it wakes
//! (`EEVDF`; `sched_setattr(2)`, Linux 6.12 and newer). The threads of the server sleep until a request comes, and beside a process
//! that computes without a pause each request would wait for the end of that one's slice, or for the clock's next tick.

use std::io;

/// The shortest that the kernel knows, in nanoseconds.
const SHORTEST: u64 = 100_000;
/// Processes that the thread starts, containers among them, have the slices that all have.
const RESET_ON_FORK: u64 = 1;

/// `struct sched_attr` in its first version.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// Nanoseconds; the slice of a thread that has no deadlines.
    runtime: u64,
    deadline: u64,
    period: u64,
}

const SIZE: u32 = size_of::<Attributes>() as u32;

/// Gives the calling thread the shortest slices, if it is an ordinary one. Older kernels know of none and change nothing.
///
/// # Errors
/// When the kernel refuses.
pub fn shorten() -> io::Result<()> {
    let mut attributes = read()?;
    if attributes.policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attributes.flags |= RESET_ON_FORK;
    attributes.runtime = SHORTEST;
    // SAFETY: the kernel reads as many bytes as the structure says that it has.
    done(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
}

fn read() -> io::Result<Attributes> {
    let mut attributes = Attributes { size: SIZE, ..Attributes::default() };
    // SAFETY: the kernel writes at most as many bytes as it is told.
    done(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) })?;
    Ok(attributes)
}

fn done(code: libc::c_long) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_short_slices_and_those_that_it_starts_have_not() {
        let of_a_thread = || std::thread::spawn(|| read().expect("reads")).join().expect("does not panic");
        let usual = of_a_thread();
        let (own, child) = std::thread::spawn(move || {
            shorten().expect("an ordinary thread may");
            (read().expect("reads"), of_a_thread())
        })
        .join()
        .expect("does not panic");
        // Before Linux 6.12 there is nothing to set.
        if usual.runtime > 0 {
            assert_eq!(own.runtime, SHORTEST);
        }
        assert_eq!(child.runtime, usual.runtime);
        assert_eq!((own.policy, own.nice), (usual.policy, usual.nice));
    }
}
