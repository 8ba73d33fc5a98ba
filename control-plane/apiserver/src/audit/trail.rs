//! What is noted of one request on its way (`audit.k8s.io/v1`, `Event`).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use mizzen_api::Status;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::Audit;
use super::policy::{Decision, Level, Stage};
use crate::aggregation::Foreign;
use crate::auth::{Action, Identity};
use crate::held::HeldBody;
use crate::{cbor, protobuf};

/// What others add while the request is answered.
#[derive(Default)]
struct Notes {
    annotations: BTreeMap<String, String>,
    request: Option<Value>,
    wants_request: bool,
}

tokio::task_local! {
    static NOTES: Arc<Mutex<Notes>>;
}

/// Annotates the event of the request that this task answers, if it is noted. What was said first stays.
pub(crate) fn annotate(key: &str, value: impl FnOnce() -> String) {
    annotate_if(key, || Some(value()));
}

/// The same for what there may be nothing to say of; to find out is left where nothing is noted.
pub(crate) fn annotate_if(key: &str, value: impl FnOnce() -> Option<String>) {
    // Outside of a request that is noted there is nothing to annotate.
    let _ = NOTES.try_with(|notes| {
        let mut notes = notes.lock();
        if !notes.annotations.contains_key(key)
            && let Some(value) = value()
        {
            notes.annotations.insert(key.to_owned(), value);
        }
    });
}

/// The same for what is told where the bodies of requests are.
pub(crate) fn annotate_with_body(key: &str, value: impl FnOnce() -> String) {
    if NOTES.try_with(|notes| notes.lock().wants_request).unwrap_or_default() {
        annotate(key, value);
    }
}

/// Notes the body of the request that this task answers, if it is wanted.
pub(crate) async fn note_request(headers: &HeaderMap, body: &Bytes) {
    let Ok(notes) = NOTES.try_with(Clone::clone) else { return };
    if !body.is_empty() {
        let request = decoded(headers, body).await;
        notes.lock().request = request;
    }
}

/// A body as JSON; `None` for what is no document.
///
/// YAML is read as the pipeline reads it: what that refuses for how it nests takes the parser minutes.
async fn decoded(headers: &HeaderMap, body: &Bytes) -> Option<Value> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match content_type {
        text if text.contains("protobuf") => protobuf::decode(body).ok(),
        text if text.contains("cbor") => cbor::decode(body).ok(),
        text if text.contains("yaml") => {
            let body = mizzen_client::Body::Yaml(body.clone());
            crate::pipeline::body::read(body).await.ok().map(|parsed| parsed.value)
        }
        _ => serde_json::from_slice(body).ok(),
    }
}

/// What a request is, before it is answered.
pub(crate) struct About<'a> {
    pub(crate) audit_id: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) action: &'a Action<'a>,
    /// Of the resource.
    pub(crate) version: &'a str,
    pub(crate) user_agent: &'a str,
    pub(crate) sources: Vec<String>,
    /// A watch, or a stream from a node.
    pub(crate) is_stream: bool,
}

/// One request that is noted.
pub(crate) struct Trail {
    audit: Arc<Audit>,
    decision: Decision,
    event: Map<String, Value>,
    notes: Arc<Mutex<Notes>>,
    is_stream: bool,
}

fn time(now: jiff::Timestamp) -> Value {
    Value::String(now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

/// `ObjectReference`; empty fields are left out.
fn reference(action: &Action<'_>, version: &str) -> Option<Value> {
    let Action::Resource { group, resource, subresource, namespace, name, .. } = action else { return None };
    let namespace = if (*group, *resource) == ("", "namespaces") { name } else { namespace };
    let fields = [
        ("resource", *resource),
        ("namespace", *namespace),
        ("name", *name),
        ("apiGroup", *group),
        ("apiVersion", version),
        ("subresource", *subresource),
    ];
    let filled = fields.into_iter().filter(|(_, value)| !value.is_empty());
    Some(Value::Object(filled.map(|(field, value)| (field.to_owned(), json!(value))).collect()))
}

impl Trail {
    pub(super) fn begin(audit: Arc<Audit>, decision: Decision, user: &Identity, about: &About<'_>) -> Self {
        let (Action::Resource { verb, .. } | Action::Path { verb, .. }) = about.action;
        let level = match decision.level {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        };
        let event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": level, "auditID": about.audit_id, "stage": "",
            "requestURI": about.uri, "verb": verb, "user": user.user_info(), "sourceIPs": about.sources,
            "userAgent": about.user_agent, "requestReceivedTimestamp": time((audit.clock)()),
        });
        let mut event = match event {
            Value::Object(event) => event,
            _ => Map::new(),
        };
        if let Some(reference) = reference(about.action, about.version) {
            event.insert("objectRef".to_owned(), reference);
        }
        let wants_request = decision.level >= Level::Request;
        let notes = Arc::new(Mutex::new(Notes { wants_request, ..Notes::default() }));
        let trail = Self { audit, decision, event, notes, is_stream: about.is_stream };
        trail.write(Stage::RequestReceived, None, None);
        trail
    }

    /// The request acts as somebody else.
    pub(crate) fn impersonates(&mut self, user: &Identity) {
        self.event.insert("impersonatedUser".to_owned(), user.user_info());
    }

    /// Answers the request; what happens meanwhile can be noted.
    pub(crate) async fn over<T>(&self, request: impl Future<Output = T>) -> T {
        NOTES.scope(self.notes.clone(), request).await
    }

    /// The request is answered: `failure` says why it failed, if it did.
    pub(crate) async fn answered(self, response: Response, failure: Option<&Status>) -> Response {
        let status = status(response.status().as_u16(), failure);
        if self.is_stream {
            self.write(Stage::ResponseStarted, Some(&status), None);
            let last = Last { trail: self, status };
            return response.map(|body| Body::new(HeldBody::new(body, last)));
        }
        // What another server answers is for its own audit log to say.
        if self.decision.level < Level::RequestResponse || response.extensions().get::<Foreign>().is_some() {
            self.write(Stage::ResponseComplete, Some(&status), None);
            return response;
        }
        let (parts, body) = response.into_parts();
        // A body of ours does not fail.
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        self.write(Stage::ResponseComplete, Some(&status), decoded(&parts.headers, &bytes).await);
        Response::from_parts(parts, Body::from(bytes))
    }

    /// A component's request is answered, with an object or none.
    pub(crate) fn ended(self, code: u16, failure: Option<&Status>, object: Option<&mizzen_api::Object>) {
        let status = status(code, failure);
        let object = object.filter(|_| self.decision.level >= Level::RequestResponse).and_then(|object| object.value().ok());
        self.write(Stage::ResponseComplete, Some(&status), object);
    }

    /// Notes what a component sends.
    pub(crate) fn sends(&self, body: &mizzen_client::Body) {
        let mut notes = self.notes.lock();
        notes.request = match body {
            mizzen_client::Body::None => None,
            mizzen_client::Body::Value(value) => Some(value.clone()),
            mizzen_client::Body::Json(bytes) => serde_json::from_slice(bytes).ok(),
            mizzen_client::Body::Yaml(bytes) => serde_yaml_ng::from_slice(bytes).ok(),
        };
    }

    fn write(&self, stage: Stage, status: Option<&Value>, mut response: Option<Value>) {
        if self.decision.omitted.contains(&stage) {
            return;
        }
        let now = (self.audit.clock)();
        let mut event = self.event.clone();
        event.insert("stage".to_owned(), json!(format!("{stage:?}")));
        event.insert("stageTimestamp".to_owned(), time(now));
        if let Some(status) = status {
            event.insert("responseStatus".to_owned(), status.clone());
        }
        let notes = self.notes.lock();
        if !notes.annotations.is_empty() {
            event.insert("annotations".to_owned(), json!(notes.annotations));
        }
        if let Some(request) = &notes.request {
            name_object(&mut event, request);
            if notes.wants_request {
                let mut request = request.clone();
                self.trim(&mut request);
                event.insert("requestObject".to_owned(), request);
            }
        }
        drop(notes);
        if let Some(response) = &mut response {
            self.trim(response);
            event.insert("responseObject".to_owned(), response.take());
        }
        self.audit.write(Value::Object(event), now);
    }

    /// Leaves the owners of fields out where they are not wanted.
    fn trim(&self, document: &mut Value) {
        if !self.decision.omits_managed_fields {
            return;
        }
        let strip = |object: &mut Value| {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
        };
        strip(document);
        document.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten().for_each(strip);
    }
}

/// An object that is created has its name in its body.
fn name_object(event: &mut Map<String, Value>, request: &Value) {
    let Some(reference) = event.get_mut("objectRef").and_then(Value::as_object_mut) else { return };
    let metadata = &request["metadata"];
    for (field, source) in [("name", "name"), ("uid", "uid"), ("resourceVersion", "resourceVersion")] {
        if let Some(text) = metadata[source].as_str().filter(|text| !text.is_empty()) {
            reference.entry(field).or_insert_with(|| json!(text));
        }
    }
}

fn status(code: u16, failure: Option<&Status>) -> Value {
    match failure.map(Status::to_json) {
        None => json!({"metadata": {}, "code": code}),
        Some(mut failure) => {
            if let Some(fields) = failure.as_object_mut() {
                fields.remove("kind");
                fields.remove("apiVersion");
            }
            failure
        }
    }
}

/// Notes the end of a stream when its body ends.
struct Last {
    trail: Trail,
    status: Value,
}

impl Drop for Last {
    fn drop(&mut self) {
        self.trail.write(Stage::ResponseComplete, Some(&self.status), None);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[tokio::test]
    async fn a_body_that_is_refused_for_how_it_nests_is_not_read_for_the_log_either() {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/yaml"))]);
        let flow = |levels: usize| Bytes::from(format!("a: {}{}", "[".repeat(levels), "]".repeat(levels)));
        assert!(decoded(&headers, &flow(10)).await.is_some());
        assert_eq!(decoded(&headers, &flow(1_000_000)).await, None);
    }
}
