//! `/bin/true` in a container, from nothing to nothing: mizzen-shim beside runc and crun.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mizzen_runtime::{ContainerSpec, ContainerState, Image, OciConfig, OciRuntime, Process, Resources, Runtime, Sandbox};
use mizzen_tests::command::run;
use mizzen_tests::executables;
use serde_json::{Value, json};

use crate::machine;
use crate::samples::{Samples, show};
use crate::table::Table;

const RUNS: usize = 50;

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let rootfs = dir.path().join("rootfs");
    for made in ["bin", "proc", "dev", "sys", "etc", "tmp"] {
        std::fs::create_dir_all(rootfs.join(made))?;
    }
    std::fs::copy("/bin/busybox", rootfs.join("bin/busybox")).context("busybox-static is installed (.ci/setup)")?;
    symlink("busybox", rootfs.join("bin/true"))?;

    let mut beside = Vec::new();
    let bundle = dir.path();
    for runtime in ["runc", "crun"] {
        if machine::has(runtime) || Path::new("/usr/sbin").join(runtime).is_file() {
            write_bundle(bundle, runtime)?;
            beside.push(format!("{runtime} {}", show(others(runtime, bundle)?.median())));
        } else {
            table.note(format!("{runtime} is not installed."));
        }
    }
    let (exited, removed) = ours(dir.path(), &rootfs).await?;
    let what = format!("`/bin/true` through mizzen-shim: start to removed (p50 of {RUNS})");
    let measured = format!("{} (exit known after {})", show(removed.median()), show(exited.median()));
    table.row(&what, measured, "", beside.join(", "));
    table.note("runc and crun run an equivalent bundle (pid and mount namespaces, cgroups) but without a seccomp profile, overlayfs or a log, which mizzen-shim sets up.".to_owned());
    Ok(())
}

async fn ours(dir: &Path, rootfs: &Path) -> anyhow::Result<(Samples, Samples)> {
    let runtime = OciRuntime::new(OciConfig { root: dir.join("containers"), shim: executables::path("mizzen-shim") })?;
    let cgroup = format!("/mizzen-bench-{}", std::process::id());
    let (mut exited, mut removed) = (Samples::default(), Samples::default());
    for number in 0..RUNS {
        let id = format!("true-{number}");
        let spec = ContainerSpec {
            log_path: dir.join("log").join(&id),
            log_limits: None,
            id: id.clone(),
            labels: Default::default(),
            sandbox: Sandbox { cgroup: cgroup.clone(), ..Sandbox::default() },
            image: Image::Layers(vec![rootfs.to_owned()]),
            process: Process { args: vec!["/bin/true".into()], ..Process::default() },
            mounts: Vec::new(),
            resources: Resources::default(),
        };
        let mut changes = runtime.changes();
        let begin = Instant::now();
        runtime.start(&spec).await?;
        while !matches!(runtime.status(&id).await?.state, ContainerState::Exited(_)) {
            changes.changed().await?;
        }
        exited.push(begin.elapsed());
        runtime.remove(&id).await?;
        removed.push(begin.elapsed());
    }
    for directory in mizzen_runtime::oci::Hierarchies::discover()?.directories(&cgroup) {
        std::fs::remove_dir(directory.path)?;
    }
    Ok((exited, removed))
}

/// The runtime's own default bundle, with only the namespaces that our container gets.
fn write_bundle(bundle: &Path, runtime: &str) -> anyhow::Result<()> {
    let file = bundle.join("config.json");
    if file.exists() {
        std::fs::remove_file(&file)?;
    }
    run(Command::new(runtime).arg("spec").current_dir(bundle)).ok();
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/true"]);
    config["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "mount"}]);
    if let Some(config) = config.as_object_mut() {
        // Without namespaces of its own the container has the machine's name.
        config.remove("hostname");
    }
    std::fs::write(file, config.to_string())?;
    Ok(())
}

/// In a mount namespace without the unified hierarchy, which crun 1.8 refuses beside the others.
fn others(runtime: &str, bundle: &Path) -> anyhow::Result<Samples> {
    let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$0\" time-runs \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(std::env::current_exe()?);
    command.arg(runtime).arg(bundle).arg(RUNS.to_string());
    let ran = run(&mut command);
    if ran.code != Some(0) {
        bail!("{runtime}: {}", ran.stderr);
    }
    let mut samples = Samples::default();
    for line in ran.stdout.lines() {
        samples.push(Duration::from_micros(line.parse().with_context(|| format!("{runtime} said {line}"))?));
    }
    Ok(samples)
}

pub(crate) fn print_runs(runtime: &PathBuf, bundle: &Path, runs: usize) -> anyhow::Result<()> {
    for number in 0..runs {
        let begin = Instant::now();
        let mut command = Command::new(runtime);
        command.arg("run").arg("--bundle").arg(bundle).arg(format!("mizzen-bench-{}-{number}", std::process::id()));
        let output = command.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        println!("{}", begin.elapsed().as_micros());
    }
    Ok(())
}
