//! From a [`ContainerSpec`] to the OCI runtime's configuration. Pure, but for reading a seccomp profile.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::host::Host;
use super::seccomp;
use crate::cgroup::MOUNT as CGROUPS;
use crate::spec::{ContainerSpec, Mount, Seccomp};

/// The search path of a container that sets none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// More open files than this make programs that close them one by one slow.
const OPEN_FILES: u64 = 1_048_576;

/// What could not be had, and the configuration without it.
pub(super) struct Translation {
    pub(super) config: oci_spec::runtime::Spec,
    pub(super) warnings: Vec<String>,
}

pub(super) fn translate(spec: &ContainerSpec, cgroup: &str, host: &Host) -> Result<Translation, String> {
    check(spec)?;
    let mut warnings = Vec::new();
    let config = json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs", "readonly": spec.process.readonly_rootfs },
        "process": process(spec, host, &mut warnings),
        "mounts": mounts(spec),
        "linux": linux(spec, cgroup, host)?,
    });
    let config = serde_json::from_value(config).map_err(|err| format!("the container's configuration: {err}"))?;
    Ok(Translation { config, warnings })
}

fn check(spec: &ContainerSpec) -> Result<(), String> {
    let process = &spec.process;
    if process.args.first().is_none_or(String::is_empty) {
        return Err("no command specified".into());
    }
    if process.args.iter().any(|arg| arg.contains('\0')) {
        return Err("an argument contains a zero byte".into());
    }
    if let Some((name, _)) =
        process.env.iter().find(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0'))
    {
        return Err(format!("{name:?} cannot be an environment variable"));
    }
    if !process.cwd.is_empty() && !process.cwd.starts_with('/') {
        return Err(format!("the working directory {:?} is not absolute", process.cwd));
    }
    Ok(())
}

fn process(spec: &ContainerSpec, host: &Host, warnings: &mut Vec<String>) -> Value {
    let process = &spec.process;
    let mut env: Vec<String> = process.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !process.env.iter().any(|(name, _)| name == "PATH") {
        env.insert(0, PATH.into());
    }
    // The name itself is the joined namespace's; programs also look for it here, as container runtimes have it.
    if !spec.sandbox.hostname.is_empty() && !process.env.iter().any(|(name, _)| name == "HOSTNAME") {
        env.push(format!("HOSTNAME={}", spec.sandbox.hostname));
    }
    if process.terminal && !process.env.iter().any(|(name, _)| name == "TERM") {
        env.push("TERM=xterm".into());
    }
    let wanted = if process.privileged { &host.capabilities } else { &process.capabilities };
    let (held, missing): (Vec<_>, Vec<_>) = wanted.iter().partition(|name| host.capabilities.contains(name));
    if !missing.is_empty() {
        warnings.push(format!("this node cannot give {missing:?}"));
    }
    // Another user than root gets its capabilities by running programs that have them, as engines have it.
    let active: &[&String] = if process.uid == 0 { &held } else { &[] };
    let open_files = OPEN_FILES.min(host.open_files);
    let mut value = json!({
        "terminal": process.terminal,
        "user": { "uid": process.uid, "gid": process.gid, "additionalGids": process.additional_gids },
        "args": process.args,
        "env": env,
        "cwd": if process.cwd.is_empty() { "/" } else { &process.cwd },
        "capabilities": { "bounding": held, "effective": active, "permitted": active, "inheritable": [], "ambient": [] },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": open_files, "hard": open_files }],
    });
    // Absent, not false: libcontainer takes false for a wish to load the filter when it may no longer do so.
    if process.no_new_privileges {
        value["noNewPrivileges"] = json!(true);
    }
    if let Some(wish) = spec.resources.oom_score_adj {
        let score = wish.max(host.oom_score_floor);
        if score != wish {
            warnings.push(format!("oom_score_adj {wish} cannot be set without CAP_SYS_RESOURCE; {score} is"));
        }
        value["oomScoreAdj"] = json!(score);
    }
    value
}

fn mounts(spec: &ContainerSpec) -> Vec<Value> {
    let system = if spec.process.privileged { "rw" } else { "ro" };
    let defaults = [
        ("/proc", "proc", "proc", json!(["nosuid", "noexec", "nodev"])),
        ("/dev", "tmpfs", "tmpfs", json!(["nosuid", "strictatime", "mode=755", "size=65536k"])),
        ("/dev/pts", "devpts", "devpts", json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"])),
        ("/dev/shm", "tmpfs", "shm", json!(["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"])),
        ("/dev/mqueue", "mqueue", "mqueue", json!(["nosuid", "noexec", "nodev"])),
        ("/sys", "sysfs", "sysfs", json!(["nosuid", "noexec", "nodev", system])),
        (CGROUPS, "cgroup", "cgroup", json!(["nosuid", "noexec", "nodev", "relatime", system])),
    ];
    let defaults = defaults.into_iter().filter(|(target, ..)| !taken(spec, Path::new(target))).map(
        |(target, kind, source, options)| json!({ "destination": target, "type": kind, "source": source, "options": options }),
    );
    // Outer ones first, whatever order they were given in.
    let mut own: Vec<&Mount> = spec.mounts.iter().collect();
    own.sort_by_key(|mount| mount.target.components().count());
    defaults.chain(own.into_iter().map(bind)).collect()
}

fn taken(spec: &ContainerSpec, target: &Path) -> bool {
    spec.mounts.iter().any(|mount| mount.target == target)
}

/// The v1 hierarchies in the container: libcontainer mounts them writable whatever the options say, and a container's root
/// could raise its own limits there.
fn legacy_cgroups<'a>(spec: &'a ContainerSpec, host: &'a Host) -> impl Iterator<Item = &'a Path> {
    let below = if taken(spec, Path::new(CGROUPS)) { &[] } else { host.legacy_cgroups.as_slice() };
    // The one around them last, which takes them along.
    let around = if below.is_empty() { None } else { Some(Path::new(CGROUPS)) };
    below.iter().map(PathBuf::as_path).filter(|path| !taken(spec, path)).chain(around)
}

fn bind(mount: &Mount) -> Value {
    let propagation = match mount.propagation.as_str() {
        "" | "private" => "rprivate",
        other => other,
    };
    json!({
        "destination": mount.target,
        "type": "bind",
        "source": mount.source,
        "options": ["rbind", propagation, if mount.readonly { "ro" } else { "rw" }],
    })
}

fn linux(spec: &ContainerSpec, cgroup: &str, host: &Host) -> Result<Value, String> {
    let process = &spec.process;
    let sandbox = &spec.sandbox;
    let mut namespaces = vec![json!({ "type": "mount" }), json!({ "type": "cgroup" })];
    if !sandbox.host_pid && sandbox.pid_namespace.is_none() {
        namespaces.push(json!({ "type": "pid" }));
    }
    let joined = [
        ("pid", &sandbox.pid_namespace),
        ("network", &sandbox.network_namespace),
        ("ipc", &sandbox.ipc_namespace),
        ("uts", &sandbox.uts_namespace),
    ];
    for (kind, path) in joined {
        if let Some(path) = path {
            namespaces.push(json!({ "type": kind, "path": path }));
        }
    }
    let mut linux = json!({
        "cgroupsPath": cgroup,
        "namespaces": namespaces,
        "sysctl": sandbox.sysctls,
        "resources": resources(spec),
    });
    if spec.mounts.iter().any(|mount| mount.propagation == "rshared") {
        linux["rootfsPropagation"] = json!("shared");
    } else if spec.mounts.iter().any(|mount| mount.propagation == "rslave") {
        linux["rootfsPropagation"] = json!("slave");
    }
    if process.privileged {
        linux["devices"] = host
            .devices
            .iter()
            .map(|device| {
                json!({
                    "path": device.path,
                    "type": if device.character { "c" } else { "b" },
                    "major": device.major,
                    "minor": device.minor,
                    "fileMode": device.mode,
                    "uid": 0,
                    "gid": 0,
                })
            })
            .collect();
        return Ok(linux);
    }
    linux["maskedPaths"] = json!(process.masked_paths);
    let readonly = process.readonly_paths.iter().map(Path::new).chain(legacy_cgroups(spec, host));
    linux["readonlyPaths"] = readonly.map(|path| json!(path)).collect();
    match &process.seccomp {
        Seccomp::Unconfined => {}
        Seccomp::RuntimeDefault => linux["seccomp"] = seccomp::default_profile(&process.capabilities),
        Seccomp::Localhost(path) => linux["seccomp"] = seccomp::read(path)?,
    }
    Ok(linux)
}

fn resources(spec: &ContainerSpec) -> Value {
    let resources = &spec.resources;
    // libcontainer adds the rules for the devices that every container gets.
    let mut value = json!({ "devices": [{ "allow": spec.process.privileged, "access": "rwm" }] });
    let mut cpu = json!({});
    for (key, number) in [
        ("shares", resources.cpu_shares.map(|shares| json!(shares))),
        ("quota", resources.cpu_quota.map(|quota| json!(quota))),
        ("period", resources.cpu_period.map(|period| json!(period))),
    ] {
        if let Some(number) = number {
            cpu[key] = number;
        }
    }
    value["cpu"] = cpu;
    if let Some(limit) = resources.memory_limit {
        value["memory"] = json!({ "limit": limit });
    }
    if let Some(limit) = resources.pids_limit {
        value["pids"] = json!({ "limit": limit });
    }
    value
}
