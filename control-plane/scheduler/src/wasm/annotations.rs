//! Annotations, which only plugins look at: they are read from the object when one does, since they may be most of it.

use std::collections::BTreeMap;

use mizzen_api::Object;
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotated {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    annotations: Option<BTreeMap<String, String>>,
}

/// None where there is no object.
pub(super) fn of(object: Option<&Object>) -> BTreeMap<String, String> {
    let annotated = object.and_then(|object| object.decode::<Annotated>().ok());
    annotated.and_then(|object| object.metadata.annotations).unwrap_or_default()
}
