//! npm's `@kubernetes/client-node`, as people's programs use it.

use std::path::PathBuf;
use std::process::Command;

use mizzen_tests::Cluster;
use mizzen_tests::command::run;
use mizzen_tests::executables::{path, repository};

/// The last line that runs on the Node.js of Debian 12 and of today alike.
const CLIENT: &str = "@kubernetes/client-node@1";

#[test]
fn the_node_client_reads_writes_patches_applies_and_watches() {
    if Command::new("npm").arg("--version").output().is_err() {
        eprintln!("skipped: there is no npm on this machine");
        return;
    }
    let cluster = Cluster::server();
    let ran = run(Command::new("node").arg(program()).arg(cluster.kubeconfig()));
    assert!(ran.stdout.ends_with("all right\n"), "{}{}", ran.stdout, ran.stderr);
}

/// The program in a folder with the client, which is installed from npm on first use.
fn program() -> PathBuf {
    let folder = path("mizzen").ancestors().nth(2).unwrap().join("node-client");
    std::fs::create_dir_all(&folder).unwrap();
    if !folder.join("node_modules/@kubernetes/client-node").exists() {
        std::fs::write(folder.join("package.json"), r#"{"private": true}"#).unwrap();
        run(Command::new("npm").args(["install", "--no-audit", "--no-fund", CLIENT]).current_dir(&folder)).ok();
    }
    let program = folder.join("node_client.mjs");
    std::fs::copy(repository().join("tests/clients/node_client.mjs"), &program).unwrap();
    program
}
