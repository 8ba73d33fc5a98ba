//! Containers from their start to their removal.

use crate::common::eventually;
use crate::support::Node;
use mizzen_runtime::{ContainerState, Runtime};

#[tokio::test]
async fn a_container_outlives_its_agent_and_is_killed_and_removed_by_the_next_one() {
    let mut node = Node::new();
    let spec = node.sh("a", "echo started; sleep 1000");
    let pid = node.started(&spec).await;
    eventually("its line", || async { (!node.log("a").is_empty()).then_some(()) }).await;
    node.restart();
    let list = node.runtime.list().await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].labels, spec.labels);
    assert!(matches!(&list[0].state, ContainerState::Running { pid: seen, .. } if *seen == Some(pid)));
    node.runtime.signal("a", libc::SIGKILL).await.unwrap();
    let exit = node.exit("a").await;
    assert_eq!((exit.code, exit.signal, exit.reason.as_str()), (137, Some(9), "Error"));
    node.runtime.remove("a").await.unwrap();
    node.runtime.remove("a").await.unwrap();
    assert!(node.runtime.list().await.unwrap().is_empty());
    assert_eq!(std::fs::read_dir(node.containers()).unwrap().count(), 0);
    assert!(node.cgroups("a").is_empty());
    assert_eq!(node.entries("a"), ["stdout F started"]);
}

#[tokio::test]
async fn an_exit_while_there_was_no_agent_is_found_by_the_next_one() {
    let mut node = Node::new();
    node.started(&node.sh("a", "sleep 0.2; exit 9")).await;
    node.restart();
    assert_eq!(node.exit("a").await.code, 9);
    node.restart();
    assert_eq!(node.exit("a").await.code, 9);
}

#[tokio::test]
async fn a_killed_shim_takes_its_container_along_and_it_is_told() {
    let node = Node::new();
    let pid = node.started(&node.sh("a", "sleep 1000 & sleep 1000")).await;
    let shim = shim_of(pid);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL).unwrap();
    let exit = node.exit("a").await;
    assert_eq!((exit.code, exit.reason.as_str()), (137, "ContainerStatusUnknown"));
    assert!(!exit.message.is_empty() && !exit.started_at.is_empty());
    node.runtime.remove("a").await.unwrap();
    assert!(node.cgroups("a").is_empty());
    assert_eq!(std::fs::read_dir(node.containers()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_shim_killed_while_there_was_no_agent_is_found_out() {
    let mut node = Node::new();
    let pid = node.started(&node.spec("a", &["sleep", "1000"])).await;
    let shim = shim_of(pid);
    let state = node.dir.path().join("state");
    node.runtime = mizzen_runtime::OciRuntime::new(mizzen_runtime::OciConfig {
        root: node.dir.path().join("elsewhere"),
        shim: mizzen_tests::executables::path("mizzen-shim"),
    })
    .unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL).unwrap();
    node.runtime = mizzen_runtime::OciRuntime::new(mizzen_runtime::OciConfig {
        root: state,
        shim: mizzen_tests::executables::path("mizzen-shim"),
    })
    .unwrap();
    assert_eq!(node.exit("a").await.reason, "ContainerStatusUnknown");
}

#[tokio::test]
async fn what_half_a_removal_left_is_removed_by_the_next_agent() {
    let mut node = Node::new();
    std::fs::create_dir_all(node.containers().join("half/upper/work")).unwrap();
    node.restart();
    assert_eq!(std::fs::read_dir(node.containers()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_change_of_any_container_moves_the_counter() {
    let node = Node::new();
    let mut changes = node.runtime.changes();
    node.started(&node.sh("a", "sleep 0.1")).await;
    changes.changed().await.unwrap();
    let deadline = std::time::Duration::from_secs(120);
    let exited = async {
        while !matches!(node.runtime.status("a").await.unwrap().state, ContainerState::Exited(_)) {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(deadline, exited).await.expect("the exit is announced");
}

#[tokio::test]
async fn a_running_container_is_removed_with_everything_it_has() {
    let node = Node::new();
    let pid = node.started(&node.sh("a", "mkdir -p /deep/er; sleep 1000 & sleep 1000")).await;
    let shim = shim_of(pid);
    node.runtime.remove("a").await.unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    // The machine's init has to reap the shim.
    eventually("the shim has gone", || async { (!std::path::Path::new(&format!("/proc/{shim}")).exists()).then_some(()) }).await;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*node.dir.path().to_string_lossy()));
    assert!(matches!(node.runtime.status("a").await, Err(mizzen_runtime::RuntimeError::NotFound { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_containers_start_run_and_go_at_once() {
    let node = Node::new();
    let specs: Vec<_> = (0..50).map(|number| node.sh(&format!("c{number}"), "echo here; sleep 1000")).collect();
    let start = std::time::Instant::now();
    let starts = specs.iter().map(|spec| {
        let (runtime, spec) = (node.runtime.clone(), spec.clone());
        tokio::spawn(async move { runtime.start(&spec).await.unwrap() })
    });
    for started in starts.collect::<Vec<_>>() {
        started.await.unwrap();
    }
    eprintln!("50 started after {:?}", start.elapsed());
    assert_eq!(node.runtime.list().await.unwrap().len(), 50);
    let removals = specs.iter().map(|spec| {
        let (runtime, id) = (node.runtime.clone(), spec.id.clone());
        tokio::spawn(async move { runtime.remove(&id).await.unwrap() })
    });
    for removed in removals.collect::<Vec<_>>() {
        removed.await.unwrap();
    }
    eprintln!("50 removed after {:?}", start.elapsed());
    assert!(node.cgroups("c").is_empty());
    assert_eq!(std::fs::read_dir(node.containers()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_start_that_an_agent_did_not_finish_is_done_again() {
    let mut node = Node::new();
    let spec = node.sh("a", "echo once");
    node.run(&spec).await;
    // As if the agent and the shim had died before the process ran.
    for name in ["running.json", "exit.json"] {
        std::fs::remove_file(node.containers().join("a").join(name)).unwrap();
    }
    node.restart();
    assert!(node.runtime.list().await.unwrap().is_empty());
    let (exit, entries) = node.run(&spec).await;
    assert_eq!((exit.code, entries.len()), (0, 2));
}

#[tokio::test]
async fn a_shim_has_a_session_of_its_own_and_refuses_strangers() {
    use mizzen_shim_protocol::{Call, Decoder, PROTOCOL_VERSION, Reply, Request, Version, frame::control};
    use std::io::{Read, Write};
    let node = Node::new();
    let shim = shim_of(node.started(&node.spec("a", &["sleep", "1000"])).await);
    let session = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(shim))).unwrap();
    assert_eq!(session.as_raw(), shim);
    let ask = |request: &[u8]| {
        let mut stream = std::os::unix::net::UnixStream::connect(node.containers().join("a/shim.sock")).unwrap();
        stream.write_all(request).unwrap();
        let mut decoder = Decoder::default();
        loop {
            if let Some(frame) = decoder.next_frame().unwrap() {
                return Some(frame.message::<Reply>().unwrap());
            }
            let mut chunk = [0; 1024];
            match stream.read(&mut chunk).unwrap() {
                0 => return None,
                count => decoder.push(&chunk[..count]),
            }
        }
    };
    let request =
        |version, container: &str| control(&Request { version, container: container.into(), call: Call::State }).unwrap();
    let later = Version { major: PROTOCOL_VERSION.major + 1, minor: 0 };
    assert_eq!(ask(&request(later, "a")), Some(Reply::Version { version: PROTOCOL_VERSION }));
    assert_eq!(ask(&request(PROTOCOL_VERSION, "b")), Some(Reply::NotFound));
    assert!(matches!(ask(&control(&"nonsense").unwrap()), Some(Reply::Unsupported { .. })));
    assert_eq!(ask(b"GET / HTTP/1.1\r\n\r\n"), None);
    assert!(matches!(ask(&request(PROTOCOL_VERSION, "a")), Some(Reply::State { .. })));
}

/// The shim of a container's first process: the leader of its parent's session. Right after the start that parent may
/// still be the shim's child that made the container; when it ends while being asked, the next parent is the shim.
fn shim_of(pid: i32) -> i32 {
    let session = |of: i32| nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(of))).ok();
    std::iter::repeat_with(|| session(parent(pid))).flatten().next().unwrap().as_raw()
}

fn parent(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}
