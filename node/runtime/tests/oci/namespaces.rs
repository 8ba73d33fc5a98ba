//! What a container shares with its pod or the node.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use mizzen_runtime::{Mount, Runtime};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::common::eventually;
use crate::support::Node;

/// A process whose namespaces a pod can join.
struct Pause(Child);

impl Pause {
    async fn new() -> Self {
        let pause = Self(Command::new("unshare").args(["-n", "-u", "-i", "sleep", "1000"]).spawn().unwrap());
        let own = |path: &Path| std::fs::read_link(path).unwrap();
        eventually("the namespaces are new", || async {
            let moved = own(&pause.namespace("ipc")) != own(Path::new("/proc/self/ns/ipc"));
            moved.then_some(())
        })
        .await;
        pause
    }

    fn namespace(&self, kind: &str) -> PathBuf {
        format!("/proc/{}/ns/{kind}", self.0.id()).into()
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_containers_of_a_pod_share_its_network_ipc_and_names() {
    let node = Node::new();
    let pause = Pause::new().await;
    let mut spec = node
        .sh("a", "cd /proc/self/ns; readlink net; readlink ipc; readlink uts; cat /proc/sys/net/ipv4/ip_unprivileged_port_start");
    spec.sandbox.network_namespace = Some(pause.namespace("net"));
    spec.sandbox.ipc_namespace = Some(pause.namespace("ipc"));
    spec.sandbox.uts_namespace = Some(pause.namespace("uts"));
    spec.sandbox.sysctls.insert("net.ipv4.ip_unprivileged_port_start".into(), "80".into());
    let (exit, entries) = node.run(&spec).await;
    let link = |kind| format!("stdout F {}", std::fs::read_link(pause.namespace(kind)).unwrap().display());
    assert_eq!(entries, [link("net"), link("ipc"), link("uts"), "stdout F 80".to_owned()]);
    assert_eq!(exit.code, 0);
}

#[tokio::test]
async fn a_container_in_the_nodes_process_namespace_leaves_no_process_there() {
    let node = Node::new();
    let mut spec = node.sh("a", "sleep 1000 & echo $!; exit 2");
    spec.sandbox.host_pid = true;
    let (exit, entries) = node.run(&spec).await;
    assert_eq!(exit.code, 2);
    let pid = entries[0].rsplit(' ').next().unwrap();
    eventually("the process that was left has ended", || async {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
        status.map_or(Some(()), |status| status.contains("State:\tZ").then_some(()))
    })
    .await;
    node.runtime.remove("a").await.unwrap();
    assert!(node.cgroups("a").is_empty());
}

#[tokio::test]
async fn a_container_that_joins_anothers_processes_sees_and_leaves_them() {
    let node = Node::new();
    let first = node.started(&node.sh("first", "sleep 1000; exit 1")).await;
    let mut spec = node.sh("second", "ps -o comm,args; sleep 999 & exit 3");
    spec.sandbox.pid_namespace = Some(format!("/proc/{first}/ns/pid").into());
    let (exit, entries) = node.run(&spec).await;
    assert_eq!(exit.code, 3);
    let shown = entries.join("\n");
    assert!(shown.contains("sleep 1000") && shown.contains("ps -o"), "{shown}");
    node.runtime.remove("second").await.unwrap();
    assert!(node.cgroups("second").is_empty(), "what it left has ended");
    assert!(std::path::Path::new(&format!("/proc/{first}")).exists());
    node.runtime.remove("first").await.unwrap();
}

#[tokio::test]
async fn mounts_travel_as_the_volume_says() {
    // In a mount namespace of this test's thread, so that nothing is left behind whatever happens.
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    let node = Node::new();
    let volume = node.dir.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    mount(Some("volume"), &volume, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    mount(None::<&str>, &volume, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
    for (propagation, travels) in [("private", false), ("rslave", false), ("rshared", true)] {
        let sub = volume.join(propagation);
        std::fs::create_dir(&sub).unwrap();
        let script = format!("mount -t tmpfs sub /volume/{propagation} && touch /volume/{propagation}/file; echo up; sleep 1000");
        let mut spec = node.sh(propagation, &script);
        spec.process.privileged = true;
        let mount = Mount { source: volume.clone(), target: "/volume".into(), readonly: false, propagation: propagation.into() };
        spec.mounts = vec![mount];
        node.started(&spec).await;
        eventually("it has mounted", || async { (!node.log(propagation).is_empty()).then_some(()) }).await;
        assert_eq!(node.entries(propagation), ["stdout F up"]);
        assert_eq!(sub.join("file").exists(), travels, "{propagation}");
        if propagation == "rslave" {
            let late = volume.join("late");
            std::fs::create_dir(&late).unwrap();
            nix::mount::mount(Some("late"), &late, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
            std::fs::write(late.join("seen"), "").unwrap();
            let command = ["test", "-e", "/volume/late/seen"].map(str::to_owned).to_vec();
            let exec = mizzen_runtime::ExecSpec { command, ..Default::default() };
            let session = node.runtime.exec(propagation, exec).await.unwrap();
            assert_eq!(crate::support::finish(session).await.0, 0);
            nix::mount::umount(&late).unwrap();
        }
        node.runtime.remove(propagation).await.unwrap();
        if travels {
            nix::mount::umount(&sub).unwrap();
        }
    }
    nix::mount::umount(&volume).unwrap();
}
