//! What volumes and claims say of their storage class.

use std::collections::BTreeMap;

/// Annotation of volumes and claims: the older way to name a class, which goes before the field.
pub const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// The class that a volume or claim names; empty where it names none.
pub fn class_of(annotations: Option<&BTreeMap<String, String>>, named: Option<String>) -> String {
    let annotated = annotations.and_then(|all| all.get(CLASS_ANNOTATION)).filter(|class| !class.is_empty());
    annotated.cloned().or(named).unwrap_or_default()
}
