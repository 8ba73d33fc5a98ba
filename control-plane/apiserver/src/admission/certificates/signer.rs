//! CertificateApproval and CertificateSigning: to decide about a request, or to sign it, takes a right on its signer.

use async_trait::async_trait;
use mizzen_api::Status;
use serde_json::Value;

use super::super::{Attributes, Plugin};
use crate::auth::{Action, Decision};

pub(in crate::admission) struct CertificateSigner;

#[async_trait]
impl Plugin for CertificateSigner {
    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&Value>) -> Result<(), Status> {
        let (Some(object), Some(old)) = (object, attributes.old) else { return Ok(()) };
        let verb = if super::is_updated(attributes, "approval") {
            "approve"
        } else if super::is_updated(attributes, "status") && signs(object, old) {
            "sign"
        } else {
            return Ok(());
        };
        let signer = super::signer_name(old);
        if may(attributes, verb, signer) {
            return Ok(());
        }
        Err(attributes.forbid(&format!("user not permitted to {verb} requests with signerName {signer:?}")))
    }
}

/// Whether a certificate, or why there is none, is being said.
fn signs(object: &Value, old: &Value) -> bool {
    ["/status/certificate", "/status/conditions"].iter().any(|field| object.pointer(field) != old.pointer(field))
}

/// On the signer itself, or on all signers of its domain.
fn may(attributes: &Attributes<'_>, verb: &str, signer: &str) -> bool {
    let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    [signer, domain.as_str()].iter().any(|name| {
        let action =
            Action::Resource { verb, group: "certificates.k8s.io", resource: "signers", subresource: "", namespace: "", name };
        matches!(attributes.authorizer.authorize(attributes.identity, &action), Decision::Allow { .. })
    })
}
