//! Trying again what may pass.

use std::time::Duration;

use crate::{ImageError, Settings};

/// How one attempt failed.
pub(crate) enum Failure {
    Final(ImageError),
    Passing(ImageError, Wait),
}

pub(crate) enum Wait {
    Backoff,
    /// The server at this address may say how long.
    Ask(String),
}

impl Failure {
    pub(crate) fn limited(error: ImageError, url: &str) -> Self {
        let wait = if url.is_empty() { Wait::Backoff } else { Wait::Ask(url.to_owned()) };
        Self::Passing(error, wait)
    }
}

/// Attempts until it works, fails for good, or has been tried often enough; waits as long as the server asks, within
/// reason.
pub(crate) async fn patiently<T, F, A>(
    settings: &Settings,
    attempt: impl Fn() -> F,
    ask: impl Fn(String) -> A,
) -> Result<T, ImageError>
where
    F: Future<Output = Result<T, Failure>>,
    A: Future<Output = Option<Duration>>,
{
    let mut tried = 0;
    let mut backoff = settings.backoff;
    loop {
        tried += 1;
        let (error, wait) = match attempt().await {
            Ok(done) => return Ok(done),
            Err(Failure::Final(error)) => return Err(counted(error, tried)),
            Err(Failure::Passing(error, wait)) => (error, wait),
        };
        if tried >= settings.attempts {
            return Err(counted(error, tried));
        }
        let asked = match wait {
            Wait::Ask(url) => ask(url).await,
            Wait::Backoff => None,
        };
        let wait = asked.unwrap_or(backoff).max(backoff);
        if wait > settings.longest_wait {
            return Err(counted(error, tried));
        }
        tracing::debug!(%error, ?wait, tried, "trying again");
        tokio::time::sleep(wait).await;
        backoff *= 2;
    }
}

fn counted(error: ImageError, tried: u32) -> ImageError {
    match error {
        ImageError::RateLimited { registry, reference, .. } => ImageError::RateLimited { registry, reference, attempts: tried },
        ImageError::ServerError { registry, reference, status, message, .. } => {
            ImageError::ServerError { registry, reference, status, attempts: tried, message }
        }
        other => other,
    }
}
