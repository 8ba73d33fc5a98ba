//! Acting as somebody else by `Impersonate-*` headers ("User impersonation" in the authentication documents).

use http::HeaderMap;
use mizzen_api::{Reason, Status};

use super::path::percent_decode;
use crate::auth::{Action, Identity};
use crate::pipeline::Pipeline;

const EXTRA: &str = "impersonate-extra-";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The user that a request acts as: `user`, unless it asks to be somebody else and may.
///
/// # Errors
/// `Forbidden` when `user` may not impersonate all that is asked, `BadRequest` for groups without a user.
pub(super) fn acting_as(pipeline: &Pipeline, user: Identity, headers: &HeaderMap) -> Result<Identity, Status> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let username = text("impersonate-user");
    let uid = text("impersonate-uid");
    let groups: Vec<String> =
        headers.get_all("impersonate-group").iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
    let extra: Vec<(String, String)> = headers
        .iter()
        .filter_map(|(name, value)| {
            let key = name.as_str().strip_prefix(EXTRA)?;
            Some((percent_decode(key), value.to_str().ok()?.to_owned()))
        })
        .collect();
    if username.is_empty() {
        return match groups.is_empty() && uid.is_empty() && extra.is_empty() {
            true => Ok(user),
            false => Err(Status::new(
                Reason::BadRequest,
                "requested impersonation of groups, a uid or extra fields without impersonating a user",
            )),
        };
    }
    let may = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        pipeline.authorize(&user, &Action::Resource { verb: "impersonate", group, resource, subresource, namespace, name })
    };
    let account = username.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, name)) => may("", "serviceaccounts", "", namespace, name)?,
        None => may("", "users", "", "", &username)?,
    }
    groups.iter().try_for_each(|group| may("", "groups", "", "", group))?;
    if !uid.is_empty() {
        may("authentication.k8s.io", "uids", "", "", &uid)?;
    }
    let mut identity = Identity { uid, ..Identity::default() };
    for (key, value) in extra {
        may("authentication.k8s.io", "userextras", &key, "", &value)?;
        identity.extra.entry(key).or_default().push(value);
    }
    identity.groups = groups;
    if identity.groups.is_empty()
        && let Some((namespace, _)) = account
    {
        identity.groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    let kind = if username == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !identity.groups.iter().any(|group| group == kind) {
        identity.groups.push(kind.to_owned());
    }
    identity.username = username;
    Ok(identity)
}
