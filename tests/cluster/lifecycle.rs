//! `mizzen up` and `mizzen down`.

use std::process::Command;

use mizzen_tests::command::run;
use mizzen_tests::executables::mizzen;
use mizzen_tests::{Cluster, Registry, images};

#[test]
fn sigterm_ends_up_with_zero_and_leaves_pods_running_for_the_next_one() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let mut cluster = Cluster::up();
    cluster.kubectl(&["run", "web", "--image", &image]).ok();
    cluster.wait_for("condition=Ready", &["pod/web"]);
    let address = cluster.pod_address("web");
    assert_eq!(cluster.stop(), Some(0));
    assert_eq!(mizzen_tests::cluster::http(address, 8080).ok(), "hello from web:v1\n", "the pod runs on");
    cluster.start();
    assert_eq!(cluster.pod_address("web"), address);
    let pod = cluster.get(&["pod", "web"]).unwrap();
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
}

#[test]
fn down_after_a_crash_leaves_nothing_of_the_cluster_on_the_machine() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let mut cluster = Cluster::up();
    cluster.kubectl(&["run", "web", "--image", &image]).ok();
    cluster.wait_for("condition=Ready", &["pod/web"]);
    let id = cluster.id();
    let data = cluster.data().display().to_string();
    assert!(leftovers(&id, &data).len() >= 3, "a running pod is visible on the machine: {:?}", leftovers(&id, &data));
    cluster.kill();
    cluster.down().ok();
    assert_eq!(leftovers(&id, &data), Vec::<String>::new());
}

/// What of a cluster can be seen on the machine: processes, mounts, links, tables, cgroups.
fn leftovers(id: &str, data: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |what: &str, text: String, needle: &str| {
        found.extend(text.lines().filter(|line| line.contains(needle)).map(|line| format!("{what}: {line}")));
    };
    look("process", run(Command::new("ps").args(["-eo", "args"])).ok(), data);
    look("mount", std::fs::read_to_string("/proc/self/mountinfo").unwrap(), data);
    look("link", run(Command::new("ip").args(["-o", "link"])).ok(), id);
    look("table", run(Command::new("nft").args(["list", "tables"])).ok(), id);
    look("cgroup", run(Command::new("find").args(["/sys/fs/cgroup", "-maxdepth", "2", "-name", &format!("*{id}*")])).ok(), id);
    found
}

#[test]
fn up_says_in_one_line_why_it_cannot_start() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let up = |data: &str, address: &str| {
        let error = run(mizzen().args(["up", "--api-address", address, "--data-dir"]).arg(dir.path().join(data))).err();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let error = up("a", &address);
    assert!(error.contains(&format!("listen on {address}")) && error.contains("Address already in use"), "{error}");

    std::fs::create_dir(dir.path().join("b")).unwrap();
    std::fs::write(dir.path().join("b/cluster.json"), r#"{"format":99,"cluster":"00000000"}"#).unwrap();
    let error = up("b", "127.0.0.1:0");
    assert!(error.contains("another version of mizzen"), "{error}");
}

#[test]
fn two_clusters_run_side_by_side() {
    let (first, second) = (Cluster::up(), Cluster::up());
    first.kubectl(&["create", "configmap", "mine"]).ok();
    assert!(first.get(&["configmap", "mine"]).is_some());
    assert!(second.get(&["configmap", "mine"]).is_none());
}
