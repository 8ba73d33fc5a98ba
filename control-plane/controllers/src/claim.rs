//! Whether an object belongs to a controller: by its controller reference, and where it has none, by its labels.

use std::collections::BTreeMap;

use mizzen_api::OwnerReference;
use mizzen_api::selector::LabelSelector;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Mine,
    /// It has no controller and matches: take it.
    Adopt,
    /// It is ours but matches no longer: let it go.
    Release,
    NotMine,
}

/// The claim of the owner with `uid` on an object. An owner on its way out takes and releases nothing.
pub(crate) fn claim(
    uid: &str,
    owner_terminating: bool,
    selector: &LabelSelector,
    labels: &BTreeMap<String, String>,
    controller: Option<&OwnerReference>,
    terminating: bool,
) -> Claim {
    let matches = selector.matches(labels);
    match controller {
        Some(owner) if owner.uid != uid => Claim::NotMine,
        Some(_) if matches || owner_terminating => Claim::Mine,
        Some(_) => Claim::Release,
        None if matches && !owner_terminating && !terminating => Claim::Adopt,
        None => Claim::NotMine,
    }
}

/// The controller reference that makes `owner` the controller.
pub(crate) fn controller_reference(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true, "blockOwnerDeletion": true})
}

/// A strategic merge patch that adopts the object with `object_uid` (the uid guards against a namesake).
pub(crate) fn adoption(reference: &Value, object_uid: &str) -> Value {
    json!({"metadata": {"ownerReferences": [reference], "uid": object_uid}})
}

/// A strategic merge patch that releases the object with `object_uid` from the owner with `owner_uid`.
pub(crate) fn release(owner_uid: &str, object_uid: &str) -> Value {
    json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": owner_uid}], "uid": object_uid}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_claimed_by_controller_first_and_by_labels_second() {
        let selector = LabelSelector::parse("app=web").expect("parses");
        let owner = |uid: &str| OwnerReference { uid: uid.into(), controller: Some(true), ..OwnerReference::default() };
        let (web, other) = (BTreeMap::from([("app".into(), "web".into())]), BTreeMap::new());
        for (labels, controller, owner_terminating, terminating, expected) in [
            (&web, Some(owner("me")), false, false, Claim::Mine),
            (&web, Some(owner("me")), true, true, Claim::Mine),
            (&other, Some(owner("me")), false, false, Claim::Release),
            (&other, Some(owner("me")), true, false, Claim::Mine),
            (&web, Some(owner("you")), false, false, Claim::NotMine),
            (&web, None, false, false, Claim::Adopt),
            (&web, None, true, false, Claim::NotMine),
            (&web, None, false, true, Claim::NotMine),
            (&other, None, false, false, Claim::NotMine),
        ] {
            let got = claim("me", owner_terminating, &selector, labels, controller.as_ref(), terminating);
            assert_eq!(got, expected, "{labels:?} {controller:?} {owner_terminating} {terminating}");
        }
    }
}
