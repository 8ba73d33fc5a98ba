//! Acting as somebody else by `Impersonate-*` headers ("User impersonation" in the authentication documents).

use std::sync::Arc;

use http::HeaderMap;
use mizzen_api::Status;

use super::path::percent_decode;
use crate::auth::{Action, Identity};
use crate::pipeline::Pipeline;

const PREFIX: &str = "impersonate-";
const EXTRA: &str = "impersonate-extra-";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// What the headers ask for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: Vec<(String, String)>,
}

impl Asked {
    /// `None` only when there is no `Impersonate-*` header at all: one that says nothing readable must not let the
    /// request run with the impersonator's own rights.
    ///
    /// # Errors
    /// `BadRequest` for a value that is not UTF-8, and for any of these headers without a user.
    fn parse(headers: &HeaderMap) -> Result<Option<Self>, Status> {
        let mut asked = Self { username: String::new(), uid: String::new(), groups: Vec::new(), extra: Vec::new() };
        let mut present = false;
        for (name, value) in headers {
            let name = name.as_str();
            if !name.starts_with(PREFIX) {
                continue;
            }
            present = true;
            let value = std::str::from_utf8(value.as_bytes())
                .map_err(|_| Status::bad_request(format!("the value of the header {name} is not UTF-8")))?
                .to_owned();
            match name {
                "impersonate-user" if asked.username.is_empty() => asked.username = value,
                "impersonate-uid" if asked.uid.is_empty() => asked.uid = value,
                "impersonate-group" => asked.groups.push(value),
                _ => asked.extra.extend(name.strip_prefix(EXTRA).map(|key| (percent_decode(key), value))),
            }
        }
        match present {
            true if asked.username.is_empty() => {
                Err(Status::bad_request("requested impersonation of groups, a uid or extra fields without impersonating a user"))
            }
            present => Ok(present.then_some(asked)),
        }
    }
}

/// The user that a request acts as: `user`, unless it asks to be somebody else and may.
///
/// # Errors
/// `Forbidden` when `user` may not impersonate all that is asked, `BadRequest` for unreadable headers or groups
/// without a user.
pub(super) fn acting_as(pipeline: &Pipeline, user: Arc<Identity>, headers: &HeaderMap) -> Result<Arc<Identity>, Status> {
    let Some(Asked { username, uid, groups, extra }) = Asked::parse(headers)? else { return Ok(user) };
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
    Ok(Arc::new(identity))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn asked(headers: &[(&'static str, &[u8])]) -> Result<Option<Asked>, u16> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a header value")));
        Asked::parse(&headers.collect()).map_err(|status| status.code)
    }

    #[test]
    fn without_the_headers_nobody_is_impersonated() {
        assert_eq!(asked(&[("accept", b"*/*")]), Ok(None));
    }

    #[test]
    fn a_user_and_groups_beyond_ascii_are_read() {
        let asked = asked(&[("impersonate-user", "jürgen".as_bytes()), ("impersonate-group", "köche".as_bytes())]);
        let asked = asked.expect("parses").expect("impersonates");
        assert_eq!((asked.username.as_str(), asked.groups.as_slice()), ("jürgen", ["köche".to_owned()].as_slice()));
    }

    #[test]
    fn headers_that_name_no_readable_user_are_refused() {
        assert_eq!(asked(&[("impersonate-user", b"\xff")]), Err(400));
        assert_eq!(asked(&[("impersonate-user", b"")]), Err(400));
        assert_eq!(asked(&[("impersonate-group", b"")]), Err(400));
        assert_eq!(asked(&[("impersonate-uid", b"")]), Err(400));
        assert_eq!(asked(&[("impersonate-user", b"eve"), ("impersonate-group", b"\xff")]), Err(400));
        assert_eq!(asked(&[("impersonate-user", b"eve"), ("impersonate-extra-a", b"\xff")]), Err(400));
    }
}
