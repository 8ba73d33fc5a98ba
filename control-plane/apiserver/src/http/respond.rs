//! Answers: objects, statuses and documents as HTTP responses.

use std::collections::HashSet;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use mizzen_api::{Object, Reason, Status};
use serde_json::Value;

use super::accept::Format;
use crate::{cbor, protobuf};

pub(super) fn bytes(code: u16, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// One object. As JSON its stored bytes go out as they are.
pub(super) fn object(code: u16, object: &Object, format: Format) -> Response {
    match format {
        Format::Json => json(code, object.bytes().clone()),
        Format::Yaml => yaml(code, object.bytes()),
        Format::Protobuf => message(code, protobuf::encode_object(object)),
        Format::Cbor => match serde_json::from_slice(object.bytes()) {
            Ok(document) => value(code, &document, format),
            Err(error) => status(&Status::internal(format!("decode {object:?}: {error}")), Format::Json),
        },
    }
}

pub(super) fn json(code: u16, json: Bytes) -> Response {
    bytes(code, "application/json", json)
}

/// Already encoded JSON, as YAML.
pub(super) fn yaml(code: u16, json: &[u8]) -> Response {
    let text = serde_json::from_slice::<Value>(json)
        .map_err(|error| error.to_string())
        .and_then(|value| serde_yaml_ng::to_string(&value).map_err(|error| error.to_string()));
    match text {
        Ok(text) => bytes(code, "application/yaml", text),
        Err(error) => status(&Status::internal(format!("encode the answer as YAML: {error}")), Format::Json),
    }
}

fn message(code: u16, encoded: Result<Bytes, protobuf::ProtobufError>) -> Response {
    match encoded {
        Ok(message) => bytes(code, protobuf::MEDIA_TYPE, message),
        Err(error) => status(&Status::internal(error), Format::Json),
    }
}

pub(super) fn value(code: u16, value: &Value, format: Format) -> Response {
    match format {
        Format::Json => json(code, value.to_string().into()),
        Format::Yaml => yaml(code, value.to_string().as_bytes()),
        Format::Protobuf => message(code, protobuf::encode(value)),
        Format::Cbor => match cbor::encode(value) {
            Ok(document) => bytes(code, cbor::MEDIA_TYPE, document),
            Err(error) => status(&Status::internal(error), Format::Json),
        },
    }
}

pub(super) fn text(code: u16, text: impl Into<Body>) -> Response {
    bytes(code, "text/plain; charset=utf-8", text)
}

pub(super) fn status(status: &Status, format: Format) -> Response {
    let mut body = status.to_json();
    if status.is(Reason::Unauthorized)
        && let Some(body) = body.as_object_mut()
    {
        body.remove("details");
    }
    let mut response = value(status.code, &body, format);
    if let Some(seconds) = status.details.retry_after_seconds {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    warn(&mut response, &status.warnings);
    response
}

/// What Kubernetes says to who comes too often; no `Status`, since it is said before the request was looked at.
pub(super) fn too_many_requests() -> Response {
    let mut response = text(429, "Too many requests, please try again later.\n");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// What all warnings of an answer may have, and each of them once they are more: as many characters as in Kubernetes.
const ALL_WARNINGS: usize = 4 * 1024;
const LONG_WARNING: usize = 256;
/// Many clients read no more than a hundred headers.
const MOST_WARNINGS: usize = 64;

/// Adds `Warning: 299` headers (RFC 7234, section 5.5): all as they are, or as many as fit, cut short.
pub(super) fn warn(response: &mut Response, warnings: &[String]) {
    let mut told = HashSet::new();
    let warnings: Vec<&String> = warnings.iter().filter(|warning| told.insert(warning.as_str())).take(MOST_WARNINGS).collect();
    let is_long = warnings.iter().map(|warning| warning.chars().count()).sum::<usize>() > ALL_WARNINGS;
    let mut left = ALL_WARNINGS;
    for warning in warnings {
        if left == 0 {
            break;
        }
        let end = if is_long { LONG_WARNING } else { ALL_WARNINGS };
        let text = warning.char_indices().nth(end).map_or(warning.as_str(), |(end, _)| &warning[..end]);
        left = left.saturating_sub(text.chars().count());
        let text: String = text
            .chars()
            .flat_map(|c| match c {
                '"' | '\\' => vec!['\\', c],
                c if c.is_control() => vec![' '],
                c => vec![c],
            })
            .collect();
        if let Ok(header) = HeaderValue::from_bytes(format!("299 - \"{text}\"").as_bytes()) {
            response.headers_mut().append(WARNING, header);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(warnings: &[String]) -> Vec<usize> {
        let mut response = text(200, "");
        warn(&mut response, warnings);
        response.headers().get_all(WARNING).iter().map(HeaderValue::len).collect()
    }

    #[test]
    fn warnings_are_sent_whole_as_long_as_they_are_few() {
        let around = "299 - \"\"".len();
        assert_eq!(warned(&["a".repeat(1000), "b".repeat(2000)]), [1000 + around, 2000 + around]);
        let many: Vec<String> = (0..40_000).map(|number| format!("{number:0300}")).collect();
        assert_eq!(warned(&many), [LONG_WARNING + around; ALL_WARNINGS / LONG_WARNING]);
        let short: Vec<String> = (0..1000).map(|number| format!("{}", number % 500)).collect();
        assert_eq!((warned(&short).len(), warned(&vec!["twice".to_owned(); 2]).len()), (MOST_WARNINGS, 1));
    }
}
