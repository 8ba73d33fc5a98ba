//! Single files, which WASI does not know.

use mizzen_runtime::Runtime;

use crate::support::Node;

#[tokio::test(flavor = "multi_thread")]
async fn single_files_are_read_and_written_where_the_manifest_mounts_them() {
    let node = Node::new();
    let settings = node.write("settings", b"blue");
    let note = node.write("note", b"");
    std::os::unix::fs::chown(&note, Some(65534), Some(65534)).unwrap();
    let mounts = [node.mount(&settings, "/etc/app/settings", true), node.mount(&note, "/var/run/note", false)];
    for (id, args, code) in [
        ("read", &["cat", "/etc/app/settings"][..], 0),
        ("list", &["ls", "/etc/app"][..], 0),
        ("write", &["write", "/var/run/note", "seen"][..], 0),
        ("refused", &["write", "/etc/app/settings", "red"][..], 1),
        ("added", &["write", "/var/run/other", "x"][..], 1),
    ] {
        let mut spec = node.cli(id, args);
        spec.mounts = mounts.to_vec();
        let (exit, entries) = node.run(&spec).await;
        assert_eq!(exit.code, code, "{id}: {entries:?}");
    }
    assert_eq!(node.entries("read"), ["stdout P blue"]);
    assert_eq!(node.entries("list"), ["stdout F settings"]);
    assert_eq!(std::fs::read_to_string(&note).unwrap(), "seen");
    assert_eq!(std::fs::read_to_string(&settings).unwrap(), "blue");
    for id in ["read", "list", "write", "refused", "added"] {
        node.runtime.remove(id).await.unwrap();
    }
    let left = std::fs::read_dir(node.dir.path().join("state/containers")).unwrap().count();
    assert_eq!((left, settings.exists()), (0, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_cannot_be_given_is_refused_by_its_name_and_leaves_nothing() {
    let node = Node::new();
    let mut spec = node.cli("device", &["env"]);
    spec.mounts = vec![node.mount("/dev/null".as_ref(), "/dev/nothing", false)];
    let refused = node.runtime.start(&spec).await.unwrap_err().to_string();
    assert!(refused.contains("cannot mount /dev/null on /dev/nothing"), "{refused}");
    assert!(!node.dir.path().join("state/containers/device").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_up_in_the_pods_own_files() {
    let node = Node::new();
    let hosts = node.write("hosts", b"127.0.0.1 localhost\n10.99.0.7 neighbour\n");
    let mut spec = node.cli("known", &["lookup", "neighbour"]);
    spec.mounts = vec![node.mount(&hosts, "/etc/hosts", false)];
    let (exit, entries) = node.run(&spec).await;
    assert_eq!((exit.code, entries), (0, vec!["stdout F 10.99.0.7".to_owned()]));
    spec.id = "unknown".into();
    spec.process.args = vec!["lookup".into(), "localhost.localdomain".into()];
    assert_eq!(node.run(&spec).await.0.code, 1, "the machine's own files say nothing to a pod");
}
