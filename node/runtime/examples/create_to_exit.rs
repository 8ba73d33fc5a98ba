//! Times `/bin/true` from start to exit and removal, and 50 containers at once. Root only.
//!
//! `cargo run -p mizzen-runtime --example create_to_exit -- SHIM LAYER [RUNS]`; LAYER is an unpacked image with `/bin/true`
//! and `/bin/sleep`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mizzen_runtime::{ContainerSpec, ContainerState, Image, OciConfig, OciRuntime, Process, Resources, Runtime, Sandbox};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [shim, layer, rest @ ..] = args.as_slice() else { return Err("usage: create_to_exit SHIM LAYER [RUNS]".into()) };
    let runs = rest.first().map_or(Ok(50), |runs| runs.parse::<usize>())?;
    let dir = std::env::temp_dir().join(format!("mizzen-create-to-exit-{}", std::process::id()));
    let runtime = OciRuntime::new(OciConfig { root: dir.clone(), shim: shim.into() })?;
    let spec = |id: String, args: &[&str]| ContainerSpec {
        log_path: dir.join("log").join(&id),
        log_limits: None,
        id,
        labels: Default::default(),
        sandbox: Sandbox { cgroup: format!("/mizzen-create-to-exit-{}", std::process::id()), ..Sandbox::default() },
        image: Image::Layers(vec![PathBuf::from(layer)]),
        process: Process { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Process::default() },
        mounts: Vec::new(),
        resources: Resources::default(),
    };
    let (mut started, mut exited, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..runs {
        let id = format!("t{run}");
        let mut changes = runtime.changes();
        let begin = Instant::now();
        runtime.start(&spec(id.clone(), &["/bin/true"])).await?;
        started.push(begin.elapsed());
        while !matches!(runtime.status(&id).await?.state, ContainerState::Exited(_)) {
            changes.changed().await?;
        }
        exited.push(begin.elapsed());
        runtime.remove(&id).await?;
        removed.push(begin.elapsed());
    }
    println!(
        "{runs} × /bin/true, median: started {:?}, exited {:?}, removed {:?}",
        median(started),
        median(exited),
        median(removed)
    );
    let begin = Instant::now();
    let starts: Vec<_> = (0..50)
        .map(|number| {
            let (runtime, spec) = (runtime.clone(), spec(format!("s{number}"), &["/bin/sleep", "1000"]));
            tokio::spawn(async move { runtime.start(&spec).await })
        })
        .collect();
    let mut shims = Vec::new();
    for start in starts {
        if let ContainerState::Running { pid: Some(pid), .. } = start.await??.state {
            shims.push(pid);
        }
    }
    println!("50 at once: {:?}", begin.elapsed());
    let memory: u64 = shims.iter().filter_map(|pid| shim_memory(*pid)).sum();
    println!("50 shims: {} kB Pss each", memory / 50);
    for number in 0..50 {
        runtime.remove(&format!("s{number}")).await?;
    }
    let cgroup = format!("mizzen-create-to-exit-{}", std::process::id());
    for directory in mizzen_runtime::oci::Hierarchies::discover()?.directories(&cgroup) {
        std::fs::remove_dir(directory.path)?;
    }
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// kB of the container's parent, which is its shim.
fn shim_memory(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().to_owned();
    let rollup = std::fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).ok()?;
    rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?.trim().trim_end_matches(" kB").parse().ok()
}
