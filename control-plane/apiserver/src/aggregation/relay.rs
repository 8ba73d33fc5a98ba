//! One request that another API server answers, and who it is told that asks.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures::StreamExt as _;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode, Uri};

use super::{Aggregation, Foreign, Remote};
use crate::auth::Identity;
use crate::proxy;

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA: &str = "x-remote-extra-";

/// How long an answer may take to begin, as in Kubernetes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for what tells clients which resources there are: they ask every server, and wait for the slowest.
const PATIENCE_FOR_DISCOVERY: Duration = Duration::from_secs(5);

/// What is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Discovery,
    Request,
    /// A watch or another protocol: it lasts as long as both sides like, or until this server ends.
    Stream,
}

impl Sent {
    fn patience(self) -> Duration {
        match self {
            Self::Discovery => PATIENCE_FOR_DISCOVERY,
            Self::Request | Self::Stream => PATIENCE,
        }
    }
}

impl Aggregation {
    /// Sends on a request that is authorized; failures are answered as kube-aggregator words them, which is as plain text.
    pub(crate) async fn relay(&self, remote: &Remote, user: &Identity, sent: Sent, mut request: Request<Body>) -> Response {
        if !remote.is_available {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
        }
        let connections = match &remote.backend.connections {
            Ok(connections) => connections,
            Err(why) => return plain(StatusCode::INTERNAL_SERVER_ERROR, why),
        };
        let Ok(authority) = remote.backend.authority() else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
        };
        let client_side = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
        let outgoing = match outgoing(&authority, user, request) {
            Ok(outgoing) => outgoing,
            Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let exchange = connections.exchange(&authority, outgoing, client_side);
        let Ok(answered) = tokio::time::timeout(sent.patience(), exchange).await else {
            tracing::debug!(api_service = remote.name, "a request was not answered in time");
            return plain(StatusCode::GATEWAY_TIMEOUT, "error trying to reach service: context deadline exceeded");
        };
        match answered {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => response,
            Ok(mut response) => {
                proxy::strip(response.headers_mut());
                response.extensions_mut().insert(Foreign);
                match sent {
                    Sent::Stream => response.map(|body| self.until_shutdown(body)),
                    Sent::Discovery | Sent::Request => response,
                }
            }
            Err(status) => {
                tracing::debug!(api_service = remote.name, %status, "a request was not answered");
                plain(StatusCode::SERVICE_UNAVAILABLE, &status.message)
            }
        }
    }

    fn until_shutdown(&self, body: Body) -> Body {
        Body::from_stream(body.into_data_stream().take_until(self.shutdown.clone().cancelled_owned()))
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
