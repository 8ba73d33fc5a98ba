//! What the client wants an answer to look like.

use http::HeaderMap;
use http::header::ACCEPT;
use mizzen_api::{Reason, Status};

use crate::{cbor, protobuf};

/// How an answer is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Yaml,
    Protobuf,
    Cbor,
}

impl Format {
    /// For documents that have no message of their own.
    pub(super) fn without_protobuf(self) -> Self {
        if self == Self::Protobuf { Self::Json } else { self }
    }
}

/// The shape of objects in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    Table,
    PartialMetadata,
    PartialMetadataList,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) shape: Shape,
    pub(super) format: Format,
    /// Of `meta.k8s.io`, for every shape but the object's own: `v1` or `v1beta1`.
    pub(super) version: &'static str,
}

/// What the endpoint can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// One answer. `protobuf`: its kind has that encoding.
    Answer { protobuf: bool },
    /// What is answered and never stored, such as a review: it has no table.
    Review { protobuf: bool },
    /// A stream of events.
    Watch { protobuf: bool },
}

impl Endpoint {
    fn serves(self, format: Format) -> bool {
        match (self, format) {
            (Self::Answer { .. } | Self::Review { .. }, Format::Yaml) | (_, Format::Json | Format::Cbor) => true,
            (Self::Watch { .. }, Format::Yaml) => false,
            (Self::Answer { protobuf } | Self::Review { protobuf } | Self::Watch { protobuf }, Format::Protobuf) => protobuf,
        }
    }

    fn has_table(self) -> bool {
        !matches!(self, Self::Review { .. })
    }
}

/// The media type that the client likes best of those that are served (RFC 9110, section 12.5.1).
///
/// # Errors
/// `NotAcceptable` when none is.
pub(super) fn negotiate(headers: &HeaderMap, endpoint: Endpoint) -> Result<Accepted, Status> {
    let mut clauses: Vec<(f32, &str)> = Vec::new();
    for value in headers.get_all(ACCEPT) {
        let Ok(value) = value.to_str() else { continue };
        clauses
            .extend(value.split(',').map(str::trim).filter(|clause| !clause.is_empty()).map(|clause| (quality(clause), clause)));
    }
    if clauses.is_empty() {
        return Ok(Accepted { shape: Shape::Object, format: Format::Json, version: "v1" });
    }
    // Stable: of equally good ones the first counts.
    clauses.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    clauses.iter().find_map(|(_, clause)| clause_of(clause, endpoint)).ok_or_else(|| not_acceptable(endpoint))
}

fn not_acceptable(endpoint: Endpoint) -> Status {
    let types = match endpoint {
        Endpoint::Answer { protobuf: true } | Endpoint::Review { protobuf: true } => {
            vec!["application/json", "application/yaml", protobuf::MEDIA_TYPE, cbor::MEDIA_TYPE]
        }
        Endpoint::Answer { protobuf: false } | Endpoint::Review { protobuf: false } => {
            vec!["application/json", "application/yaml", cbor::MEDIA_TYPE]
        }
        Endpoint::Watch { protobuf } => {
            let mut types = vec!["application/json", "application/json;stream=watch"];
            if protobuf {
                types.push("application/vnd.kubernetes.protobuf;stream=watch");
            }
            types.push(cbor::SEQUENCE);
            types
        }
    };
    not_acceptable_because(format!("only the following media types are accepted: {}", types.join(", ")))
}

pub(super) fn not_acceptable_because(message: impl Into<String>) -> Status {
    Status::new(Reason::NotAcceptable, message)
}

fn quality(clause: &str) -> f32 {
    let weight = |part: &str| part.trim().strip_prefix("q=").and_then(|text| text.parse::<f32>().ok());
    clause.split(';').skip(1).find_map(weight).unwrap_or(1.0)
}

fn clause_of(clause: &str, endpoint: Endpoint) -> Option<Accepted> {
    let mut parts = clause.split(';').map(str::trim);
    let format = match parts.next()? {
        "application/json" | "*/*" | "application/*" => Format::Json,
        "application/yaml" => Format::Yaml,
        protobuf::MEDIA_TYPE => Format::Protobuf,
        cbor::MEDIA_TYPE => Format::Cbor,
        cbor::SEQUENCE if matches!(endpoint, Endpoint::Watch { .. }) => Format::Cbor,
        _ => return None,
    };
    let (mut kind, mut group, mut version) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => kind = value,
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            Some(("stream", value)) if value != "watch" || !matches!(endpoint, Endpoint::Watch { .. }) => return None,
            _ => {}
        }
    }
    if !endpoint.serves(format) {
        return None;
    }
    let version = match (kind, version) {
        ("", _) | (_, "v1") => "v1",
        (_, "v1beta1") => "v1beta1",
        _ => return None,
    };
    let shape = match (kind, group, format) {
        ("", ..) => Shape::Object,
        // A table has no message of its own.
        ("Table", "meta.k8s.io", Format::Json | Format::Yaml | Format::Cbor) if endpoint.has_table() => Shape::Table,
        ("PartialObjectMetadata", "meta.k8s.io", _) => Shape::PartialMetadata,
        ("PartialObjectMetadataList", "meta.k8s.io", _) => Shape::PartialMetadataList,
        _ => return None,
    };
    Some(Accepted { shape, format, version })
}

/// How a failure is told: as the client asks for answers, and JSON where that says nothing of use.
pub(super) fn for_status(headers: &HeaderMap) -> Format {
    negotiate(headers, Endpoint::Answer { protobuf: true }).map_or(Format::Json, |accepted| accepted.format)
}

/// The version in which the client asks for discovery in one document; of several it knows, the first.
pub(super) fn aggregated_discovery(headers: &HeaderMap) -> Option<&'static str> {
    let clauses = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    for clause in clauses {
        let mut parts = clause.split(';').map(str::trim);
        if !matches!(parts.next(), Some("application/json" | "*/*" | "application/*")) {
            continue;
        }
        // Other parameters (`profile`) say nothing here.
        let (mut kind, mut group, mut version) = ("", "", "");
        for part in parts {
            match part.split_once('=') {
                Some(("as", value)) => kind = value,
                Some(("g", value)) => group = value,
                Some(("v", value)) => version = value,
                _ => {}
            }
        }
        match (kind, group, version) {
            // The plain form is liked better than what may follow.
            ("", "", "") => return None,
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => return Some("v2"),
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => return Some("v2beta1"),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().expect("a header"));
        headers
    }

    fn of(accept: &str, endpoint: Endpoint) -> Result<(Shape, Format, &'static str), u16> {
        let accepted = negotiate(&headers(accept), endpoint).map_err(|status| status.code)?;
        Ok((accepted.shape, accepted.format, accepted.version))
    }

    const BUILTIN: Endpoint = Endpoint::Answer { protobuf: true };
    const CUSTOM: Endpoint = Endpoint::Answer { protobuf: false };
    const WATCH: Endpoint = Endpoint::Watch { protobuf: true };

    #[test]
    fn kubectl_gets_tables_and_others_get_objects() {
        let table =
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(of(table, BUILTIN), Ok((Shape::Table, Format::Json, "v1")));
        assert_eq!(of("application/json;as=Table;v=v1beta1;g=meta.k8s.io", BUILTIN), Ok((Shape::Table, Format::Json, "v1beta1")));
        assert_eq!(of("application/json;as=Table;v=v2;g=meta.k8s.io", BUILTIN), Err(406));
        assert_eq!(of("application/yaml", BUILTIN), Ok((Shape::Object, Format::Yaml, "v1")));
        assert_eq!(of("text/html", BUILTIN), Err(406));
    }

    #[test]
    fn a_review_has_no_table() {
        let review = Endpoint::Review { protobuf: true };
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(of(table, review), Err(406));
        assert_eq!(of(&format!("{table},application/json"), review), Ok((Shape::Object, Format::Json, "v1")));
    }

    #[test]
    fn protobuf_is_for_kinds_that_have_it() {
        let client_go = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(of(client_go, BUILTIN), Ok((Shape::Object, Format::Protobuf, "v1")));
        assert_eq!(of(client_go, CUSTOM), Ok((Shape::Object, Format::Json, "v1")));
        assert_eq!(of("application/vnd.kubernetes.protobuf", CUSTOM), Err(406));
        assert_eq!(of("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", BUILTIN), Err(406));
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        assert_eq!(of(metadata, BUILTIN), Ok((Shape::PartialMetadata, Format::Protobuf, "v1")));
    }

    #[test]
    fn the_best_liked_type_comes_first() {
        let weighed = "application/json;q=0.5, application/yaml;q=0.9, text/html";
        assert_eq!(of(weighed, BUILTIN), Ok((Shape::Object, Format::Yaml, "v1")));
    }

    #[test]
    fn clients_that_ask_for_cbor_get_it() {
        assert_eq!(of("application/cbor,application/json;q=0.9", CUSTOM), Ok((Shape::Object, Format::Cbor, "v1")));
        assert_eq!(of("application/cbor;as=Table;v=v1;g=meta.k8s.io", BUILTIN), Ok((Shape::Table, Format::Cbor, "v1")));
        assert_eq!(of("application/cbor-seq", WATCH), Ok((Shape::Object, Format::Cbor, "v1")));
        assert_eq!(of("application/cbor", WATCH), Ok((Shape::Object, Format::Cbor, "v1")));
        assert_eq!(of("application/cbor-seq", BUILTIN), Err(406));
    }

    #[test]
    fn streams_are_for_watches() {
        let stream = "application/vnd.kubernetes.protobuf;stream=watch";
        assert_eq!(of(stream, WATCH), Ok((Shape::Object, Format::Protobuf, "v1")));
        assert_eq!(of(stream, BUILTIN), Err(406));
        assert_eq!(of("application/yaml", WATCH), Err(406));
    }

    #[test]
    fn discovery_comes_in_the_version_that_is_asked_first() {
        let of = |accept: &str| aggregated_discovery(&headers(accept));
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        assert_eq!(of(&format!("{v2},{beta},application/json")), Some("v2"));
        assert_eq!(of(&format!("{v2};profile=nopeer,{v2},application/json")), Some("v2"));
        assert_eq!(of(&format!("{beta},application/json")), Some("v2beta1"));
        assert_eq!(of("application/json"), None);
        assert_eq!(of("*/*"), None);
    }
}
