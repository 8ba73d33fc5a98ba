//! What volumes have and what claims want of them: binding and scheduling are to find the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;

use crate::{LabelSelector, Quantity};

/// Annotation of volumes and claims: the older way to name a class, which goes before the field.
pub const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// The class that a volume or claim names; empty where it names none.
pub fn class_of(annotations: Option<&BTreeMap<String, String>>, named: Option<String>) -> String {
    let annotated = annotations.and_then(|all| all.get(CLASS_ANNOTATION)).filter(|class| !class.is_empty());
    annotated.cloned().or(named).unwrap_or_default()
}

/// What volumes have and claims want alike.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kind {
    class: String,
    attributes_class: String,
    mode: String,
}

/// What a PersistentVolume has.
#[derive(Clone, Debug, Default)]
pub struct Offered {
    kind: Kind,
    access: Vec<String>,
    capacity: Option<Quantity>,
    labels: Arc<BTreeMap<String, String>>,
}

/// What a PersistentVolumeClaim wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    kind: Kind,
    access: Vec<String>,
    request: Option<Quantity>,
    selector: LabelSelector,
}

/// Why a volume is not what a claim wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("requested PV is too small")]
    Capacity,
    #[error("storageClassName does not match")]
    Class,
    #[error("incompatible volumeMode")]
    Mode,
    #[error("incompatible accessMode")]
    Access,
}

impl Offered {
    /// `labels` are those of the volume, which its holder shares.
    pub fn of(volume: &PersistentVolume, labels: Arc<BTreeMap<String, String>>) -> Self {
        let spec = volume.spec.as_ref();
        let kind = Kind {
            class: class_of(volume.metadata.annotations.as_ref(), spec.and_then(|spec| spec.storage_class_name.clone())),
            attributes_class: spec.and_then(|spec| spec.volume_attributes_class_name.clone()).unwrap_or_default(),
            mode: mode(spec.and_then(|spec| spec.volume_mode.clone())),
        };
        let access = spec.and_then(|spec| spec.access_modes.clone()).unwrap_or_default();
        Self { kind, access, capacity: storage(spec.and_then(|spec| spec.capacity.as_ref())), labels }
    }

    /// Whether a claim that names this volume can have it: selectors are for claims that name none.
    ///
    /// # Errors
    /// What does not match.
    pub fn check(&self, wanted: &Wanted) -> Result<(), Mismatch> {
        if !self.is_enough_for(wanted) {
            return Err(Mismatch::Capacity);
        }
        if self.kind.class != wanted.kind.class {
            return Err(Mismatch::Class);
        }
        if self.kind.mode != wanted.kind.mode {
            return Err(Mismatch::Mode);
        }
        let has_all = wanted.access.iter().all(|mode| self.access.contains(mode));
        has_all.then_some(()).ok_or(Mismatch::Access)
    }

    /// Whether a claim that names no volume can have this one.
    pub fn suits(&self, wanted: &Wanted) -> bool {
        self.check(wanted).is_ok()
            && self.kind.attributes_class == wanted.kind.attributes_class
            && wanted.selector.matches(&self.labels)
    }

    /// Whether a claim for which this volume is kept can have it.
    pub fn holds(&self, wanted: &Wanted) -> bool {
        self.is_enough_for(wanted) && self.kind.mode == wanted.kind.mode
    }

    fn is_enough_for(&self, wanted: &Wanted) -> bool {
        self.capacity >= wanted.request
    }

    pub fn capacity(&self) -> Option<Quantity> {
        self.capacity
    }
}

impl Wanted {
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        let spec = claim.spec.as_ref();
        let kind = Kind {
            class: class_of(claim.metadata.annotations.as_ref(), spec.and_then(|spec| spec.storage_class_name.clone())),
            attributes_class: spec.and_then(|spec| spec.volume_attributes_class_name.clone()).unwrap_or_default(),
            mode: mode(spec.and_then(|spec| spec.volume_mode.clone())),
        };
        // No selector is one that takes every volume; one that cannot be read takes none.
        let selector = match spec.and_then(|spec| spec.selector.as_ref()) {
            None => LabelSelector::everything(),
            Some(selector) => serde_json::to_value(selector)
                .ok()
                .and_then(|document| LabelSelector::from_document(Some(&document)).ok())
                .unwrap_or_else(LabelSelector::nothing),
        };
        Self {
            kind,
            access: spec.and_then(|spec| spec.access_modes.clone()).unwrap_or_default(),
            request: storage(spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref())),
            selector,
        }
    }

    /// Empty where none is named.
    pub fn class(&self) -> &str {
        &self.kind.class
    }
}

fn storage(amounts: Option<&BTreeMap<String, Amount>>) -> Option<Quantity> {
    amounts?.get("storage")?.0.parse().ok()
}

fn mode(named: Option<String>) -> String {
    named.unwrap_or_else(|| "Filesystem".to_owned())
}
