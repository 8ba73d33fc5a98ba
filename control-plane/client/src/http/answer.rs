//! Answers: objects, lists, failures, warnings.

use std::sync::Arc;

use bytes::Bytes;
use mizzen_api::{Object, Reason, Status};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ObjectList;

#[derive(Deserialize)]
struct List<'a> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Vec<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListMeta {
    resource_version: String,
    r#continue: String,
    remaining_item_count: Option<u64>,
}

/// A list, its items cut out of the body without decoding them.
pub(super) fn list(body: &Bytes) -> Result<ObjectList, Status> {
    let list: List<'_> = serde_json::from_slice(body).map_err(|error| Status::internal(format!("decode a list: {error}")))?;
    let items = list.items.iter().map(|item| Arc::new(Object::received(body.slice_ref(item.get().as_bytes()))));
    Ok(ObjectList {
        items: items.collect(),
        revision: list.metadata.resource_version.parse().unwrap_or(0),
        continue_token: Some(list.metadata.r#continue).filter(|token| !token.is_empty()),
        remaining: list.metadata.remaining_item_count,
    })
}

/// The Status in the body of a failed request, or one made from the HTTP code.
pub(super) fn failure(code: u16, body: &[u8]) -> Status {
    serde_json::from_slice(body).unwrap_or_else(|_| {
        let reason = match code {
            400 => Reason::BadRequest,
            401 => Reason::Unauthorized,
            403 => Reason::Forbidden,
            404 => Reason::NotFound,
            409 => Reason::Conflict,
            410 => Reason::Expired,
            422 => Reason::Invalid,
            429 => Reason::TooManyRequests,
            503 => Reason::ServiceUnavailable,
            504 => Reason::Timeout,
            _ => Reason::Unknown,
        };
        Status { code, ..Status::new(reason, format!("HTTP {code}: {}", String::from_utf8_lossy(body).trim())) }
    })
}

/// The text of a `Warning: 299 - "text"` header (RFC 7234, 5.5).
pub(super) fn warning(header: &str) -> Option<String> {
    let quoted = header.strip_prefix("299 ")?.split_once('"')?.1;
    Some(quoted.rsplit_once('"')?.0.replace("\\\"", "\"").replace("\\\\", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_the_bytes_of_its_items() {
        let body = Bytes::from_static(
            br#"{"metadata":{"resourceVersion":"9","continue":"c","remainingItemCount":2},"items":[{"metadata":{"name":"a","resourceVersion":"7"},"x":1}]}"#,
        );
        let list = list(&body).expect("decodes");
        assert_eq!((list.revision, list.continue_token.as_deref(), list.remaining), (9, Some("c"), Some(2)));
        assert_eq!((list.items[0].revision(), list.items[0].head().name.as_str()), (7, "a"));
        assert!(list.items[0].bytes().ends_with(br#""x":1}"#));
    }

    #[test]
    fn failures_are_statuses_with_or_without_a_body() {
        let status = failure(409, br#"{"kind":"Status","message":"m","reason":"AlreadyExists","code":409}"#);
        assert!(status.is(Reason::AlreadyExists));
        assert!(failure(502, b"<html>").message.contains("HTTP 502"));
        assert_eq!(warning(r#"299 - "unknown field \"a\"""#).as_deref(), Some(r#"unknown field "a""#));
    }
}
