//! The system calls a container may make when nobody says otherwise.
//!
//! An allow-list, as container engines have one. What is not listed answers `ENOSYS`, so that programs built for newer
//! kernels fall back; what is known and refused answers `EPERM`, as a lack of privileges does.

use std::path::Path;

use serde_json::{Value, json};

/// Files, memory, processes, signals, time, sockets: nothing that reaches beyond the container.
const ALLOWED: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
    clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
    futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid
    getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid
    getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area
    gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set
    io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32
    lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat
    lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock
    mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64
    mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
    name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2
    pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease
    pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall rmdir
    rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max
    sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity
    sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
    semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid
    setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
    setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid
    setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn
    socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range
    syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
    timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
    times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64
    utimes vfork vmsplice wait4 waitid waitpid write writev arch_prctl modify_ldt ptrace process_vm_readv
    process_vm_writev kcmp
";

/// What a capability of the container opens.
const BY_CAPABILITY: &[(&str, &str)] = &[
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
         lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
         sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module finit_module init_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "ioperm iopl"),
    ("CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// Refused whatever the capabilities.
const REFUSED: &str = "
    add_key io_uring_enter io_uring_register io_uring_setup kexec_file_load kexec_load keyctl nfsservctl pivot_root
    request_key swapoff swapon _sysctl sysfs userfaultfd uselib ustat vm86 vm86old
";

/// Namespace flags of `clone`: with any of them set it is a matter for `CAP_SYS_ADMIN`.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// As the OCI configuration has it, for a container with these capabilities.
pub(super) fn default_profile(capabilities: &[String]) -> Value {
    let held = |name: &str| capabilities.iter().any(|held| held == name);
    let mut allowed: Vec<&str> = ALLOWED.split_whitespace().collect();
    let mut refused: Vec<&str> = REFUSED.split_whitespace().collect();
    for (capability, calls) in BY_CAPABILITY {
        if held(capability) {
            allowed.extend(calls.split_whitespace());
        }
    }
    for call in BY_CAPABILITY.iter().flat_map(|(_, calls)| calls.split_whitespace()) {
        // `clone` and `clone3` have rules of their own below.
        if !refused.contains(&call) && !call.starts_with("clone") {
            refused.push(call);
        }
    }
    refused.retain(|call| !allowed.contains(call));
    let mut rules = vec![
        json!({ "names": allowed, "action": "SCMP_ACT_ALLOW" }),
        json!({ "names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM }),
        // Virtual machine sockets reach the hypervisor past every network namespace.
        json!({
            "names": ["socket"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": libc::AF_VSOCK, "op": "SCMP_CMP_NE" }],
        }),
    ];
    // Linux, Linux with 32-bit addresses, and the query for the present one, with and without uname of 2.6.
    for persona in [0_u64, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        rules.push(json!({
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": persona, "op": "SCMP_CMP_EQ" }],
        }));
    }
    if !held("CAP_SYS_ADMIN") {
        rules.push(json!({
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }],
        }));
        // Its flags lie in memory where no filter sees them: C libraries fall back to clone.
        rules.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS }));
    }
    let architectures: &[&str] = match std::env::consts::ARCH {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        _ => &[],
    };
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "architectures": architectures,
        "syscalls": rules,
    })
}

/// A profile of the node's own.
pub(super) fn read(path: &Path) -> Result<Value, String> {
    let text = std::fs::read(path).map_err(|err| format!("seccomp profile {}: {err}", path.display()))?;
    serde_json::from_slice(&text).map_err(|err| format!("seccomp profile {}: {err}", path.display()))
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxSeccomp;

    use super::*;

    fn names(profile: &Value, action: &str) -> Vec<String> {
        let rules = profile["syscalls"].as_array().unwrap();
        let rules = rules.iter().filter(|rule| rule["action"] == action && rule.get("args").is_none());
        rules.flat_map(|rule| rule["names"].as_array().unwrap()).map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_profile_is_one_that_a_runtime_reads() {
        serde_json::from_value::<LinuxSeccomp>(default_profile(&[])).unwrap();
    }

    #[test]
    fn mounting_takes_the_capability_for_it() {
        let without = default_profile(&[]);
        assert!(names(&without, "SCMP_ACT_ERRNO").contains(&"mount".to_owned()));
        assert!(!names(&without, "SCMP_ACT_ALLOW").contains(&"clone".to_owned()));
        let with = default_profile(&["CAP_SYS_ADMIN".to_owned()]);
        assert!(names(&with, "SCMP_ACT_ALLOW").contains(&"mount".to_owned()));
        assert!(!names(&with, "SCMP_ACT_ERRNO").contains(&"clone3".to_owned()));
    }

    #[test]
    fn no_call_is_both_allowed_and_refused() {
        for capabilities in [vec![], vec!["CAP_SYS_TIME".to_owned(), "CAP_SYSLOG".to_owned()]] {
            let profile = default_profile(&capabilities);
            let allowed = names(&profile, "SCMP_ACT_ALLOW");
            let both: Vec<_> = names(&profile, "SCMP_ACT_ERRNO").into_iter().filter(|name| allowed.contains(name)).collect();
            assert!(both.is_empty(), "{both:?}");
        }
    }
}
