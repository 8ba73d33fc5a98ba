//! Security contexts of pod and container, as a process.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Capabilities, Container, Pod, SeccompProfile};
use mizzen_images::User;
use mizzen_runtime::{CAPABILITIES, Process, Seccomp};

use crate::error::HookError;

/// What container engines leave a process by default.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The `user[:group]` to look up in the image: the manifest's numbers before the image's name.
pub(crate) fn user(pod: &Pod, container: &Container, image_user: &str) -> String {
    let own = container.security_context.as_ref();
    let all = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let uid = own.and_then(|c| c.run_as_user).or_else(|| all.and_then(|c| c.run_as_user));
    let gid = own.and_then(|c| c.run_as_group).or_else(|| all.and_then(|c| c.run_as_group));
    let (image_uid, image_gid) = image_user.split_once(':').map_or((image_user, None), |(user, group)| (user, Some(group)));
    let user =
        uid.map_or_else(|| if image_uid.is_empty() { "0".to_owned() } else { image_uid.to_owned() }, |uid| uid.to_string());
    match (gid, uid, image_gid) {
        (Some(gid), ..) => format!("{user}:{gid}"),
        // The image's group belongs to the image's user.
        (None, None, Some(group)) => format!("{user}:{group}"),
        _ => user,
    }
}

/// `runAsNonRoot`, by what manifest and image say. A user whom the image names may be anybody there, root too: such a name is
/// not looked up, but refused.
///
/// # Errors
/// In the kubelet's words.
pub(crate) fn check_non_root(pod: &Pod, container: &Container, image_user: &str) -> Result<(), HookError> {
    let own = container.security_context.as_ref();
    let all = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    if own.and_then(|c| c.run_as_non_root).or_else(|| all.and_then(|c| c.run_as_non_root)) != Some(true) {
        return Ok(());
    }
    let image_user = image_user.split(':').next().unwrap_or_default();
    let why = match (own.and_then(|c| c.run_as_user).or_else(|| all.and_then(|c| c.run_as_user)), image_user.parse::<u32>()) {
        (Some(0), _) => "container's runAsUser breaks non-root policy".to_owned(),
        (Some(_), _) => return Ok(()),
        (None, Ok(0)) => "container has runAsNonRoot and image will run as root".to_owned(),
        (None, Ok(_)) => return Ok(()),
        (None, Err(_)) if image_user.is_empty() => "container has runAsNonRoot and image will run as root".to_owned(),
        (None, Err(_)) => {
            format!("container has runAsNonRoot and image has non-numeric user ({image_user}), cannot verify user is non-root")
        }
    };
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    let metadata = &pod.metadata;
    let (name, namespace, uid) = (of(&metadata.name), of(&metadata.namespace), of(&metadata.uid));
    Err(HookError::Config(format!("{why} (pod: \"{name}_{namespace}({uid})\", container: {})", container.name)))
}

/// Who the process is and what it may.
pub(crate) fn process(pod: &Pod, container: &Container, user: User, seccomp_dir: &Path) -> Result<Process, HookError> {
    let own = container.security_context.clone().unwrap_or_default();
    let all = pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    // Who the user turned out to be counts, whatever manifest and image said.
    if user.uid == 0 && own.run_as_non_root.or(all.run_as_non_root) == Some(true) {
        return Err(HookError::Config("container has runAsNonRoot and image will run as root".into()));
    }
    let mut additional_gids = user.additional_gids;
    if all.supplemental_groups_policy.as_deref() == Some("Strict") {
        additional_gids.clear();
    }
    additional_gids
        .extend(all.supplemental_groups.iter().flatten().chain(all.fs_group.as_ref()).filter_map(|gid| u32::try_from(*gid).ok()));
    additional_gids.sort_unstable();
    additional_gids.dedup();

    let privileged = own.privileged == Some(true);
    let unmasked = privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |paths: &[&str]| if unmasked { Vec::new() } else { paths.iter().map(|path| (*path).to_owned()).collect() };
    Ok(Process {
        uid: user.uid,
        gid: user.gid,
        additional_gids,
        capabilities: capabilities(own.capabilities.as_ref(), privileged),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        privileged,
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        seccomp: seccomp(own.seccomp_profile.as_ref().or(all.seccomp_profile.as_ref()), privileged, seccomp_dir)?,
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READONLY),
        ..Process::default()
    })
}

fn capabilities(asked: Option<&Capabilities>, privileged: bool) -> Vec<String> {
    if privileged {
        return CAPABILITIES.iter().map(|name| (*name).to_owned()).collect();
    }
    let names = |list: Option<&Vec<String>>| -> Vec<String> {
        let with_prefix = |name: &String| {
            let name = name.to_ascii_uppercase();
            if name.starts_with("CAP_") || name == "ALL" { name } else { format!("CAP_{name}") }
        };
        list.into_iter().flatten().map(with_prefix).collect()
    };
    let add = names(asked.and_then(|asked| asked.add.as_ref()));
    let drop = names(asked.and_then(|asked| asked.drop.as_ref()));
    let all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let mut kept: Vec<String> = match (all(&add), all(&drop)) {
        (true, _) => CAPABILITIES.iter().map(|name| (*name).to_owned()).collect(),
        (false, true) => Vec::new(),
        (false, false) => DEFAULT_CAPABILITIES.iter().map(|name| (*name).to_owned()).collect(),
    };
    if !all(&drop) || all(&add) {
        kept.retain(|name| !drop.contains(name));
    }
    for name in add.into_iter().filter(|name| name != "ALL") {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}

/// Mizzen's nodes have the default profile on, unless the manifest asks for another.
fn seccomp(profile: Option<&SeccompProfile>, privileged: bool, dir: &Path) -> Result<Seccomp, HookError> {
    if privileged {
        return Ok(Seccomp::Unconfined);
    }
    match profile.map(|profile| (profile.type_.as_str(), profile.localhost_profile.as_deref())) {
        None | Some(("RuntimeDefault", _)) => Ok(Seccomp::RuntimeDefault),
        Some(("Unconfined", _)) => Ok(Seccomp::Unconfined),
        Some(("Localhost", Some(path))) if !path.starts_with('/') && !path.split('/').any(|part| part == "..") => {
            let path: PathBuf = dir.join(path);
            if path.is_file() {
                Ok(Seccomp::Localhost(path))
            } else {
                Err(HookError::Config(format!("seccomp profile {} is not on this node", path.display())))
            }
        }
        Some((kind, path)) => Err(HookError::Config(format!("seccomp profile of type {kind:?} at {path:?} cannot be used"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(security: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"spec": {"securityContext": security, "containers": []}})).expect("is a pod")
    }

    fn container(security: serde_json::Value) -> Container {
        serde_json::from_value(json!({"name": "c", "securityContext": security})).expect("is a container")
    }

    #[test]
    fn the_manifests_user_comes_before_the_images() {
        for (pod_context, own, image, wanted) in [
            (json!({}), json!({}), "", "0"),
            (json!({}), json!({}), "nginx:www", "nginx:www"),
            (json!({"runAsUser": 5}), json!({}), "nginx:www", "5"),
            (json!({"runAsUser": 5, "runAsGroup": 6}), json!({"runAsUser": 7}), "nginx", "7:6"),
            (json!({"runAsGroup": 6}), json!({}), "nginx:www", "nginx:6"),
        ] {
            assert_eq!(user(&pod(pod_context), &container(own), image), wanted);
        }
    }

    #[test]
    fn run_as_non_root_refuses_root_and_users_that_are_only_named() {
        let root = "container has runAsNonRoot and image will run as root";
        let named = "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root";
        for (own, image, wanted) in [
            (json!({}), "", Some(root)),
            (json!({}), "0:0", Some(root)),
            (json!({}), "web:web", Some(named)),
            (json!({}), "7", None),
            (json!({"runAsUser": 0}), "7", Some("container's runAsUser breaks non-root policy")),
            (json!({"runAsUser": 7}), "web", None),
            (json!({"runAsNonRoot": false}), "", None),
        ] {
            let mut pod = pod(json!({"runAsNonRoot": true}));
            pod.metadata = serde_json::from_value(json!({"name": "p", "namespace": "n", "uid": "u"})).expect("is metadata");
            let said = check_non_root(&pod, &container(own.clone()), image).err().map(|error| error.to_string());
            assert_eq!(said, wanted.map(|why| format!("{why} (pod: \"p_n(u)\", container: c)")), "{own} {image}");
        }
    }

    #[test]
    fn capabilities_are_added_and_dropped() {
        let of = |asked: serde_json::Value| {
            capabilities(serde_json::from_value::<Option<Capabilities>>(asked).expect("decodes").as_ref(), false)
        };
        assert_eq!(of(json!(null)).len(), DEFAULT_CAPABILITIES.len());
        assert_eq!(of(json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]})), ["CAP_NET_BIND_SERVICE"]);
        assert!(!of(json!({"drop": ["CHOWN"]})).contains(&"CAP_CHOWN".to_owned()));
        assert_eq!(of(json!({"add": ["ALL"]})).len(), CAPABILITIES.len());
        assert_eq!(of(json!({"add": ["ALL"], "drop": ["SYS_ADMIN"]})).len(), CAPABILITIES.len() - 1);
    }

    #[test]
    fn privileged_unmasks_and_unconfines() {
        let process =
            process(&pod(json!({})), &container(json!({"privileged": true})), User::default(), Path::new("/")).expect("works");
        assert!(process.privileged && process.masked_paths.is_empty() && matches!(process.seccomp, Seccomp::Unconfined));
    }

    #[test]
    fn groups_of_image_pod_and_volumes_come_together() {
        let context = json!({"supplementalGroups": [9, 3], "fsGroup": 7});
        let user = User { uid: 1, gid: 1, additional_gids: vec![3], ..User::default() };
        let process = process(&pod(context), &container(json!({})), user, Path::new("/")).expect("works");
        assert_eq!(process.additional_gids, [3, 7, 9]);
    }
}
