//! `get`, `list` and `watch` over HTTP: the pipeline's answers in the shape and encoding that are asked.

use axum::body::Body;
use axum::response::Response;
use http::HeaderMap;
use mizzen_api::{Object, Reason, Status};
use serde_json::json;

use super::accept::{self, Accepted, Endpoint, Format, Shape};
use super::handler::Handler;
use super::list_body::{self, ListBody};
use super::respond;
use super::route::Place;
use super::watch_body::{self, Frames};
use crate::auth::Identity;
use crate::large::{LARGE, LargeBeginning};
use crate::table::{self, IncludeObject, View};

impl Handler {
    pub(super) async fn get(&self, user: &Identity, place: &Place<'_>, headers: &HeaderMap) -> Result<Response, Status> {
        let accepted = accept::negotiate(headers, Endpoint::Answer { protobuf: self.is_encodable(&place.gvr) })?;
        let Place { gvr, path, params, .. } = place;
        let revision = params.get("resourceVersion").unwrap_or_default();
        let object = self.pipeline.get(user, gvr, &path.namespace, &path.name, &path.subresource, revision).await?;
        self.object(200, place, &object, accepted)
    }

    /// One object in the shape that is asked.
    pub(super) fn object(&self, code: u16, place: &Place<'_>, object: &Object, accepted: Accepted) -> Result<Response, Status> {
        let shown = match accepted.shape {
            Shape::Object => return Ok(respond::object(code, object, accepted.format)),
            Shape::Table => {
                let metadata = json!({"resourceVersion": object.head().resource_version});
                let view = self.view(accepted, IncludeObject::parse(place.params.get("includeObject"))?);
                match place.path.subresource.as_str() {
                    "scale" => table::of_scale(object, metadata, view)?,
                    _ => table::of_objects(&*self.descriptor(&place.gvr)?, std::iter::once(object), metadata, view)?,
                }
            }
            Shape::PartialMetadata => table::only_metadata(object, accepted.version)?,
            Shape::PartialMetadataList => {
                let why = "you requested PartialObjectMetadataList, but the requested object is not a list";
                return Err(accept::not_acceptable_because(why));
            }
        };
        Ok(respond::value(code, &shown, accepted.format))
    }

    fn view(&self, accepted: Accepted, include: IncludeObject) -> View {
        View { version: accepted.version, include, now: (self.pipeline.clock)() }
    }

    pub(super) async fn list(&self, user: &Identity, place: &Place<'_>, headers: &HeaderMap) -> Result<Response, Status> {
        let accepted = accept::negotiate(headers, Endpoint::Answer { protobuf: self.is_encodable(&place.gvr) })?;
        let include = IncludeObject::parse(place.params.get("includeObject"))?;
        if accepted.shape == Shape::PartialMetadata {
            let why = "you requested PartialObjectMetadata, but the requested object is a list";
            return Err(accept::not_acceptable_because(why));
        }
        let listed = self.pipeline.list(user, &place.gvr, &place.path.namespace, &place.params.list()?).await?;
        let all = listed.items.len() as u64 + listed.remaining.unwrap_or_default();
        self.fairness.listed(&place.path.resource, all);
        let metadata = list_body::metadata(&listed);
        let objects = listed.items.iter().map(AsRef::as_ref);
        let shown = match (accepted.shape, accepted.format) {
            (Shape::Object, Format::Json) => {
                return Ok(respond::bytes(200, "application/json", Body::new(ListBody::json(listed))));
            }
            (Shape::Object, Format::Protobuf) => {
                let body = ListBody::protobuf(&listed).map_err(Status::internal)?;
                return Ok(respond::bytes(200, crate::protobuf::MEDIA_TYPE, Body::new(body)));
            }
            (Shape::Object, Format::Cbor) => {
                let body = ListBody::cbor(&listed).map_err(Status::internal)?;
                return Ok(respond::bytes(200, crate::cbor::MEDIA_TYPE, Body::new(body)));
            }
            (Shape::Object, Format::Yaml) => {
                let json = axum::body::to_bytes(Body::new(ListBody::json(listed)), usize::MAX).await.map_err(Status::internal)?;
                return Ok(respond::yaml(200, &json));
            }
            (Shape::Table, _) => table::of_objects(&listed.target.descriptor, objects, metadata, self.view(accepted, include))?,
            (Shape::PartialMetadata | Shape::PartialMetadataList, _) => {
                table::metadata_list(objects, &metadata, accepted.version)?
            }
        };
        Ok(respond::value(200, &shown, accepted.format))
    }

    pub(super) async fn watch(&self, user: &Identity, place: &Place<'_>, headers: &HeaderMap) -> Result<Response, Status> {
        let accepted = accept::negotiate(headers, Endpoint::Watch { protobuf: self.is_encodable(&place.gvr) })?;
        let include = IncludeObject::parse(place.params.get("includeObject"))?;
        let content_type = watch_body::content_type(accepted.format);
        let mut options = place.params.watch()?;
        if !place.path.name.is_empty() {
            options.field_selector = narrowed_to(&options.field_selector, &place.path.name);
        }
        let watching = match self.pipeline.watch(user, &place.gvr, &place.path.namespace, &options).await {
            Ok(watching) => watching,
            // A revision that is gone is told in the stream, where clients look for it.
            Err(status) if status.is(Reason::Expired) => {
                return Ok(respond::bytes(200, content_type, watch_body::refusal(accepted.format, &status)));
            }
            Err(status) => return Err(status),
        };
        let is_long = watching.begins_with_more_than(LARGE);
        let frames = Frames {
            target: watching.target.clone(),
            accepted,
            include,
            clock: self.pipeline.clock.clone(),
            columns_sent: false,
            failed: false,
            open: self.metrics.long_running(&place.asked),
        };
        let body = watch_body::body(watching.stream(self.shutdown.clone()), frames);
        let mut response = respond::bytes(200, content_type, body);
        if is_long {
            response.extensions_mut().insert(LargeBeginning);
        }
        Ok(response)
    }
}

/// A client's field selector that also holds the name that the path gives.
fn narrowed_to(field_selector: &str, name: &str) -> String {
    let mut narrowed = field_selector.to_owned();
    narrowed.push_str(if narrowed.is_empty() { "metadata.name=" } else { ",metadata.name=" });
    for c in name.chars() {
        if matches!(c, '\\' | ',' | '=') {
            narrowed.push('\\');
        }
        narrowed.push(c);
    }
    narrowed
}

#[cfg(test)]
mod tests {
    use mizzen_api::selector::FieldSelector;

    use super::narrowed_to;

    #[test]
    fn a_name_in_the_path_narrows_the_selector_of_the_client() {
        assert_eq!(narrowed_to("", "a"), "metadata.name=a");
        assert_eq!(narrowed_to("status.phase=Running", "a"), "status.phase=Running,metadata.name=a");
        let selector = FieldSelector::parse(&narrowed_to("", r"a,b=c\")).expect("parses");
        assert_eq!(selector.exact("metadata.name"), Some(r"a,b=c\"));
    }
}
