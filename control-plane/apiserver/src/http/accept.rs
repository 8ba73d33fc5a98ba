//! What the client wants an answer to look like.

use http::HeaderMap;
use http::header::ACCEPT;
use mizzen_api::{Reason, Status};

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
    pub(super) yaml: bool,
}

/// The first media type of `Accept` that is served.
///
/// # Errors
/// `NotAcceptable` when none is.
pub(super) fn negotiate(headers: &HeaderMap) -> Result<Accepted, Status> {
    let plain = Accepted { shape: Shape::Object, yaml: false };
    let mut given = false;
    for value in headers.get_all(ACCEPT) {
        let Ok(value) = value.to_str() else { continue };
        for clause in value.split(',').map(str::trim).filter(|clause| !clause.is_empty()) {
            given = true;
            if let Some(accepted) = clause_of(clause) {
                return Ok(accepted);
            }
        }
    }
    if given {
        Err(Status::new(
            Reason::NotAcceptable,
            "only the following media types are accepted: application/json, application/yaml, application/json;as=Table;v=v1;g=meta.k8s.io",
        ))
    } else {
        Ok(plain)
    }
}

fn clause_of(clause: &str) -> Option<Accepted> {
    let mut parts = clause.split(';').map(str::trim);
    let media = parts.next()?;
    let yaml = match media {
        "application/json" | "*/*" | "application/*" => false,
        "application/yaml" => true,
        _ => return None,
    };
    let (mut kind, mut group, mut version) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => kind = value,
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            _ => {}
        }
    }
    let shape = match (kind, group, version) {
        ("", ..) => Shape::Object,
        ("Table", "meta.k8s.io", "v1" | "v1beta1") => Shape::Table,
        ("PartialObjectMetadata", "meta.k8s.io", "v1") => Shape::PartialMetadata,
        ("PartialObjectMetadataList", "meta.k8s.io", "v1") => Shape::PartialMetadataList,
        _ => return None,
    };
    Some(Accepted { shape, yaml })
}

/// Whether the client asks for discovery in one document, and in which version.
pub(super) fn aggregated_discovery(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|clause| {
        clause.contains("as=APIGroupDiscoveryList")
            && clause.contains("g=apidiscovery.k8s.io")
            && clause.split(';').any(|part| part.trim() == "v=v2")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &str) -> Result<Accepted, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().expect("a header"));
        negotiate(&headers).map_err(|status| status.code)
    }

    #[test]
    fn kubectl_gets_tables_and_others_get_objects() {
        let table =
            of("application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json");
        assert_eq!(table, Ok(Accepted { shape: Shape::Table, yaml: false }));
        assert_eq!(of("application/vnd.kubernetes.protobuf, application/json").map(|accepted| accepted.shape), Ok(Shape::Object));
        assert_eq!(of("application/vnd.kubernetes.protobuf"), Err(406));
        assert_eq!(of("application/yaml").map(|accepted| accepted.yaml), Ok(true));
    }
}
