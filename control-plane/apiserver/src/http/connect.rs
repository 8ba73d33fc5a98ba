//! Requests that open a stream, as admission sees them: what the query asks for is an object (`PodExecOptions` and the like).

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Uri};
use mizzen_api::{GroupVersionResource, Status};
use serde_json::{Map, Value, json};

use super::handler::Handler;
use super::params::Params;
use super::path::{ResourcePath, percent_decode};
use crate::auth::Identity;
use crate::proxy;

/// What a parameter of the query is in the object.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Flag,
    Ports,
}

type Fields = &'static [(&'static str, Kind)];

const ATTACH: Fields =
    &[("container", Kind::Text), ("stderr", Kind::Flag), ("stdin", Kind::Flag), ("stdout", Kind::Flag), ("tty", Kind::Flag)];
const EXEC: Fields = &[
    ("command", Kind::Texts),
    ("container", Kind::Text),
    ("stderr", Kind::Flag),
    ("stdin", Kind::Flag),
    ("stdout", Kind::Flag),
    ("tty", Kind::Flag),
];
const PORT_FORWARD: Fields = &[("ports", Kind::Ports)];

/// The kind of the options of a path, and its fields that stand in the query.
fn described(path: &ResourcePath) -> Option<(&'static str, Fields)> {
    Some(match (path.resource.as_str(), path.subresource.as_str()) {
        ("pods", "attach") => ("PodAttachOptions", ATTACH),
        ("pods", "exec") => ("PodExecOptions", EXEC),
        ("pods", "portforward") => ("PodPortForwardOptions", PORT_FORWARD),
        ("pods", "proxy") => ("PodProxyOptions", &[]),
        ("services", "proxy") => ("ServiceProxyOptions", &[]),
        ("nodes", "proxy") => ("NodeProxyOptions", &[]),
        _ => return None,
    })
}

/// # Errors
/// `BadRequest` for a parameter that cannot be read.
fn options(path: &ResourcePath, uri: &Uri) -> Result<Option<Value>, Status> {
    let Some((kind, fields)) = described(path) else { return Ok(None) };
    let mut options = Map::new();
    options.insert("kind".to_owned(), json!(kind));
    options.insert("apiVersion".to_owned(), json!("v1"));
    if path.subresource == "proxy" {
        let (_, below) = proxy::split(uri.path());
        if !below.is_empty() {
            // As whoever answers reads it: another spelling of a path must not pass a policy about it.
            options.insert("path".to_owned(), json!(percent_decode(below)));
        }
    }
    let params = Params::parse(uri.query().unwrap_or_default());
    for (name, kind) in fields {
        let values: Vec<&str> = params.all(name).collect();
        let Some(first) = values.first() else { continue };
        let value = match kind {
            Kind::Text if first.is_empty() => continue,
            Kind::Text => json!(first),
            Kind::Texts => json!(values),
            // As Kubernetes reads them: all but these two is true.
            Kind::Flag if *first == "0" || first.eq_ignore_ascii_case("false") => continue,
            Kind::Flag => json!(true),
            Kind::Ports => {
                let all = values.iter().flat_map(|value| value.split(','));
                let ports: Result<Vec<u16>, _> = all.map(str::parse).collect();
                json!(ports.map_err(|error| Status::bad_request(format!("cannot convert to []int32: {error}")))?)
            }
        };
        options.insert((*name).to_owned(), value);
    }
    Ok(Some(Value::Object(options)))
}

/// The address of a request whose options were changed.
fn rewritten(path: &ResourcePath, uri: &Uri, options: &Value) -> Result<Uri, Status> {
    let (prefix, _) = if path.subresource == "proxy" { proxy::split(uri.path()) } else { (uri.path(), "") };
    let below = options["path"].as_str().unwrap_or_default().split('/').map(encoded).collect::<Vec<_>>().join("/");
    let fields = described(path).map_or(&[][..], |(_, fields)| fields);
    let old = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let named = |pair: &&str| {
        let written = percent_decode(&pair.split('=').next().unwrap_or_default().replace('+', " "));
        fields.iter().any(|(name, _)| *name == written)
    };
    let mut query: Vec<String> = old.filter(|pair| !named(pair)).map(str::to_owned).collect();
    for (name, _) in fields {
        let values = match &options[*name] {
            Value::Null => continue,
            Value::Array(values) => values.iter().collect(),
            value => vec![value],
        };
        query.extend(values.into_iter().map(|value| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{name}={}", encoded(&text))
        }));
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let slash = if below.is_empty() || below.starts_with('/') { "" } else { "/" };
    format!("{prefix}{slash}{below}{query}").parse().map_err(Status::internal)
}

/// Text as it stands in a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Handler {
    /// Lets policies and webhooks look at a request that is authorized, before anything is connected. Gives the request as
    /// they left it, and their warnings.
    ///
    /// # Errors
    /// When it is refused.
    pub(super) async fn admitted(
        &self,
        user: &Arc<Identity>,
        path: &ResourcePath,
        mut request: Request<Body>,
    ) -> Result<(Request<Body>, Vec<String>), Status> {
        let Some(options) = options(path, request.uri())? else { return Ok((request, Vec::new())) };
        let resource = GroupVersionResource::new("", path.version.as_str(), path.resource.as_str());
        let place = (path.namespace.as_str(), path.name.as_str(), path.subresource.as_str());
        let (admitted, warnings) = self.pipeline.admit_connect(user, &resource, place, options.clone()).await?;
        if admitted != options {
            *request.uri_mut() = rewritten(path, request.uri(), &admitted)?;
        }
        Ok((request, warnings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(resource: &str, subresource: &str) -> ResourcePath {
        ResourcePath { resource: resource.to_owned(), subresource: subresource.to_owned(), ..ResourcePath::default() }
    }

    #[test]
    fn the_query_is_an_object() {
        let of = |resource: &str, subresource: &str, uri: &str| {
            options(&path(resource, subresource), &uri.parse().expect("an address")).expect("is read")
        };
        let exec = of("pods", "exec", "/a?command=sh&command=-c+x&container=c&stdin=true&stdout=1&stderr=false&tty=0");
        let wanted = json!({"kind": "PodExecOptions", "apiVersion": "v1", "command": ["sh", "-c x"], "container": "c",
            "stdin": true, "stdout": true});
        assert_eq!(exec, Some(wanted));
        let ports = of("pods", "portforward", "/a?ports=80,81&ports=82");
        assert_eq!(ports.expect("is there")["ports"], json!([80, 81, 82]));
        let proxy = of("services", "proxy", "/api/v1/namespaces/n/services/https:s:443/proxy/a/b?c=d");
        assert_eq!(proxy, Some(json!({"kind": "ServiceProxyOptions", "apiVersion": "v1", "path": "/a/b"})));
        assert_eq!(of("pods", "log", "/a"), None);
        assert!(options(&path("pods", "portforward"), &"/a?ports=x".parse().expect("an address")).is_err());
    }

    #[test]
    fn options_that_were_changed_are_asked_for() {
        let uri: Uri = "/api/v1/namespaces/n/pods/p/exec?command=sh&other=1&tty=true".parse().expect("an address");
        let changed = json!({"command": ["echo", "a b&c"], "stdout": true});
        let rewritten_to = rewritten(&path("pods", "exec"), &uri, &changed).expect("an address");
        assert_eq!(rewritten_to, "/api/v1/namespaces/n/pods/p/exec?other=1&command=echo&command=a%20b%26c&stdout=true");
        let uri: Uri = "/api/v1/nodes/n/proxy/a?b=c".parse().expect("an address");
        let spelled: Uri = "/api/v1/nodes/n/proxy/%61dmin".parse().expect("an address");
        let seen = options(&path("nodes", "proxy"), &spelled).expect("can be read").expect("has options");
        assert_eq!(seen["path"], "/admin");
        let again: Uri = "/api/v1/namespaces/d/pods/p/exec?%63ontainer=a".parse().expect("an address");
        let only = rewritten(&path("pods", "exec"), &again, &json!({"container": "b"})).expect("an address");
        assert_eq!(only.query(), Some("container=b"));
        let moved = rewritten(&path("nodes", "proxy"), &uri, &json!({"path": "/d"})).expect("an address");
        assert_eq!(moved, "/api/v1/nodes/n/proxy/d?b=c");
    }
}
