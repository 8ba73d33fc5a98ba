//! What every [`Runtime`] must do. Implementors run [`suite`] in their tests, and panic with it.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{ContainerSpec, ContainerState, Exit, Runtime, RuntimeError};

/// How long to wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Containers that an implementation can run. The suite removes what it starts.
pub trait Fixture: Send + Sync {
    /// Prints `text` and a newline on standard output, then ends with `code`.
    fn prints(&self, id: &str, text: &str, code: i32) -> ContainerSpec;

    /// Runs until it is killed.
    fn stays(&self, id: &str) -> ContainerSpec;

    /// Cannot be started.
    fn broken(&self, id: &str) -> ContainerSpec;

    /// The same runtime, as an agent has it after a restart.
    fn restarted(&self) -> Arc<dyn Runtime>;
}

/// Runs every check, one after the other.
///
/// # Panics
/// When the runtime does not do what [`Runtime`] says.
pub async fn suite(runtime: Arc<dyn Runtime>, fixture: &dyn Fixture) {
    tells_the_exit_code_and_logs(&runtime, fixture).await;
    starts_once(&runtime, fixture).await;
    kills_and_removes(&runtime, fixture).await;
    knows_nothing_of_others(&runtime).await;
    leaves_nothing_of_a_failed_start(&runtime, fixture).await;
    announces_changes(&runtime, fixture).await;
    is_taken_up_after_a_restart(&runtime, fixture).await;
}

async fn tells_the_exit_code_and_logs(runtime: &Arc<dyn Runtime>, fixture: &dyn Fixture) {
    for (id, code, reason) in [("suite-zero", 0, "Completed"), ("suite-three", 3, "Error")] {
        let spec = fixture.prints(id, "hello", code);
        succeed("start", runtime.start(&spec).await);
        let exit = exit(runtime, id).await;
        assert_eq!((exit.code, exit.reason.as_str()), (code, reason), "{id}");
        assert!(exit.started_at <= exit.finished_at && exit.finished_at.ends_with('Z'), "{id}: {exit:?}");
        let log = succeed("read the log", std::fs::read_to_string(&spec.log_path));
        let (time, entry) = log.split_once(' ').unwrap_or_default();
        assert!(time.ends_with('Z'), "{id}: {log}");
        assert_eq!(entry, "stdout F hello\n", "{id}");
        // Over, but there until it is removed.
        succeed("signal", runtime.signal(id, libc::SIGTERM).await);
        assert!(matches!(runtime.attach(id).await, Err(RuntimeError::NotRunning { .. } | RuntimeError::Unsupported { .. })));
        assert!(matches!(runtime.stats(id).await, Err(RuntimeError::NotRunning { .. })));
        succeed("remove", runtime.remove(id).await);
        assert!(spec.log_path.exists(), "{id}: the log outlives its container");
    }
}

async fn starts_once(runtime: &Arc<dyn Runtime>, fixture: &dyn Fixture) {
    let spec = fixture.stays("suite-once");
    let first = succeed("start", runtime.start(&spec).await);
    let second = succeed("start again", runtime.start(&spec).await);
    assert_eq!(first, second);
    assert_eq!(first.labels, spec.labels);
    succeed("remove", runtime.remove("suite-once").await);
}

async fn kills_and_removes(runtime: &Arc<dyn Runtime>, fixture: &dyn Fixture) {
    succeed("start", runtime.start(&fixture.stays("suite-killed")).await);
    succeed("signal", runtime.signal("suite-killed", libc::SIGKILL).await);
    let exit = exit(runtime, "suite-killed").await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    succeed("remove", runtime.remove("suite-killed").await);
    succeed("remove again", runtime.remove("suite-killed").await);
    assert!(matches!(runtime.status("suite-killed").await, Err(RuntimeError::NotFound { .. })));
}

async fn knows_nothing_of_others(runtime: &Arc<dyn Runtime>) {
    assert!(matches!(runtime.status("suite-none").await, Err(RuntimeError::NotFound { .. })));
    assert!(matches!(runtime.signal("suite-none", libc::SIGTERM).await, Err(RuntimeError::NotFound { .. })));
    assert!(matches!(runtime.stats("suite-none").await, Err(RuntimeError::NotFound { .. })));
    succeed("remove", runtime.remove("suite-none").await);
}

async fn leaves_nothing_of_a_failed_start(runtime: &Arc<dyn Runtime>, fixture: &dyn Fixture) {
    let spec = fixture.broken("suite-broken");
    for _ in 0..2 {
        match runtime.start(&spec).await {
            Err(RuntimeError::Start { reason, message, .. }) => assert!(!reason.is_empty() && !message.is_empty()),
            other => panic!("a broken container was started: {other:?}"),
        }
    }
    assert!(matches!(runtime.status("suite-broken").await, Err(RuntimeError::NotFound { .. })));
}

async fn announces_changes(runtime: &Arc<dyn Runtime>, fixture: &dyn Fixture) {
    let mut changes = runtime.changes();
    succeed("start", runtime.start(&fixture.prints("suite-changes", "hello", 0)).await);
    let ended = async {
        while !matches!(succeed("status", runtime.status("suite-changes").await).state, ContainerState::Exited(_)) {
            succeed("a change", changes.changed().await);
        }
    };
    assert!(tokio::time::timeout(PATIENCE, ended).await.is_ok(), "the exit was not announced");
    succeed("remove", runtime.remove("suite-changes").await);
}

async fn is_taken_up_after_a_restart(runtime: &Arc<dyn Runtime>, fixture: &dyn Fixture) {
    let started = succeed("start", runtime.start(&fixture.stays("suite-kept")).await);
    let restarted = fixture.restarted();
    let found = eventually("it is found", || async {
        succeed("list", restarted.list().await).into_iter().find(|status| status.id == "suite-kept")
    });
    assert_eq!(found.await, started);
    succeed("signal", restarted.signal("suite-kept", libc::SIGKILL).await);
    assert_eq!(exit(&restarted, "suite-kept").await.code, 137);
    succeed("remove", restarted.remove("suite-kept").await);
    assert!(succeed("list", restarted.list().await).is_empty());
}

async fn exit(runtime: &Arc<dyn Runtime>, id: &str) -> Exit {
    eventually("it exits", || async {
        match succeed("status", runtime.status(id).await).state {
            ContainerState::Exited(exit) => Some(exit),
            ContainerState::Running { .. } => None,
        }
    })
    .await
}

async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn succeed<T, E: std::fmt::Debug>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(err) => panic!("{what}: {err:?}"),
    }
}
