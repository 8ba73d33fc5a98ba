//! Documents about the API itself: which versions, groups and resources there are, and what runs.

use serde_json::{Value, json};

use super::operation::{Content, OBJECT, Operation, meta, path_item, reference};
use super::service::{self, Service};

/// Discovery is not answered in CBOR.
const DISCOVERY: &[&str] = &["application/json", crate::protobuf::MEDIA_TYPE, "application/yaml"];
const JSON: &[&str] = &["application/json"];
const KEYS: &[&str] = &["application/jwk-set+json"];

/// The documents that every server has: name, tag, operation, what it is for, and the answer.
pub(super) fn everywhere() -> impl Iterator<Item = (String, Value)> {
    let text = || json!({"type": "string"});
    let content = |media, schema| Content { media, schema };
    [
        ("api", "core", "getCoreAPIVersions", "get available API versions", content(DISCOVERY, meta("APIVersions"))),
        ("apis", "apis", "getAPIVersions", "get available API versions", content(DISCOVERY, meta("APIGroupList"))),
        (
            "version",
            "version",
            "getCodeVersion",
            "get the version of this server",
            content(JSON, reference("io.k8s.apimachinery.pkg.version.Info")),
        ),
        (
            "openid/v1/jwks",
            "openid",
            "getServiceAccountIssuerOpenIDKeyset",
            "get the keys that verify tokens of service accounts",
            content(KEYS, text()),
        ),
        (
            ".well-known/openid-configuration",
            "WellKnown",
            "getServiceAccountIssuerOpenIDConfiguration",
            "get what verifiers of service account tokens need to know",
            content(JSON, text()),
        ),
    ]
    .into_iter()
    .map(|(path, tag, id, description, answer)| (path.to_owned(), paths(path, tag, id.to_owned(), description, answer)))
}

/// The document of a group.
pub(super) fn group(group: &str) -> (String, Value) {
    let short = service::short(group);
    let (path, id) = (format!("apis/{group}"), format!("get{}APIGroup", service::joined(short, true)));
    let answer = Content { media: DISCOVERY, schema: meta("APIGroup") };
    let value = paths(&path, &service::joined(short, false), id, "get information of a group", answer);
    (path, value)
}

/// What a version's document says of the version itself: its path and what is there.
pub(super) fn resources(service: &Service) -> (String, Value) {
    let answer = Content { media: OBJECT, schema: meta("APIResourceList") };
    let operation = get(format!("get{}APIResources", service.title), "get available resources", answer);
    let path = format!("{}/", service.base);
    let item = path_item(&path, &service.tag, &[operation]);
    (path, item)
}

fn paths(path: &str, tag: &str, id: String, description: &str, answer: Content) -> Value {
    let path = format!("/{path}/");
    let item = path_item(&path, tag, &[get(id, description, answer)]);
    json!({path: item})
}

fn get(id: String, description: &str, answer: Content) -> Operation<'static> {
    Operation {
        method: "get",
        id,
        description: description.to_owned(),
        action: None,
        parameters: &[],
        body: None,
        codes: &[200],
        answer,
    }
}
