//! Waiting for a state.

use std::time::{Duration, Instant};

/// How long a state may take to come about on a busy two-core machine before the test fails.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until the answer is there.
///
/// # Panics
/// When it does not come about; `what` says what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, ask)
}

/// [`eventually`], for what takes longer.
///
/// # Panics
/// When it does not come about.
#[track_caller]
pub fn eventually_within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        pause();
    }
}

/// The same where asking is asynchronous; what was seen instead is said in the end.
///
/// # Panics
/// When it does not come about.
pub async fn eventually_async<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(seen) => assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}; last seen: {seen}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the states waited for are in other processes, which tell nobody")]
fn pause() {
    std::thread::sleep(PAUSE);
}
