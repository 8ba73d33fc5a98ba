//! Whose processes a container sees: its own, its pod's (`shareProcessNamespace`), or those of the container that it was
//! added to look at (`targetContainerName`).
//!
//! A process namespace lives as long as its first process. Where a pod shares one, that is a container which does nothing
//! but wait and collect what others leave, as the pause container of other runtimes does.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use mizzen_runtime::{ContainerSpec, ContainerState, ContainerStatus, Image, Process, Resources, Sandbox, Seccomp};

use super::prepare::Ready;
use crate::error::HookError;
use crate::pod::labels;
use crate::shared::Shared;

/// Who the pause program is: nobody.
const NOBODY: u32 = 65535;

/// The container whose processes an ephemeral one is to see.
#[derive(Clone, Debug, Default)]
pub(crate) enum Target {
    #[default]
    None,
    /// Its first process, and its id.
    Running(i32, String),
    NotRunning(String),
}

/// Whom a container was added to look at; `latest` is the newest attempt of a container.
pub(crate) fn target<'a>(pod: &Pod, container: &str, latest: impl Fn(&str) -> Option<&'a ContainerStatus>) -> Target {
    let added = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let named = added.filter(|added| added.name == container).find_map(|added| added.target_container_name.as_deref());
    let Some(name) = named.filter(|name| !name.is_empty()) else { return Target::None };
    match latest(name).map(|status| (&status.state, &status.id)) {
        Some((ContainerState::Running { pid: Some(pid), .. }, id)) => Target::Running(*pid, id.clone()),
        _ => Target::NotRunning(name.to_owned()),
    }
}

/// A process namespace that is joined. It is held until then: its processes may end meanwhile, and their numbers be those of
/// others, the machine's own too.
pub(crate) struct Joined(File);

impl Joined {
    fn of(pid: i32, id: &str) -> Result<Self, HookError> {
        let path = PathBuf::from(format!("/proc/{pid}/ns/pid"));
        let namespace = File::open(&path).map_err(HookError::io("open", &path))?;
        // Asked once it is open: whose it was then cannot change any more.
        let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let cgroups = std::fs::read_to_string(&path).map_err(HookError::io("read", &path))?;
        let own = format!("/{id}");
        match cgroups.lines().any(|line| line.ends_with(&own)) {
            true => Ok(Self(namespace)),
            false => Err(HookError::Config("the processes to look at have ended".into())),
        }
    }

    /// Where it can be joined, by whoever starts the container.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }
}

/// The process namespace that a container joins; `None` is one of its own.
pub(crate) async fn namespace(shared: &Shared, pod: &Pod, ready: &Ready, target: &Target) -> Result<Option<Joined>, HookError> {
    match target {
        Target::Running(pid, id) => return Joined::of(*pid, id).map(Some),
        Target::NotRunning(name) => {
            return Err(HookError::Config(format!("target container {name:?} has no running process to look at")));
        }
        Target::None => {}
    }
    if pod.spec.as_ref().and_then(|spec| spec.share_process_namespace) != Some(true) {
        return Ok(None);
    }
    // Two containers that start at once must not each take the other's for one that has ended.
    let _alone = shared.pauses.lock().await;
    let spec = pause(shared, pod, ready).await?;
    let runtime = &shared.runtimes.container;
    let mut status = runtime.start(&spec).await?;
    if matches!(status.state, ContainerState::Exited(_)) {
        runtime.remove(&spec.id).await?;
        status = runtime.start(&spec).await?;
    }
    match status.state {
        ContainerState::Running { pid: Some(pid), .. } => Joined::of(pid, &spec.id).map(Some),
        state => Err(HookError::Config(format!("the pod's process namespace is not there: {state:?}"))),
    }
}

/// Ends the processes of a pod that shares them. No error when it does not.
pub(crate) async fn release(shared: &Shared, uid: &str) -> Result<(), HookError> {
    Ok(shared.runtimes.container.remove(&id(uid)).await?)
}

/// No container has the empty name.
fn id(uid: &str) -> String {
    labels::container_id(uid, "", 0)
}

async fn pause(shared: &Shared, pod: &Pod, ready: &Ready) -> Result<ContainerSpec, HookError> {
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    let metadata = &pod.metadata;
    let (uid, namespace, name) = (of(&metadata.uid), of(&metadata.namespace), of(&metadata.name));
    let labels = [(labels::POD_UID, &uid), (labels::POD_NAME, &name), (labels::POD_NAMESPACE, &namespace)];
    let labels: BTreeMap<String, String> = labels.into_iter().map(|(label, value)| (label.to_owned(), value.clone())).collect();
    Ok(ContainerSpec {
        id: id(&uid),
        labels,
        log_path: shared.volumes.pod_dir(&uid).join("pause.log"),
        sandbox: Sandbox {
            pod_uid: uid,
            namespace,
            pod: name,
            network_namespace: ready.network.network_namespace.clone(),
            ipc_namespace: ready.network.ipc_namespace.clone(),
            uts_namespace: ready.network.uts_namespace.clone(),
            cgroup: ready.cgroup.clone(),
            ..Sandbox::default()
        },
        image: Image::Layers(vec![layer(&shared.data_dir).await?]),
        process: Process {
            args: vec!["/pause".to_owned()],
            uid: NOBODY,
            gid: NOBODY,
            no_new_privileges: true,
            readonly_rootfs: true,
            seccomp: Seccomp::RuntimeDefault,
            ..Process::default()
        },
        mounts: Vec::new(),
        resources: Resources { cpu_shares: Some(2), ..Resources::default() },
        log_limits: None,
    })
}

/// The root of every pause container: one program.
async fn layer(data_dir: &Path) -> Result<PathBuf, HookError> {
    let dir = data_dir.join("pause");
    let (path, new) = (dir.join("pause"), dir.with_extension("new"));
    let program = program().ok_or_else(|| {
        HookError::Config(format!("shareProcessNamespace is not supported on {} nodes yet", std::env::consts::ARCH))
    })?;
    if tokio::fs::read(&path).await.is_ok_and(|present| present == program) {
        return Ok(dir);
    }
    tokio::fs::create_dir_all(&dir).await.map_err(HookError::io("create", &dir))?;
    tokio::fs::write(&new, program).await.map_err(HookError::io("write", &new))?;
    let executable = std::fs::Permissions::from_mode(0o755);
    tokio::fs::set_permissions(&new, executable).await.map_err(HookError::io("set the mode of", &new))?;
    tokio::fs::rename(&new, &path).await.map_err(HookError::io("rename", &new))?;
    Ok(dir)
}

/// Where the program is in memory.
const BASE: u64 = 0x40_0000;
/// Sizes of an ELF file's header and of one program header.
const HEADER: u16 = 64;
const SEGMENT: u16 = 56;

/// It ignores SIGCHLD, so that the kernel collects the orphans of the namespace for it, and waits for ever.
const CODE: [u8; 40] = [
    0x48, 0x31, 0xd2, // xor rdx, rdx: the old action is of no interest
    0xb8, 13, 0, 0, 0, // mov eax, rt_sigaction
    0xbf, 17, 0, 0, 0, // mov edi, SIGCHLD
    0x48, 0x8d, 0x35, 20, 0, 0, 0, // lea rsi, [rip + 20]: the action, behind the code
    0x41, 0xba, 8, 0, 0, 0, // mov r10d, 8: the size of a signal mask
    0x0f, 0x05, // syscall
    0xb8, 34, 0, 0, 0, // mov eax, pause
    0x0f, 0x05, // syscall
    0xeb, 0xf7, // jmp to the mov before
    0x90, 0x90, 0x90, // nop
];

/// The pause program: a static ELF file of one segment, whose few instructions are written here as numbers, since a toolchain
/// for one more executable on every node would be more to carry. `None` where there are none for the architecture.
fn program() -> Option<Vec<u8>> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    // `struct sigaction`: the handler SIG_IGN, no flags, no restorer, an empty mask.
    let action = [1_u64, 0, 0, 0].map(u64::to_le_bytes).concat();
    let start = u64::from(HEADER + SEGMENT);
    let size = start + CODE.len() as u64 + action.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    // An executable for x86-64, of version 1.
    put(&[2, 0, 62, 0, 1, 0, 0, 0]);
    // Entry, program headers, no section headers, no flags.
    put(&[BASE + start, u64::from(HEADER), 0].map(u64::to_le_bytes).concat());
    put(&0_u32.to_le_bytes());
    put(&[HEADER, SEGMENT, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    // Loaded, to be read and executed, the whole file.
    put(&[1_u32, 5].map(u32::to_le_bytes).concat());
    put(&[0, BASE, BASE, size, size, 0x1000].map(u64::to_le_bytes).concat());
    put(&CODE);
    put(&action);
    Some(file)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_container_that_was_added_with_a_target_has_one() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [{"name": "web"}], "ephemeralContainers": [
            {"name": "look", "targetContainerName": "web"}, {"name": "other"},
        ]}}))
        .expect("is a pod");
        let state = ContainerState::Running { started_at: String::new(), pid: Some(7) };
        let web = ContainerStatus { id: "web-0".into(), labels: BTreeMap::new(), state };
        let of = |container: &str| target(&pod, container, |name| (name == "web").then_some(&web));
        assert!(matches!(of("look"), Target::Running(7, _)));
        assert!(matches!(of("other"), Target::None) && matches!(of("web"), Target::None));
        assert!(matches!(target(&pod, "look", |_| None), Target::NotRunning(name) if name == "web"));
    }

    #[test]
    fn the_pause_program_runs_until_it_is_killed() {
        let Some(program) = program() else { return };
        assert_eq!(program.len(), 192);
        let dir = tempfile::tempdir().expect("makes a folder");
        let path = dir.path().join("pause");
        std::fs::write(&path, program).expect("writes");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("sets the mode");
        let mut child = std::process::Command::new(&path).spawn().expect("starts");
        // The kernel shows the signals that a process ignores as bits, SIGCHLD being the 17th.
        let stat = format!("/proc/{}/status", child.id());
        let ignores = || {
            let status = std::fs::read_to_string(&stat).unwrap_or_default();
            let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
            mask.is_some_and(|mask| mask & (1 << 16) != 0)
        };
        while !ignores() {
            assert!(child.try_wait().expect("can be asked").is_none(), "it has ended");
            std::thread::yield_now();
        }
        child.kill().and_then(|()| child.wait()).expect("is killed");
    }
}
