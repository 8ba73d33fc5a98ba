//! The fixtures themselves: what a killed test leaves is gone before the next one begins.

use std::process::Stdio;

use mizzen_tests::executables::mizzen;
use mizzen_tests::folder::Folder;
use mizzen_tests::ports::Port;
use mizzen_tests::{eventually, leftovers};

#[test]
fn what_a_killed_test_left_is_removed_by_the_next_one() {
    let (left, port) = (Folder::new(), Port::reserve());
    let data = left.data();
    let mut up = mizzen();
    up.args(["up", "--node-name", "left", "--api-address", &port.address().to_string(), "--data-dir"]).arg(&data);
    let mut up = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the cluster is there", || data.join("kubeconfig").exists().then_some(()));
    let id = leftovers::cluster_id(&data);
    assert!(!leftovers::of(&id, &data).is_empty());

    // From here on nobody holds it: if another process begins a test, it removes it before this one gets its turn.
    let left = left.abandon();
    let _next = Folder::new();
    assert!(up.wait().unwrap().success(), "it was told to end");
    assert!(!left.exists());
    assert_eq!(leftovers::of(&id, &data), Vec::<String>::new());
}
