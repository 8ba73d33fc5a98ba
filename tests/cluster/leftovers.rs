//! The fixtures themselves: what a killed test leaves is gone before the next one begins.

use std::process::Stdio;

use mizzen_tests::executables::mizzen;
use mizzen_tests::folder::{self, Folder};
use mizzen_tests::ports::Port;
use mizzen_tests::{eventually, leftovers};

#[test]
fn what_a_killed_test_left_is_removed_by_the_next_one() {
    let _root = Folder::new();
    // As a fixture's, but nobody holds it.
    let left = folder::root().join(format!("left-by-{}", std::process::id()));
    let (data, port) = (left.join("data"), Port::reserve());
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("owner"), "").unwrap();
    let mut up = mizzen();
    up.args(["up", "--node-name", "left", "--api-address", &port.address().to_string(), "--data-dir"]).arg(&data);
    let mut up = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the cluster is there", || data.join("kubeconfig").exists().then_some(()));
    let id = leftovers::cluster_id(&data);
    assert!(!leftovers::of(&id, &data).is_empty());

    let _next = Folder::new();
    assert!(up.wait().unwrap().success(), "it was told to end");
    assert!(!left.exists());
    assert_eq!(leftovers::of(&id, &data), Vec::<String>::new());
}
