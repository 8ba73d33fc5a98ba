//! `mizzen up` and `mizzen down`.

use mizzen_tests::command::run;
use mizzen_tests::executables::mizzen;
use mizzen_tests::{Cluster, Registry, images, leftovers};

#[test]
fn sigterm_ends_up_with_zero_and_leaves_pods_running_for_the_next_one() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let mut cluster = Cluster::up();
    cluster.run("web", &image);
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
    cluster.run("web", &image);
    let id = cluster.id();
    let seen = || leftovers::of(&id, &cluster.data());
    assert!(seen().len() >= 3, "a running pod is visible on the machine: {:?}", seen());
    cluster.kill();
    cluster.down().ok();
    assert_eq!(leftovers::of(&id, &cluster.data()), Vec::<String>::new());
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
    first.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\n");
    assert!(first.get(&["configmap", "mine"]).is_some());
    assert!(second.get(&["configmap", "mine"]).is_none());
}
