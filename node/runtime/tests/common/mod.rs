//! What the tests of both runtimes look at.

use std::path::Path;
use std::time::{Duration, Instant};

use mizzen_runtime::{ContainerSpec, ContainerState, Exit, Runtime};

pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How a container ended, once it has.
pub(crate) async fn exit(runtime: &dyn Runtime, id: &str) -> Exit {
    eventually(&format!("{id} exits"), || async {
        match runtime.status(id).await.unwrap().state {
            ContainerState::Exited(exit) => Some(exit),
            ContainerState::Running { .. } => None,
        }
    })
    .await
}

/// Runs to the end and returns what it printed, one entry a line.
pub(crate) async fn run(runtime: &dyn Runtime, spec: &ContainerSpec) -> (Exit, Vec<String>) {
    runtime.start(spec).await.unwrap();
    (exit(runtime, &spec.id).await, entries(&spec.log_path))
}

/// A log that may not be there yet.
pub(crate) fn log(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Entries of a log as `stream tag text`.
pub(crate) fn entries(path: &Path) -> Vec<String> {
    log(path).lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}
