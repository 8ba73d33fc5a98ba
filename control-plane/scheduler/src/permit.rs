//! Pods that have a node and wait for their plugins' leave to be bound.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::framework::PluginError;

/// Waiting pods, by uid.
#[derive(Default)]
pub(crate) struct WaitingPods(Mutex<HashMap<String, CancellationToken>>);

impl WaitingPods {
    /// From now on, the pod can be rejected; what it answers is for [`WaitingPods::wait`].
    pub(crate) fn begin(&self, uid: &str) -> CancellationToken {
        let rejected = CancellationToken::new();
        self.0.lock().insert(uid.to_owned(), rejected.clone());
        rejected
    }

    /// Waits for `leave`, unless the pod is rejected before.
    ///
    /// # Errors
    /// Why the pod is not bound.
    pub(crate) async fn wait(
        &self,
        uid: &str,
        rejected: CancellationToken,
        leave: impl Future<Output = Result<(), PluginError>>,
    ) -> Result<(), PluginError> {
        let outcome = tokio::select! {
            biased;
            () = rejected.cancelled() => None,
            outcome = leave => Some(outcome),
        };
        self.0.lock().remove(uid);
        // Who rejected it relies on that, even if the leave came at the same time.
        let outcome = outcome.filter(|_| !rejected.is_cancelled());
        outcome.unwrap_or_else(|| Err(PluginError("rejected while waiting on permit".to_owned())))
    }

    /// Ends the waiting of a pod; `false` when it does not wait, or not any more.
    pub(crate) fn reject(&self, uid: &str) -> bool {
        let waiting = self.0.lock();
        let token = waiting.get(uid);
        token.inspect(|token| token.cancel()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_rejected_pod_gets_no_leave_and_others_are_no_concern() {
        let pods = WaitingPods::default();
        assert!(!pods.reject("a"), "it does not wait");
        let (a, b) = (pods.begin("a"), pods.begin("b"));
        assert!(pods.reject("a"));
        assert!(pods.wait("a", a, async { Ok(()) }).await.is_err());
        assert!(pods.wait("b", b, async { Ok(()) }).await.is_ok());
        assert!(!pods.reject("a") && !pods.reject("b"), "they wait no longer");
    }
}
