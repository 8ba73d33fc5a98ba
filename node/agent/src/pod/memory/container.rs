//! What a pod's worker knows of one container.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mizzen_images::{Image, ImageKind};
use tokio_util::sync::CancellationToken;

use crate::pod::backoff::{self, Backoff};
use crate::pod::view::{Attempt, ContainerView, Failure, ImageView, Resizes};

/// The waiting reason of a container whose manifest names what is not there.
const LACKS_CONFIGURATION: &str = "CreateContainerConfigError";
/// It is looked for again after this at the latest.
const LONGEST_LACK: SignedDuration = SignedDuration::from_secs(60);

#[derive(Default)]
pub(crate) struct ContainerMemory {
    /// Of which attempt it is the turn when no runtime knows of any.
    pub(super) first: u32,
    /// Which image the following is about, as the manifest names it.
    pub(crate) image_named: Option<String>,
    pub(crate) image: Option<Arc<Image>>,
    image_failure: Option<Failure>,
    image_failures: u32,
    pub(crate) image_back_off_told: bool,
    pub(super) start_failure: Option<Failure>,
    start_failures: u32,
    backoff: Backoff,
    /// The exit that `delay` was worked out for.
    delay_of: Option<String>,
    delay: SignedDuration,
    /// The back-off after the last exit has not been told yet.
    delay_untold: bool,
    /// The attempt whose start is under way.
    pub(crate) starting: Option<u32>,
    /// The last whose postStart hook failed: its id, and why.
    pub(crate) hook_failure: Option<(String, String)>,
    pub(crate) health: Option<Health>,
    pub(crate) resizes: Resizes,
    /// The attempt that was ended for another image.
    pub(crate) replaced: Option<String>,
}

/// What the probes of one container say.
pub(crate) struct Health {
    pub(crate) id: String,
    pub(crate) started: bool,
    pub(crate) ready: bool,
    pub(crate) unhealthy: Option<(String, Option<i64>)>,
    /// Its probes run; not before the pod has its address.
    pub(crate) watching: Option<CancellationToken>,
}

impl Drop for Health {
    fn drop(&mut self) {
        if let Some(watching) = &self.watching {
            watching.cancel();
        }
    }
}

impl ContainerMemory {
    /// What was found of another image than the manifest names now says nothing of this one.
    pub(super) fn names_image(&mut self, image: Option<&str>) {
        if self.image_named.as_deref() == image {
            return;
        }
        let other = self.image_named.is_some();
        self.image_named = image.map(str::to_owned);
        if other {
            (self.image, self.image_failure, self.image_failures, self.image_back_off_told) = (None, None, 0, false);
        }
    }

    pub(crate) fn pulled(&mut self, image: Arc<Image>) {
        self.image = Some(image);
        self.image_failure = None;
        self.image_failures = 0;
        self.image_back_off_told = false;
    }

    pub(crate) fn pull_failed(&mut self, reason: &str, message: String, now: Timestamp) {
        self.image_failures = self.image_failures.saturating_add(1);
        self.image_failure = Some(failure(reason, message, now, backoff::delay(self.image_failures)));
        self.image_back_off_told = false;
    }

    /// Whether a container is kept down and nobody was told; true once for each exit.
    pub(crate) fn back_off_to_tell(&mut self) -> bool {
        std::mem::take(&mut self.delay_untold)
    }

    pub(crate) fn image_failure(&self) -> Option<&Failure> {
        self.image_failure.as_ref()
    }

    /// The image is asked for again before the next start, as its pull policy says.
    pub(crate) fn started(&mut self) {
        self.image = None;
        self.start_failure = None;
        self.start_failures = 0;
    }

    pub(crate) fn start_failed(&mut self, reason: &str, message: String, now: Timestamp) {
        self.start_failures = self.start_failures.saturating_add(1);
        // What a manifest lacks (a ConfigMap, say) is watched for, but not all of it can be.
        let wait = match backoff::delay(self.start_failures) {
            wait if reason == LACKS_CONFIGURATION => wait.min(LONGEST_LACK),
            wait => wait,
        };
        self.start_failure = Some(failure(reason, message, now, wait));
    }

    /// The container as the decisions see it: its newest attempt, the one before, the ids of those before that, and what it is to
    /// have.
    pub(super) fn view(
        &mut self,
        current: Option<Attempt>,
        previous: Option<Attempt>,
        older: Vec<String>,
        granted: String,
    ) -> ContainerView {
        if let Some((attempt, exit)) = current.as_ref().and_then(|attempt| Some((attempt, attempt.exit()?)))
            && self.delay_of.as_ref() != Some(&attempt.id)
        {
            self.delay = self.backoff.delay(attempt.number, &attempt.asked_image, exit);
            self.delay_of = Some(attempt.id.clone());
            self.delay_untold = self.delay > SignedDuration::ZERO;
        }
        let health = self.health.as_ref().filter(|health| current.as_ref().is_some_and(|current| current.id == health.id));
        ContainerView {
            image: match (&self.image, &self.image_failure) {
                (Some(image), _) => ImageView::Ready { wasm: matches!(image.kind, ImageKind::Wasm(_)) },
                (None, Some(failure)) => ImageView::Failed(failure.clone()),
                (None, None) => ImageView::Unknown,
            },
            previous,
            older,
            first: self.first,
            starting: self.starting,
            start_error: self.start_failure.clone(),
            replaced: current.as_ref().is_some_and(|current| self.replaced.as_ref() == Some(&current.id)),
            backoff: self.delay,
            started: health.is_some_and(|health| health.started),
            ready: health.is_some_and(|health| health.ready),
            unhealthy: health.and_then(|health| health.unhealthy.clone()),
            granted,
            resizes: self.resizes.clone(),
            current,
        }
    }

    /// Whether it waits for what its environment is to be made from.
    pub(super) fn lacks_configuration(&self) -> bool {
        self.start_failure.as_ref().is_some_and(|failure| failure.reason == LACKS_CONFIGURATION)
    }

    /// To be called when what it waits for may have come.
    pub(super) fn configuration_changed(&mut self, now: Timestamp) {
        if let Some(failure) = self.start_failure.as_mut().filter(|failure| failure.reason == LACKS_CONFIGURATION) {
            failure.retry_at = now;
        }
    }
}

fn failure(reason: &str, message: String, now: Timestamp, wait: SignedDuration) -> Failure {
    Failure { reason: reason.to_owned(), message, at: now, retry_at: now.checked_add(wait).unwrap_or(now) }
}
