//! What a container's first process sees, and how its end is told.

use crate::common::eventually;
use crate::support::Node;
use mizzen_runtime::{ContainerState, Mount, Runtime, RuntimeError};

#[tokio::test]
async fn the_exit_code_and_the_reason_are_told() {
    let node = Node::new();
    let (exit, _) = node.run(&node.sh("ok", "exit 0")).await;
    assert_eq!((exit.code, exit.signal, exit.reason.as_str()), (0, None, "Completed"));
    assert!(exit.started_at <= exit.finished_at && exit.finished_at.ends_with('Z'), "{exit:?}");
    let (exit, _) = node.run(&node.sh("seven", "exit 7")).await;
    assert_eq!((exit.code, exit.signal, exit.reason.as_str()), (7, None, "Error"));
}

#[tokio::test]
async fn a_signal_reaches_the_process_and_is_told_when_it_ends_it() {
    let node = Node::new();
    node.started(&node.sh("trap", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done")).await;
    eventually("the trap is set", || async { (!node.log("trap").is_empty()).then_some(()) }).await;
    node.runtime.signal("trap", libc::SIGTERM).await.unwrap();
    assert_eq!(node.exit("trap").await.code, 3);
    node.runtime.signal("trap", libc::SIGTERM).await.unwrap();
    node.started(&node.spec("killed", &["sleep", "1000"])).await;
    node.runtime.signal("killed", libc::SIGKILL).await.unwrap();
    let exit = node.exit("killed").await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
}

#[tokio::test]
async fn a_container_that_outgrows_its_memory_was_oom_killed() {
    let node = Node::new();
    let mut spec = node.sh("oom", "x=a; while :; do x=$x$x; done");
    spec.resources.memory_limit = Some(16 << 20);
    let (exit, _) = node.run(&spec).await;
    assert_eq!((exit.code, exit.reason.as_str()), (137, "OOMKilled"));
}

#[tokio::test]
async fn the_log_has_both_streams_long_lines_and_a_last_partial_one() {
    let node = Node::new();
    let script = "echo out; echo err >&2; head -c 20000 /dev/zero | tr '\\0' a; echo; printf 'prompt> '";
    let (_, mut entries) = node.run(&node.sh("log", script)).await;
    let errors: Vec<_> = entries.extract_if(.., |entry| entry.starts_with("stderr")).collect();
    assert_eq!(errors, ["stderr F err"]);
    let expected =
        ["stdout F out".to_owned(), format!("stdout P {}", "a".repeat(16384)), format!("stdout F {}", "a".repeat(3616))];
    assert_eq!(entries[..3], expected);
    assert_eq!(entries[3..], ["stdout P prompt> "]);
    let stamp = node.log("log").split(' ').next().unwrap().to_owned();
    assert_eq!(stamp.len(), "2016-10-06T00:17:09.669794202Z".len());
}

#[tokio::test]
async fn user_groups_directory_and_environment_are_as_asked() {
    let node = Node::new();
    let mut spec =
        node.sh("who", "id -u; id -g; id -G; pwd; echo $PATH; echo $GREETING; echo $HOSTNAME; echo to-stdout > /dev/stdout");
    spec.process.uid = 1000;
    spec.process.gid = 2000;
    spec.process.additional_gids = vec![3000];
    spec.process.cwd = "/made/for/it".into();
    spec.process.env = vec![("GREETING".into(), "a = b".into())];
    let (exit, entries) = node.run(&spec).await;
    assert_eq!(
        entries,
        [
            "stdout F 1000",
            "stdout F 2000",
            "stdout F 2000 3000",
            "stdout F /made/for/it",
            "stdout F /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "stdout F a = b",
            "stdout F node",
            "stdout F to-stdout"
        ]
    );
    assert_eq!(exit.code, 0);
}

#[tokio::test]
async fn the_process_is_confined_by_capabilities_seccomp_and_no_new_privileges() {
    let node = Node::new();
    let script = "grep -E '^(CapEff|CapBnd|Seccomp|NoNewPrivs):' /proc/self/status; mount -t tmpfs x /tmp; unshare -m true";
    for no_new_privileges in [false, true] {
        let mut spec = node.sh(if no_new_privileges { "nnp" } else { "plain" }, script);
        spec.process.no_new_privileges = no_new_privileges;
        let (_, entries) = node.run(&spec).await;
        assert!(entries.contains(&"stdout F CapEff:\t00000000a80425fb".to_owned()), "{entries:?}");
        assert!(entries.contains(&"stdout F CapBnd:\t00000000a80425fb".to_owned()), "{entries:?}");
        assert!(entries.contains(&"stdout F Seccomp:\t2".to_owned()), "{entries:?}");
        let expected = format!("stdout F NoNewPrivs:\t{}", u8::from(no_new_privileges));
        assert!(entries.contains(&expected), "{entries:?}");
        assert_eq!(
            entries.iter().filter(|entry| entry.contains("denied") || entry.contains("not permitted")).count(),
            2,
            "{entries:?}"
        );
    }
}

#[tokio::test]
async fn a_privileged_container_may_mount_and_sees_devices() {
    let node = Node::new();
    let mut spec = node.sh(
        "privileged",
        "grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp && echo mounted; test -b /dev/vda && echo disk",
    );
    spec.process.privileged = true;
    let (_, entries) = node.run(&spec).await;
    assert_eq!(entries[..2], ["stdout F Seccomp:\t0", "stdout F mounted"]);
    assert_eq!(entries.len() == 3, std::path::Path::new("/dev/vda").exists());
}

#[tokio::test]
async fn a_read_only_root_takes_no_files_but_its_volumes_do() {
    let node = Node::new();
    let volume = node.dir.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    let mut spec = node.sh("readonly", "touch /file; echo $?; touch /data/file; echo $?; touch /fixed/file; echo $?");
    spec.process.readonly_rootfs = true;
    let mount =
        |target: &str, readonly| Mount { source: volume.clone(), target: target.into(), readonly, propagation: "private".into() };
    spec.mounts = vec![mount("/data", false), mount("/fixed", true)];
    let (_, entries) = node.run(&spec).await;
    let codes: Vec<_> = entries.iter().filter(|entry| entry.starts_with("stdout")).collect();
    assert_eq!(codes, ["stdout F 1", "stdout F 0", "stdout F 1"]);
    assert!(volume.join("file").exists());
}

#[tokio::test]
async fn masked_and_read_only_paths_are() {
    let node = Node::new();
    let mut spec = node.sh("masked", "wc -c < /proc/keys; echo 1 > /proc/sys/kernel/panic");
    spec.process.masked_paths = vec!["/proc/keys".into()];
    spec.process.readonly_paths = vec!["/proc/sys".into()];
    let (exit, entries) = node.run(&spec).await;
    assert_eq!(entries[0], "stdout F 0");
    assert!(entries[1].contains("Read-only file system"), "{entries:?}");
    assert_ne!(exit.code, 0);
}

#[tokio::test]
async fn a_container_has_its_own_processes_devices_and_cgroup() {
    let node = Node::new();
    let (_, entries) = node
        .run(&node.sh("own", "echo $$; ls /dev/pts | wc -l; ls /sys/fs/cgroup | wc -l; cut -d: -f3 /proc/self/cgroup | sort -u"))
        .await;
    assert_eq!(entries[0], "stdout F 1");
    assert_ne!(entries[2], "stdout F 0");
    assert!(!entries.iter().any(|entry| entry.contains("mizzen-test")), "{entries:?}");
}

#[tokio::test]
async fn a_container_cannot_raise_its_own_limits_unless_it_is_privileged() {
    let node = Node::new();
    let script = "for dir in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $dir/own && rmdir $dir/own; echo $?; done; \
        file=$(ls /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null); echo 99999744 > $file";
    for privileged in [false, true] {
        let mut spec = node.sh(if privileged { "privileged" } else { "plain" }, script);
        spec.resources.memory_limit = Some(64 << 20);
        spec.process.privileged = privileged;
        let (exit, entries) = node.run(&spec).await;
        assert_eq!(exit.code == 0, privileged, "{entries:?}");
        let made = entries.iter().filter(|entry| *entry == "stdout F 0").count();
        assert_eq!(made == 0, !privileged, "{entries:?}");
    }
}

#[tokio::test]
async fn limits_are_set_on_the_cgroup() {
    let node = Node::new();
    let mut spec = node.spec("limited", &["sleep", "1000"]);
    spec.resources.memory_limit = Some(64 << 20);
    spec.resources.pids_limit = Some(20);
    spec.resources.cpu_quota = Some(50_000);
    spec.resources.cpu_period = Some(100_000);
    spec.resources.cpu_shares = Some(256);
    spec.resources.oom_score_adj = Some(900);
    let pid = node.started(&spec).await;
    let read = |part: &str, file: &str| {
        let dir = node.cgroups("limited").into_iter().find(|dir| dir.starts_with(format!("/sys/fs/cgroup/{part}"))).unwrap();
        std::fs::read_to_string(dir.join(file)).unwrap().trim().to_owned()
    };
    if std::path::Path::new("/sys/fs/cgroup/memory").exists() {
        assert_eq!(read("memory", "memory.limit_in_bytes"), (64 << 20).to_string());
        assert_eq!(read("pids", "pids.max"), "20");
        assert_eq!(read("cpu", "cpu.cfs_quota_us"), "50000");
        assert_eq!(read("cpu", "cpu.shares"), "256");
    }
    assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim(), "900");
    let stats = node.runtime.stats("limited").await.unwrap();
    assert!(stats.memory > 0 && stats.memory < 64 << 20 && stats.cpu > 0, "{stats:?}");
}

#[tokio::test]
async fn a_container_that_cannot_start_says_why_and_leaves_nothing() {
    let node = Node::new();
    let mut not_absolute = node.sh("cwd", "true");
    not_absolute.process.cwd = "tmp".into();
    let mut no_source = node.sh("mount", "true");
    no_source.mounts =
        vec![Mount { source: "/does/not/exist".into(), target: "/data".into(), readonly: false, propagation: String::new() }];
    for (spec, reason, part) in [
        (node.spec("missing", &["no-such-program"]), "StartError", "\"no-such-program\": executable file not found in $PATH"),
        (node.spec("path", &["/bin/none"]), "StartError", "no such file or directory"),
        (node.spec("dir", &["/etc"]), "StartError", "is a directory"),
        (node.spec("data", &["/etc/passwd"]), "StartError", "permission denied"),
        (node.spec("empty", &[]), "CreateContainerError", "no command"),
        (not_absolute, "CreateContainerError", "not absolute"),
        (no_source, "CreateContainerError", "/does/not/exist"),
    ] {
        match node.runtime.start(&spec).await {
            Err(RuntimeError::Start { reason: seen, message, .. }) => {
                assert_eq!(seen, reason, "{}: {message}", spec.id);
                assert!(message.contains(part), "{}: {message}", spec.id);
            }
            other => panic!("{}: {other:?}", spec.id),
        }
        assert!(node.cgroups(&spec.id).is_empty(), "{}", spec.id);
    }
    assert!(node.runtime.list().await.unwrap().is_empty());
    let left: Vec<_> = std::fs::read_dir(node.containers()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn starting_twice_is_starting_once() {
    let node = Node::new();
    let spec = node.spec("once", &["sleep", "1000"]);
    let (first, second) = tokio::join!(node.runtime.start(&spec), node.runtime.start(&spec));
    assert_eq!(first.unwrap(), second.unwrap());
    let (_, entries) = node.run(&node.sh("over", "echo ran")).await;
    let again = node.runtime.start(&node.sh("over", "echo ran")).await.unwrap();
    assert!(matches!(again.state, ContainerState::Exited(_)));
    assert_eq!(entries, ["stdout F ran"]);
}
