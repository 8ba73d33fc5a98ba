//! Large answers are compressed for who accepts it; small ones are not worth the time.

use std::io::Write as _;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt as _;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, VARY};
use http_body::Body as _;

/// Bytes; what Kubernetes compresses from.
const THRESHOLD: u64 = 128 * 1024;

pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
        |clause| {
            let mut parts = clause.split(';').map(str::trim);
            parts.next() == Some("gzip") && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        },
    )
}

/// The same answer, compressed if it is large. Streams have no length, and stay as they are.
pub(super) fn compressed(response: Response) -> Response {
    let large = response.body().size_hint().exact().is_some_and(|length| length > THRESHOLD);
    if !large || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    let state = Some((body.into_data_stream(), GzEncoder::new(Vec::new(), Compression::fast())));
    let chunks = futures::stream::unfold(state, |state| async move {
        let (mut input, mut encoder) = state?;
        loop {
            match input.next().await {
                Some(Ok(chunk)) => {
                    // Writing into a Vec cannot fail.
                    let _ = encoder.write_all(&chunk);
                    let ready = std::mem::take(encoder.get_mut());
                    if !ready.is_empty() {
                        return Some((Ok(Bytes::from(ready)), Some((input, encoder))));
                    }
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None => return Some((encoder.finish().map(Bytes::from).map_err(axum::Error::new), None)),
            }
        }
    });
    Response::from_parts(parts, Body::from_stream(chunks))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[tokio::test]
    async fn only_large_answers_are_compressed() {
        let large = "0123456789".repeat(50_000);
        let response = compressed(Response::new(Body::from(large.clone())));
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        assert!(bytes.len() < large.len() / 10);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, large);
        let small = compressed(Response::new(Body::from("x".repeat(1000))));
        assert!(!small.headers().contains_key(CONTENT_ENCODING));
    }

    #[test]
    fn a_client_can_refuse_it() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, text.parse().expect("a header"));
            is_accepted(&headers)
        };
        assert!(of("gzip") && of("deflate, gzip;q=0.5"));
        assert!(!of("identity") && !of("gzip;q=0"));
    }
}
