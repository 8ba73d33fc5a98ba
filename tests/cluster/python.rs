//! PyPI's `kubernetes`, as people's scripts use it.

use std::path::PathBuf;
use std::process::Command;

use mizzen_tests::command::run;
use mizzen_tests::executables::{path, repository};
use mizzen_tests::{Cluster, Registry, images};

#[test]
fn the_python_client_creates_watches_executes_and_deletes() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let mut script = Command::new(python());
    script.arg(repository().join("tests/clients/python_client.py")).arg(cluster.kubeconfig()).arg(image);
    let ran = run(&mut script);
    assert!(ran.stdout.ends_with("all right\n"), "{}{}", ran.stdout, ran.stderr);
}

/// A Python with the client, installed from PyPI on first use.
fn python() -> PathBuf {
    let venv = path("mizzen").ancestors().nth(2).unwrap().join("python-venv");
    let python = venv.join("bin/python");
    let has_client = || python.exists() && run(Command::new(&python).args(["-c", "import kubernetes"])).code == Some(0);
    if !has_client() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).ok();
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "kubernetes>=30"]))
            .ok();
    }
    python
}
