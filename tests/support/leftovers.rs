//! What of a cluster can be seen on the machine.

use std::path::Path;
use std::process::Command;

use crate::command::run;

/// Processes, mounts (network namespaces are held by mounts in the data folder), links, nftables tables and cgroups of the
/// cluster with this id and data folder.
///
/// # Panics
/// When the machine cannot be asked.
pub fn of(id: &str, data: &Path) -> Vec<String> {
    let data = data.display().to_string();
    let mut found = Vec::new();
    let mut look = |what: &str, text: String, needle: &str| {
        found.extend(text.lines().filter(|line| line.contains(needle)).map(|line| format!("{what}: {line}")));
    };
    look("process", run(Command::new("ps").args(["-eo", "args"])).ok(), &data);
    look("mount", std::fs::read_to_string("/proc/self/mountinfo").expect("is mounted"), &data);
    look("link", run(Command::new("ip").args(["-o", "link"])).ok(), id);
    look("table", run(Command::new("nft").args(["list", "tables"])).ok(), id);
    look("cgroup", run(Command::new("find").args(["/sys/fs/cgroup", "-maxdepth", "2", "-name", &format!("*{id}*")])).ok(), id);
    found
}

/// The id that names of bridge, cgroups and namespaces derive from.
///
/// # Panics
/// When there never was a cluster in the folder.
pub fn cluster_id(data: &Path) -> String {
    let text = std::fs::read(data.join("cluster.json")).expect("the cluster has an identity");
    let identity: serde_json::Value = serde_json::from_slice(&text).expect("is JSON");
    identity["cluster"].as_str().expect("has an id").to_owned()
}
