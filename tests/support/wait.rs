//! Waiting for a state.

use std::time::{Duration, Instant};

/// How long a state may take to come about on a busy two-core machine before the test fails.
const PATIENCE: Duration = Duration::from_secs(120);

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

#[expect(clippy::disallowed_methods, reason = "the states waited for are in other processes, which tell nobody")]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}
