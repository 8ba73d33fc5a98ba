//! Approves client certificates of nodes for those who may ask for them unseen: a node that renews its own
//! (`certificatesigningrequests/selfnodeclient`), or whoever brings up new nodes (`…/nodeclient`); and certificates by which
//! a node serves under its own name (docs/decisions/0041-joining-by-token.md).

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use mizzen_api::Object;
use mizzen_api::x509::CertificateRequest;
use mizzen_reconcile::{Error, typed};

use super::{Certificates, KUBELET_CLIENT, KUBELET_SERVING, checks, say};

/// The subresources that stand for the right, and what is said of a request that was approved for it.
const SELF: (&str, &str) = ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.");
const SERVING: &str = "Auto approving kubelet serving certificate for the node's own name.";
const ANY: (&str, &str) = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.");

impl Certificates {
    pub(super) async fn approve(&self, stored: &Object, request: &CertificateSigningRequest) -> Result<(), Error> {
        if serves_as_itself(request, &self.reserved) {
            return self.say_approved(stored, SERVING).await;
        }
        for (subresource, message) in recognized(request) {
            if self.may_ask(request, subresource).await? {
                return self.say_approved(stored, message).await;
            }
        }
        Ok(())
    }

    async fn say_approved(&self, stored: &Object, message: &str) -> Result<(), Error> {
        let now = self.clock.now();
        let change = |document: &mut serde_json::Value| say(document, ("Approved", "AutoApproved", message), now);
        typed::update_at::<CertificateSigningRequest>(self.client.as_ref(), stored, "approval", change).await.map(drop)
    }

    async fn may_ask(&self, request: &CertificateSigningRequest, subresource: &str) -> Result<bool, Error> {
        let spec = &request.spec;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".to_owned()),
                    resource: Some("certificatesigningrequests".to_owned()),
                    verb: Some("create".to_owned()),
                    subresource: Some(subresource.to_owned()),
                    version: Some("*".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = typed::create(self.client.as_ref(), "", &review).await?;
        let answer = typed::view::<SubjectAccessReview>(&answer)?;
        Ok(answer.status.as_ref().is_some_and(|status| status.allowed))
    }
}

/// What a request may be, in the order in which rights are looked at.
fn recognized(request: &CertificateSigningRequest) -> Vec<(&'static str, &'static str)> {
    let spec = &request.spec;
    let Ok(parsed) = CertificateRequest::from_pem(&spec.request.0) else { return Vec::new() };
    let usages = spec.usages.as_deref().unwrap_or_default();
    if spec.signer_name != KUBELET_CLIENT || checks::kubelet_client(&parsed, usages).is_err() {
        return Vec::new();
    }
    let own = spec.username.as_ref() == Some(&parsed.subject.common_name);
    if own { vec![SELF, ANY] } else { vec![ANY] }
}

/// Whether a node asks for itself, under its name and nothing else. An address is for people to approve: a node tells its
/// addresses itself, and could tell the API server's. So are names that the API server has.
fn serves_as_itself(request: &CertificateSigningRequest, reserved: &[String]) -> bool {
    let spec = &request.spec;
    if spec.signer_name != KUBELET_SERVING {
        return false;
    }
    let Ok(parsed) = CertificateRequest::from_pem(&spec.request.0) else { return false };
    if checks::kubelet_serving(&parsed, spec.usages.as_deref().unwrap_or_default()).is_err() {
        return false;
    }
    let is_node = spec.groups.iter().flatten().any(|group| group == checks::NODES);
    let is_own = spec.username.as_ref() == Some(&parsed.subject.common_name);
    let node = parsed.subject.common_name.strip_prefix(checks::NODE).unwrap_or_default();
    let is_name = parsed.dns_names == [node] && parsed.ip_addresses.is_empty();
    is_node && is_own && is_name && !reserved.iter().any(|name| name.eq_ignore_ascii_case(node))
}
