//! Answers for people: JSON over several lines, where a client asks for it (`pretty`) or is one that people read.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, USER_AGENT};
use http::{HeaderValue, Uri};

/// How programs begin to name themselves whose answers people read.
const READERS: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

/// Whether the answer is to be read by people. A client that says so either way is believed.
pub(super) fn is_asked(uri: &Uri, headers: &HeaderMap) -> bool {
    let named = uri.query().into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("pretty="));
    match named.filter(|value| !value.is_empty()) {
        Some(value) => matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"),
        None => {
            let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
            READERS.iter().any(|reader| agent.starts_with(reader))
        }
    }
}

/// The same answer over several lines. What has a tag stays as it is: the tag is of its bytes.
pub(super) fn indented(response: Response) -> Response {
    let headers = response.headers();
    let is_json = headers.get(CONTENT_TYPE) == Some(&HeaderValue::from_static("application/json"));
    if !is_json || headers.contains_key(ETAG) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    let mut writer = Indenter::default();
    let chunks = body.into_data_stream().map(move |chunk| chunk.map(|chunk| Bytes::from(writer.write(&chunk))));
    Response::from_parts(parts, Body::from_stream(chunks))
}

/// Breaks JSON into lines as it comes, without reading it as values: numbers and names stay as they were written.
#[derive(Default)]
struct Indenter {
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// Right behind an opening bracket.
    opened: bool,
}

impl Indenter {
    fn write(&mut self, json: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(json.len() * 2);
        for &byte in json {
            if self.in_text {
                out.push(byte);
                self.in_text = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
                continue;
            }
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => {}
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if !std::mem::take(&mut self.opened) {
                        self.line(&mut out);
                    }
                    out.push(byte);
                }
                b',' => {
                    out.push(byte);
                    self.line(&mut out);
                }
                b':' => out.extend(b": "),
                _ => {
                    if std::mem::take(&mut self.opened) {
                        self.line(&mut out);
                    }
                    out.push(byte);
                    self.in_text = byte == b'"';
                    if matches!(byte, b'{' | b'[') {
                        self.depth += 1;
                        self.opened = true;
                    }
                }
            }
        }
        out
    }

    fn line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 2 * self.depth));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn json_in_any_pieces_comes_out_in_lines() {
        let value = json!({"a": [], "b": {}, "c": [1, "x\\\"{,:"], "d": {"e": [{"f": null}], "g": " "}});
        let (json, lines) = (value.to_string(), serde_json::to_string_pretty(&value).expect("encodes"));
        for size in 1..json.len() {
            let mut writer = Indenter::default();
            let written: Vec<u8> = json.as_bytes().chunks(size).flat_map(|piece| writer.write(piece)).collect();
            assert_eq!(String::from_utf8(written).expect("is text"), lines);
        }
        assert_eq!(serde_json::from_str::<Value>(&lines).expect("is JSON"), value);
    }

    #[test]
    fn people_are_known_by_what_they_use_unless_they_say_otherwise() {
        let asked = |uri: &str, agent: &'static str| {
            let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(agent))]);
            is_asked(&uri.parse().expect("is a path"), &headers)
        };
        assert!(asked("/api/v1/pods", "curl/8.0"));
        assert!(!asked("/api/v1/pods?pretty=false", "curl/8.0"));
        assert!(asked("/api/v1/pods?limit=1&pretty=true", "kubectl/v1.36"));
        assert!(!asked("/api/v1/pods", "kubectl/v1.36"));
    }
}
