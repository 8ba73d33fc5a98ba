//! What containers and images may take of the node's disk: logs rotate and stay readable, images that nothing uses go.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use mizzen_tests::command::run;
use mizzen_tests::executables::mizzen;
use mizzen_tests::{Cluster, Registry, eventually, images};

const LINES: usize = 3000;

fn pod(name: &str, image: &str, script: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers: [{{name: c, image: '{image}', command: [sh, -c, '{script}']}}]\n"
    )
}

fn lines(numbers: std::ops::RangeInclusive<usize>) -> String {
    numbers.map(|number| format!("line {number}\n")).collect()
}

/// The files of the only container's log.
fn log_files(cluster: &Cluster) -> Vec<(String, u64)> {
    let of = |dir: &std::path::Path| std::fs::read_dir(dir).into_iter().flatten().flatten().collect::<Vec<_>>();
    let pods = of(&cluster.data().join("node/pods"));
    let containers = pods.iter().flat_map(|pod| of(&pod.path())).flat_map(|container| of(&container.path()));
    // Some may be rotated away while they are looked at.
    containers.filter_map(|file| Some((file.file_name().into_string().unwrap(), file.metadata().ok()?.len()))).collect()
}

#[test]
fn a_log_is_followed_and_read_over_rotations_with_every_line_once_also_those_written_while_no_agent_ran() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "writer:v1");
    let mut cluster = Cluster::up_configured("containerLogMaxSize: 16Ki\ncontainerLogMaxFiles: 1000\n");
    let print = format!("i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line $i; done");
    cluster.apply(&pod("writer", &image, &format!("{print}; sleep 1000")));
    eventually("the pod runs", || cluster.mizzen(&["get", "pods"]).ok().contains("Running").then_some(()));
    let read = |arguments: &[&str]| cluster.mizzen(&[&["logs", "writer"], arguments].concat()).ok();
    eventually("all is written", || read(&["--tail", "1"]).contains(&format!("line {LINES}\n")).then_some(()));
    assert_eq!(read(&[]), lines(1..=LINES));
    assert_eq!(read(&["--tail", "500"]), lines(LINES - 499..=LINES));
    let files = log_files(&cluster);
    assert!(files.len() > 2, "{files:?}");
    cluster.mizzen(&["delete", "pod", "writer"]).ok();
    eventually("the pod is gone with its logs", || log_files(&cluster).is_empty().then_some(()));

    let wait = "echo ready; until [ -e /tmp/go ]; do sleep 0.1; done";
    cluster.apply(&pod("writer", &image, &format!("{wait}; {print}")));
    eventually("the pod runs", || cluster.mizzen(&["get", "pods"]).ok().contains("Running").then_some(()));
    // Ends with the container: it is started again, and its log is another attempt's.
    let mut follower = cluster.mizzen_command(&["logs", "-f", "writer"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut followed = BufReader::new(follower.stdout.take().unwrap());
    let mut text = String::new();
    followed.read_line(&mut text).unwrap();
    assert_eq!(text, "ready\n", "it reads the attempt that is to be followed");
    cluster.mizzen(&["exec", "writer", "--", "touch", "/tmp/go"]).ok();
    followed.read_to_string(&mut text).unwrap();
    assert!(follower.wait().unwrap().success());
    let whole = format!("ready\n{}", lines(1..=LINES));
    assert_eq!(text, whole);
    eventually("it is started again", || cluster.mizzen(&["logs", "-p", "writer"]).stdout.eq(&whole).then_some(()));

    cluster.mizzen(&["delete", "pod", "writer"]).ok();
    eventually("the pod is gone with its logs", || log_files(&cluster).is_empty().then_some(()));
    let slowly = "i=0; while :; do i=$((i+1)); echo line $i; done";
    assert_eq!(cluster.stop(), Some(0));
    cluster.configure("containerLogMaxSize: 64Ki\ncontainerLogMaxFiles: 3\n");
    cluster.start();
    cluster.apply(&pod("endless", &image, slowly));
    eventually("the pod runs", || cluster.mizzen(&["get", "pods"]).ok().contains("Running").then_some(()));
    cluster.kill();
    let newest = || log_files(&cluster).iter().filter_map(|(name, _)| name.strip_prefix("0.log.")?.parse::<u64>().ok()).max();
    let before = newest();
    eventually("the log is rotated while no agent runs", || (newest() > before).then_some(()));
    let files = log_files(&cluster);
    let size: u64 = files.iter().map(|(_, size)| size).sum();
    // In the middle of a rotation there is one more, and what was read at once stays in one file.
    assert!(size <= 4 * 2 * 64 * 1024, "{files:?}");
}

#[test]
fn a_full_disk_costs_the_images_that_nothing_uses_and_no_other() {
    let registry = Registry::start();
    let used = images::busybox(&registry, "used:v1");
    let mut cluster = Cluster::up();
    let data = cluster.data();
    let image = |arguments: &[&str]| run(mizzen().arg("image").args(arguments).arg("--data-dir").arg(&data)).ok();
    let work = tempfile::tempdir().unwrap();
    let (root, layout) = (work.path().join("root"), work.path().join("layout"));
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("file"), "content").unwrap();
    run(mizzen().args(["image", "build"]).arg(&layout).arg("--root").arg(&root)).ok();
    image(&["import", layout.to_str().unwrap(), "example.test/unused:v1"]);
    cluster.apply(&pod("user", &used, "sleep 1000"));
    eventually("the pod runs", || cluster.mizzen(&["get", "pods"]).ok().contains("Running").then_some(()));
    let listed = image(&["ls"]);
    let line = |name: &str| listed.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(line("/used:v1 ").contains("1 container"), "{listed}");
    assert!(line("/unused:v1 ").ends_with("unused"), "{listed}");
    assert_eq!(cluster.stop(), Some(0));

    // Nobody has used either for an hour, as far as is noted; the disk is as full as it is said to be allowed.
    for name in std::fs::read_dir(data.join("images/refs")).unwrap() {
        let file = std::fs::File::options().write(true).open(name.unwrap().path()).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified.checked_sub(Duration::from_secs(3600)).unwrap_or(SystemTime::UNIX_EPOCH)).unwrap();
    }
    cluster.configure("imageGCHighThresholdPercent: 1\nimageGCLowThresholdPercent: 0\n");
    cluster.start();
    eventually("the unused image is gone", || (!image(&["ls"]).contains("/unused:v1")).then_some(()));
    assert!(image(&["ls"]).contains("/used:v1"));
    assert!(cluster.mizzen(&["get", "pods"]).ok().contains("Running"));
}

#[test]
fn a_node_whose_disk_is_short_says_so_and_gets_no_pods_until_it_is_not() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "late:v1");
    let mut cluster = Cluster::up_configured("evictionHard: {nodefs.available: 99%}\n");
    let conditions = || cluster.mizzen(&["describe", "node", "test-node"]).ok();
    eventually("the node says it", || conditions().contains("kubelet has disk pressure").then_some(()));
    cluster.apply(&pod("late", &image, "sleep 1000"));
    let why = "had untolerated taint {node.kubernetes.io/disk-pressure: }";
    eventually("the pod is told why it waits", || cluster.mizzen(&["get", "events"]).ok().contains(why).then_some(()));
    assert_eq!(cluster.stop(), Some(0));

    cluster.configure("");
    cluster.start();
    eventually("the pod runs", || cluster.mizzen(&["get", "pods"]).ok().contains("Running").then_some(()));
}
