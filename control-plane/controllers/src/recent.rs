//! What the controllers keep once of parts that many objects have in common.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Toleration;
use mizzen_api::OwnerReference;
use mizzen_api::recent::Recent;

thread_local! {
    static OWNERS: Recent<OwnerReference> = const { Recent::new() };
    static TOLERATIONS: Recent<[Toleration]> = const { Recent::new() };
}

/// `owner`, or what is equal to it and known already.
pub(crate) fn owner(owner: OwnerReference) -> Arc<OwnerReference> {
    Recent::share(&OWNERS, owner)
}

/// `tolerations`, or what is equal to them and known already.
pub(crate) fn tolerations(tolerations: Vec<Toleration>) -> Arc<[Toleration]> {
    Recent::share(&TOLERATIONS, tolerations)
}
