//! `mizzen up` and `mizzen down`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use mizzen_tests::command::run;
use mizzen_tests::executables::{self, mizzen};
use mizzen_tests::{Cluster, Registry, eventually, images, leftovers};

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

    cluster.start();
    cluster.until(&["pod", "web"], "counts on", |pod| {
        let status = &pod["status"]["containerStatuses"][0];
        (status["ready"] == true && status["restartCount"] == 1).then_some(())
    });
}

#[test]
fn up_says_in_one_line_why_it_cannot_start_and_leaves_nothing_it_made() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let up = |data: &str, flags: &[&str]| {
        let mut up = mizzen();
        up.arg("up").args(flags).arg("--data-dir").arg(dir.path().join(data));
        up.arg("--kubeconfig").arg(dir.path().join("kubeconfig"));
        let error = run(&mut up).err();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let links =
        || -> BTreeSet<_> { std::fs::read_dir("/sys/class/net").unwrap().map(|link| link.unwrap().file_name()).collect() };
    let before = links();
    let error = up("new/a", &["--api-address", &address]);
    assert!(error.contains(&format!("listen on {address}")) && error.contains("Address already in use"), "{error}");
    let error = up("new/a", &["--api-address", "127.0.0.1:0", "--node-api-address", &address]);
    assert!(error.contains(&format!("listen on {address}")), "{error}");
    let config = dir.path().join("config.yaml");
    std::fs::write(&config, "encryptionProviderConfig: /nowhere\n").unwrap();
    let error = up("new/a", &["--api-address", "127.0.0.1:0", "--config", config.to_str().unwrap()]);
    assert!(error.contains("encryptionProviderConfig: read /nowhere"), "{error}");
    assert!(!dir.path().join("new").exists() && !dir.path().join("kubeconfig").exists());
    // Those of an earlier test may still be going, and others' may have come and go again.
    eventually("no bridge is left", || links().is_subset(&before).then_some(()));

    std::fs::create_dir(dir.path().join("b")).unwrap();
    std::fs::write(dir.path().join("b/cluster.json"), r#"{"format":99,"cluster":"00000000"}"#).unwrap();
    let error = up("b", &["--api-address", "127.0.0.1:0"]);
    assert!(error.contains("another version of mizzen"), "{error}");
    assert!(dir.path().join("b/cluster.json").exists(), "what was there stays");
}

#[test]
fn down_says_what_it_does_not_find_and_who_may_take_down() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    let down = |data: &std::path::Path| {
        let mut down = mizzen();
        down.arg("down").arg("--data-dir").arg(data);
        down
    };
    assert_eq!(run(&mut down(&none)).ok(), format!("{} does not exist: there is no cluster to take down\n", none.display()));
    let error = run(&mut down(dir.path())).err();
    assert!(error.contains("is not a mizzen cluster"), "{error}");

    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("cluster.json"), r#"{"format":1,"cluster":"00000000"}"#).unwrap();
    // Where anybody may run it.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("mizzen");
    let built = executables::path("mizzen");
    std::fs::hard_link(&built, &program).or_else(|_| std::fs::copy(&built, &program).map(drop)).unwrap();
    let nobody = |subcommand: &str, data: &std::path::Path| {
        let mut command = std::process::Command::new(&program);
        run(command.arg(subcommand).arg("--data-dir").arg(data).current_dir("/").uid(65534).gid(65534)).err()
    };
    for mode in [0o700, 0o755] {
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = nobody("down", &data);
        assert_eq!(error, "mizzen: mizzen down must run as root: it removes namespaces, mounts and cgroups\n");
    }
    assert_eq!(nobody("up", &none), "mizzen: mizzen up must run as root: it makes namespaces, mounts and cgroups\n");
}

#[test]
fn two_clusters_run_side_by_side() {
    let (first, second) = (Cluster::up(), Cluster::up());
    first.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\n");
    assert!(first.get(&["configmap", "mine"]).is_some());
    assert!(second.get(&["configmap", "mine"]).is_none());
}
