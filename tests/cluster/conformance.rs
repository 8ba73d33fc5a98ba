//! Kubernetes' conformance behaviours that need no real node, from outside (`tests/conformance`).

use std::process::Command;

use mizzen_tests::Cluster;
use mizzen_tests::command::run;
use mizzen_tests::executables::repository;

use crate::python::python;

/// What takes minutes.
const LEFT_OUT: &[&str] = &["[Slow]"];

#[test]
fn the_behaviours_of_a_conformant_cluster_hold() {
    let cluster = Cluster::server();
    let mut runner = Command::new(python());
    runner.arg(repository().join("tests/conformance/run.py")).arg(cluster.kubeconfig());
    if Command::new("kubectl").arg("version").arg("--client").output().is_err() {
        eprintln!("without kubectl's behaviours: there is none on this machine");
        runner.args(["--skip", "Kubectl client", "--skip", "CustomResourcePublishOpenAPI"]);
    }
    for left_out in LEFT_OUT {
        runner.args(["--skip", left_out]);
    }
    run(&mut runner).ok();
}
