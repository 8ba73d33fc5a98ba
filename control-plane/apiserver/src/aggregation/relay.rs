//! One request that another API server answers, and who it is told that asks.

use axum::body::Body;
use axum::response::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode, Uri};
use mizzen_api::Status;

use super::resolve::Found;
use super::{Aggregation, Foreign, Remote};
use crate::auth::Identity;
use crate::proxy;

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA: &str = "x-remote-extra-";

impl Aggregation {
    /// Sends on a request that is authorized; failures are answered as kube-aggregator words them, which is as plain text.
    pub(crate) async fn relay(&self, remote: &Remote, user: &Identity, mut request: Request<Body>) -> Response {
        if !remote.is_available {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
        }
        let tls = match &remote.tls {
            Ok(tls) => tls,
            Err(why) => return plain(StatusCode::INTERNAL_SERVER_ERROR, why),
        };
        let Ok(authority) = self.authority(remote) else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
        };
        let client_side = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
        let outgoing = match outgoing(&authority, user, request) {
            Ok(outgoing) => outgoing,
            Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        match proxy::exchange(&authority, Some(tls), outgoing, client_side).await {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => response,
            Ok(mut response) => {
                proxy::strip(response.headers_mut());
                response.extensions_mut().insert(Foreign);
                response
            }
            Err(status) => {
                tracing::debug!(api_service = remote.name, %status, "a request was not answered");
                plain(StatusCode::SERVICE_UNAVAILABLE, &status.message)
            }
        }
    }

    /// `HOST:PORT` of one that answers for the version.
    pub(super) fn authority(&self, remote: &Remote) -> Result<String, Status> {
        Found::read(&*self.store, &remote.service)?.authority(&remote.service, |count| rand::random::<u32>() as usize % count)
    }
}

/// The request as the other server gets it: without the client's credentials, with the user that they proved.
fn outgoing(authority: &str, user: &Identity, request: Request<Body>) -> Result<Request<Body>, http::Error> {
    let (mut parts, body) = request.into_parts();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let uri: Uri = format!("{}{query}", parts.uri.path()).parse()?;
    let headers = &mut parts.headers;
    proxy::keep_what_goes_on(headers);
    headers.insert(header::HOST, authority.parse()?);
    name_user(headers, user)?;
    let mut outgoing = Request::builder().method(parts.method).uri(uri).body(body)?;
    *outgoing.headers_mut() = parts.headers;
    Ok(outgoing)
}

/// Says who asks. What the client itself says of that goes nowhere.
pub(super) fn name_user(headers: &mut HeaderMap, user: &Identity) -> Result<(), http::Error> {
    let said: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("x-remote-")).cloned().collect();
    said.iter().for_each(|name| drop(headers.remove(name)));
    headers.insert(USER, HeaderValue::from_bytes(user.username.as_bytes())?);
    if !user.uid.is_empty() {
        headers.insert(UID, HeaderValue::from_bytes(user.uid.as_bytes())?);
    }
    for group in &user.groups {
        headers.append(GROUP, HeaderValue::from_bytes(group.as_bytes())?);
    }
    for (key, values) in &user.extra {
        let name = HeaderName::from_bytes(format!("{EXTRA}{}", escaped(key)).as_bytes())?;
        for value in values {
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes())?);
        }
    }
    Ok(())
}

/// Keys such as `authentication.kubernetes.io/pod-name` have bytes that no header's name may have.
fn escaped(key: &str) -> String {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
    let mut escaped = String::with_capacity(key.len());
    for byte in key.bytes() {
        match is_legal(byte) {
            true => escaped.push(char::from(byte)),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// As Go's `http.Error` answers.
fn plain(code: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_other_server_hears_of_the_user_from_this_one_only() {
        let user = Identity {
            username: "jane".to_owned(),
            uid: "7".to_owned(),
            groups: vec!["devs".to_owned(), "system:authenticated".to_owned()],
            extra: BTreeMap::from([("example.com/scopes".to_owned(), vec!["a".to_owned(), "b".to_owned()])]),
        };
        let request = Request::get("/apis/a.example.com/v1/things?watch=true")
            .header("authorization", "Bearer secret")
            .header("x-remote-user", "root")
            .header("x-remote-group", "system:masters")
            .header("x-remote-extra-evil", "1")
            .header("impersonate-user", "root")
            .header("accept-encoding", "gzip")
            .body(Body::empty())
            .expect("a request");
        let sent = outgoing("10.0.0.1:8443", &user, request).expect("can be sent");
        let all =
            |name: &str| -> Vec<&str> { sent.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect() };
        assert_eq!(sent.uri(), "/apis/a.example.com/v1/things?watch=true");
        assert_eq!((all("x-remote-user"), all("x-remote-uid")), (vec!["jane"], vec!["7"]));
        assert_eq!(all("x-remote-group"), ["devs", "system:authenticated"]);
        assert_eq!(all("x-remote-extra-example.com%2fscopes"), ["a", "b"]);
        assert_eq!((all("host"), all("accept-encoding")), (vec!["10.0.0.1:8443"], vec!["gzip"]));
        for gone in ["authorization", "x-remote-extra-evil", "impersonate-user"] {
            assert!(all(gone).is_empty(), "{gone}");
        }
    }

    #[test]
    fn a_name_with_a_line_break_is_sent_nowhere() {
        let user = Identity { username: "jane\r\nx-remote-user: root".to_owned(), ..Identity::default() };
        let request = Request::get("/apis/a.example.com/v1").body(Body::empty()).expect("a request");
        assert!(outgoing("10.0.0.1:8443", &user, request).is_err());
    }
}
