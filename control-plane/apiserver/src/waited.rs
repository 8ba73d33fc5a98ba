//! What a request waited for that is no work of this server: its turn by flow control, and webhooks. Service levels
//! (`apiserver_request_sli_duration_seconds`) leave it out.

use std::cell::Cell;
use std::pin::pin;
use std::time::{Duration, Instant};

tokio::task_local! {
    static WAITED: Cell<Duration>;
}

/// Runs a request, and adds to `waited` how long it was for others.
pub(crate) async fn counted<T>(waited: &mut Duration, request: impl Future<Output = T>) -> T {
    let mut counted = pin!(WAITED.scope(Cell::default(), request));
    let done = counted.as_mut().await;
    *waited += counted.as_mut().take_value().map(Cell::into_inner).unwrap_or_default();
    done
}

/// Waits for others. Of several at once, whoever waits for all of them counts.
pub(crate) async fn for_others<T>(others: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = others.await;
    // Who asks within this process is not counted.
    let _ = WAITED.try_with(|waited| waited.set(waited.get() + began.elapsed()));
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_others_take_counts() {
        let mut waited = Duration::ZERO;
        let pause = || tokio::time::sleep(Duration::from_millis(20));
        counted(&mut waited, pause()).await;
        assert_eq!(waited, Duration::ZERO);
        let done = counted(&mut waited, async {
            for_others(pause()).await;
            for_others(async { 7 }).await
        });
        assert_eq!(done.await, 7);
        assert!(waited >= Duration::from_millis(20), "{waited:?}");
        assert_eq!(for_others(async { 8 }).await, 8);
    }
}
