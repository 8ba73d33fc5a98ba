//! Whether another API server is there: its service has endpoints, and it lists the version that it is to answer for.

use mizzen_api::api_services::Availability;

use super::{Remote, fetch};

/// One answer is enough: an endpoint that does not answer may be one of several.
const ATTEMPTS: usize = 5;

/// The condition `Available` as it is now.
pub(super) async fn check(remote: &Remote) -> Availability {
    if let Some(lacks) = remote.backend.lacks() {
        return lacks;
    }
    let attempts = (0..ATTEMPTS).map(|_| Box::pin(ask(remote)));
    match futures::future::select_ok(attempts).await {
        Ok(_) => Availability::passed(),
        Err(why) => Availability::missing("FailedDiscoveryCheck", why),
    }
}

async fn ask(remote: &Remote) -> Result<(), String> {
    let authority = remote.backend.authority().map_err(|status| status.message)?;
    let path = remote.path();
    let url = format!("https://{authority}{path}");
    match fetch::get(&remote.backend, &authority, &path, "application/json", None).await {
        Ok(answer) if (200..300).contains(&answer.code) => Ok(()),
        Ok(answer) => Err(format!("failing or missing response from {url}: bad status from {url}: {}", answer.code)),
        Err(error) => Err(format!("failing or missing response from {url}: {error}")),
    }
}
