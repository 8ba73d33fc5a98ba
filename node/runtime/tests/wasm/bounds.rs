//! The cgroups of host processes.

use std::path::PathBuf;

use mizzen_runtime::oci::Hierarchies;
use mizzen_runtime::{ContainerState, Resources, Runtime, WasmConfig, WasmRuntime};

use crate::common::eventually;
use crate::support::{Node, filling};

/// The directories of a cgroup in the hierarchies that bound hosts.
fn directories(cgroup: &str) -> Vec<PathBuf> {
    let all = Hierarchies::discover().unwrap().directories(cgroup);
    let bounding =
        |names: &[String]| names.is_empty() || names.iter().any(|name| ["cpu", "memory", "pids"].contains(&name.as_str()));
    all.into_iter().filter(|directory| bounding(&directory.controllers)).map(|directory| directory.path).collect()
}

/// The first of these files that one of the directories has below it.
fn number(parent: &str, names: [&str; 2]) -> u64 {
    let hosts = directories(parent).into_iter().flat_map(|path| std::fs::read_dir(path).unwrap().flatten());
    let files = hosts.flat_map(|host| names.map(|name| host.path().join(name)));
    let text = files.into_iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap();
    text.trim().parse().unwrap()
}

fn processes(parent: &str) -> Vec<Vec<i32>> {
    let read = |path: PathBuf| {
        let hosts = std::fs::read_dir(path).unwrap().flatten().filter(|entry| entry.path().is_dir());
        let lists = hosts.map(|host| std::fs::read_to_string(host.path().join("cgroup.procs")).unwrap());
        lists.flat_map(|list| list.lines().map(|pid| pid.parse().unwrap()).collect::<Vec<i32>>()).collect()
    };
    directories(parent).into_iter().map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_stands_in_a_cgroup_that_its_pods_limits_bound_and_that_goes_with_it() {
    let mut node = Node::new();
    let parent = node.bounded();
    let limited = |id: &str, address: &str, limit: Option<i64>| {
        let mut spec = node.http(id, address);
        spec.resources = Resources { memory_limit: limit, cpu_shares: Some(512), ..Resources::default() };
        spec
    };
    node.runtime.start(&limited("one", "10.99.0.1", Some(64 << 20))).await.unwrap();
    assert!(processes(&parent).iter().all(|found| *found == node.hosts()), "{:?}", processes(&parent));
    let memory = || number(&parent, ["memory.limit_in_bytes", "memory.max"]);
    let with_one = memory();
    assert!((64 << 20..1 << 30).contains(&with_one), "{with_one}");
    assert_eq!(number(&parent, ["pids.max", "pids.max"]), 1024);

    node.runtime.start(&limited("two", "10.99.0.2", Some(128 << 20))).await.unwrap();
    assert!(memory() >= with_one + (128 << 20));
    node.runtime.start(&limited("three", "10.99.0.3", None)).await.unwrap();
    let machine = memory();
    assert!(machine > 1 << 30, "a pod without a limit may take what there is: {machine}");

    // Another agent, which finds them all.
    node.runtime = WasmRuntime::new(WasmConfig { cgroup: Some(parent.clone()), ..node.config() }).unwrap();
    assert!(node.get("10.99.0.3").await.contains("200 OK"));
    for id in ["three", "two", "one"] {
        node.runtime.remove(id).await.unwrap();
    }
    eventually("the cgroup goes with its host", || async {
        let left = directories(&parent).into_iter().flat_map(|path| std::fs::read_dir(path).unwrap().flatten());
        (left.filter(|entry| entry.path().is_dir()).count() == 0).then_some(())
    })
    .await;
    assert!(node.hosts().is_empty());
    node.runtime.end_hosts().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_finds_pods_bounds_their_host_by_all_of_them_at_once() {
    let mut node = Node::new();
    let parent = node.bounded();
    // Both together use more than the host could with one of them.
    const MIB: u32 = 192;
    const LIMIT: i64 = (192 + 16) << 20;
    for id in ["one", "two"] {
        let mut spec = node.file(id, &filling(MIB));
        let (memory_limit, cpu_quota) = (Some(LIMIT), Some(50_000));
        spec.resources = Resources { memory_limit, cpu_quota, cpu_period: Some(100_000), ..Resources::default() };
        node.runtime.start(&spec).await.unwrap();
    }
    let limit = number(&parent, ["memory.limit_in_bytes", "memory.max"]);
    let used = || number(&parent, ["memory.usage_in_bytes", "memory.current"]);
    eventually("the pods have written their memory", || async { (used() > u64::from(2 * MIB) << 20).then_some(()) }).await;
    assert!(used() > limit - LIMIT as u64 - (16 << 20), "{} of {limit}", used());
    let hosts = node.hosts();
    node.runtime = WasmRuntime::new(WasmConfig { cgroup: Some(parent.clone()), ..node.config() }).unwrap();
    for status in node.runtime.list().await.unwrap() {
        assert!(matches!(status.state, ContainerState::Running { .. }), "{status:?}");
    }
    assert_eq!(node.hosts(), hosts);
    assert_eq!(number(&parent, ["memory.limit_in_bytes", "memory.max"]), limit);
    // One that is added makes it no tighter either.
    node.runtime.remove("one").await.unwrap();
    node.runtime.start(&node.http("three", "10.99.0.3")).await.unwrap();
    assert_eq!(node.hosts(), hosts);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_ended_with_all_they_run() {
    let mut node = Node::new();
    let parent = node.bounded();
    node.runtime.start(&node.http("one", "10.99.0.1")).await.unwrap();
    node.runtime.end_hosts().await.unwrap();
    eventually("no host is left", || async { node.hosts().is_empty().then_some(()) }).await;
    assert!(directories(&parent).iter().all(|path| !path.exists()));
    assert_eq!(node.exit("one").await.code, 137);
}
