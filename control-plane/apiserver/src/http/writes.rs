//! Requests that write, over HTTP.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use mizzen_api::{GroupVersionResource, Status, Verb};
use mizzen_client::{ApiRequest, PatchKind};
use serde_json::{Value, json};

use super::accept::{self, Accepted, Endpoint, Shape};
use super::handler::Handler;
use super::route::Place;
use super::{body, respond};
use crate::auth::Identity;
use crate::pipeline::{Written, answers_with_object};

impl Handler {
    pub(super) async fn write(
        &self,
        user: Arc<Identity>,
        verb: Verb,
        place: &Place<'_>,
        request: Request<Body>,
    ) -> Result<Response, Status> {
        let Place { gvr, path, params, .. } = place;
        let (parts, incoming) = request.into_parts();
        let protobuf = self.is_encodable(gvr);
        let endpoint = if self.is_review(gvr) { Endpoint::Review { protobuf } } else { Endpoint::Answer { protobuf } };
        let accepted = accept::negotiate(&parts.headers, endpoint)?;
        let bytes = body::read(incoming, self.deadlines.body).await?;
        crate::audit::note_request(&parts.headers, &bytes).await;
        let mut api = ApiRequest::new(verb, gvr, &path.namespace, &path.name).subresource(&path.subresource);
        let user_agent = parts.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = match verb {
            Verb::Create => "CreateOptions",
            Verb::Update => "UpdateOptions",
            Verb::Patch => "PatchOptions",
            _ => "DeleteOptions",
        };
        api.write = params.write(kind, user_agent)?;
        match verb {
            Verb::Patch => {
                let (kind, body) = body::patch(&parts.headers, bytes)?;
                api.body = body;
                api.patch = Some(kind);
                // Whoever applies says as whom: another program of the same name would own the fields, too.
                if kind == PatchKind::Apply && params.get("fieldManager").is_none_or(str::is_empty) {
                    api.write.field_manager.clear();
                }
            }
            Verb::Delete | Verb::DeleteCollection => {
                let document = crate::pipeline::body::read(body::document(&parts.headers, bytes, true)?).await?;
                api.delete = params.delete(&document.value)?;
                api.list = params.list()?;
            }
            _ => api.body = body::document(&parts.headers, bytes, protobuf)?,
        }
        let written = self.pipeline.write(&user, api).await?;
        let mut response = if written.deleted && verb == Verb::Delete && !answers_with_object(&path.group, &path.resource) {
            respond::value(200, &deletion_status(gvr, &written), accepted.format)
        } else {
            // What answers for many objects, or is of another kind than the resource, has no table here.
            let own = path.subresource.is_empty() && verb != Verb::DeleteCollection;
            let accepted = if own { accepted } else { Accepted { shape: Shape::Object, ..accepted } };
            self.object(written.code, place, &written.object, accepted)?
        };
        respond::warn(&mut response, &written.warnings);
        Ok(response)
    }
}

fn deletion_status(gvr: &GroupVersionResource, written: &Written) -> Value {
    let head = written.object.head();
    let mut details = json!({"name": head.name, "kind": gvr.resource, "uid": head.uid});
    if !gvr.group.is_empty() {
        details["group"] = Value::String(gvr.group.to_string());
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
