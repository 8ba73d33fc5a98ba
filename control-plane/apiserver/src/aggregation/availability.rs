//! Whether another API server is there: its service has endpoints, and it lists the version that it is to answer for.

use mizzen_api::api_services::Availability;

use super::resolve::Found;
use super::{Aggregation, Remote, fetch};

/// One answer is enough: an endpoint that does not answer may be one of several.
const ATTEMPTS: usize = 5;

/// The condition `Available` as it is now.
pub(super) async fn check(aggregation: &Aggregation, remote: &Remote) -> Availability {
    let found = match Found::read(&*aggregation.store, &remote.service) {
        Ok(found) => found,
        Err(status) => {
            let (name, namespace) = (&remote.service.name, &remote.service.namespace);
            let message = format!("service/{name} in {namespace:?} cannot be checked due to: {status}");
            return Availability { status: "Unknown", reason: "ServiceAccessError", message };
        }
    };
    if let Some(lacks) = found.lacks(&remote.service) {
        return lacks;
    }
    let attempts = (0..ATTEMPTS).map(|_| Box::pin(ask(remote, &found)));
    match futures::future::select_ok(attempts).await {
        Ok(_) => Availability::passed(),
        Err(why) => Availability::missing("FailedDiscoveryCheck", why),
    }
}

async fn ask(remote: &Remote, found: &Found) -> Result<(), String> {
    let pick = |count| rand::random::<u32>() as usize % count;
    let authority = found.authority(&remote.service, pick).map_err(|status| status.message)?;
    let path = remote.path();
    let url = format!("https://{authority}{path}");
    match fetch::get(remote, &authority, &path, "application/json").await {
        Ok(answer) if (200..300).contains(&answer.code) => Ok(()),
        Ok(answer) => Err(format!("failing or missing response from {url}: bad status from {url}: {}", answer.code)),
        Err(error) => Err(format!("failing or missing response from {url}: {error}")),
    }
}
