//! What the policy's host can find out for it beyond the cluster's objects.

use std::error::Error;

use kubewarden_policy_sdk::host_capabilities::kubernetes::{CanIRequest, ResourceAttributes, SubjectAccessReview, can_i};
use kubewarden_policy_sdk::host_capabilities::net::lookup_host;
use kubewarden_policy_sdk::host_capabilities::oci::get_manifest_digest;

use crate::policy::Outside;

/// All that is known, in one line.
pub fn known(about: &Outside) -> Result<String, Box<dyn Error + Send + Sync>> {
    let resource_attributes = ResourceAttributes {
        verb: "create".to_owned(),
        resource: "pods".to_owned(),
        namespace: Some("default".to_owned()),
        ..ResourceAttributes::default()
    };
    let subject_access_review = SubjectAccessReview { user: about.user.clone(), resource_attributes, groups: None };
    let allowed = can_i(CanIRequest { subject_access_review, disable_cache: true })?.allowed;
    let addresses = lookup_host(&about.host)?.ips.join(" ");
    let digest = get_manifest_digest(&about.image)?.digest;
    Ok(format!("{} may create pods: {allowed}; {} is at {addresses}; {} is {digest}", about.user, about.host, about.image))
}
