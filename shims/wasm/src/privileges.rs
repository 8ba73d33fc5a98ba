//! Giving up everything that is not needed.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

/// Nobody, as every distribution has it.
const HOST: u32 = 65534;
/// Not the hosts' user: it must not be able to signal them.
const COMPILER: u32 = 65533;

/// Bytes of address space a compilation may take.
const COMPILE_MEMORY: u64 = 4 << 30;
/// Seconds of processor time a compilation may take.
const COMPILE_TIME: u64 = 300;

/// No network, no user, no new privileges, bounded memory and time.
pub(crate) fn enter_sandbox() -> io::Result<()> {
    if geteuid().is_root() {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC)?;
        become_user(COMPILER)?;
    }
    prctl::set_no_new_privs()?;
    setrlimit(Resource::RLIMIT_AS, COMPILE_MEMORY, COMPILE_MEMORY)?;
    setrlimit(Resource::RLIMIT_CPU, COMPILE_TIME, COMPILE_TIME)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(())
}

/// What a host keeps is its socket and its network namespace.
pub(crate) fn leave_root() -> io::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    if geteuid().is_root() {
        become_user(HOST)?;
    }
    prctl::set_no_new_privs()?;
    // Hosts of other namespaces run as the same user and must not look into this one.
    prctl::set_dumpable(false)?;
    Ok(())
}

/// Lets the pods of this namespace listen on any port. Only where the namespace is not the machine's own.
pub(crate) fn allow_low_ports() -> io::Result<()> {
    if fs::read_link("/proc/self/ns/net")? == fs::read_link("/proc/1/ns/net")? {
        return Ok(());
    }
    fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
}

fn become_user(id: u32) -> io::Result<()> {
    setgroups(&[])?;
    setgid(Gid::from_raw(id))?;
    // Takes every capability along.
    setuid(Uid::from_raw(id))?;
    Ok(())
}
