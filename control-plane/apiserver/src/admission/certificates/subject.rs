//! CertificateSubjectRestriction: no certificate makes its holder a member of the group that may do everything.

use async_trait::async_trait;
use mizzen_api::x509::CertificateRequest;
use mizzen_api::{Status, validate};
use serde_json::Value;

use super::super::{Attributes, Plugin};

pub(in crate::admission) struct CertificateSubject;

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
const MASTERS: &str = "system:masters";

#[async_trait]
impl Plugin for CertificateSubject {
    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(request) = object.filter(|object| super::is_created(attributes) && super::signer_name(object) == SIGNER) else {
            return Ok(());
        };
        let pem = request.pointer("/spec/request").and_then(Value::as_str).unwrap_or_default();
        let pem = validate::base64(pem).map_err(|_| attributes.forbid("unable to parse csr: not base64"))?;
        let parsed = CertificateRequest::from_pem(&pem);
        let parsed = parsed.map_err(|why| attributes.forbid(&format!("unable to parse csr: {why}")))?;
        if parsed.subject.organizations.iter().any(|organization| organization == MASTERS) {
            return Err(attributes.forbid(&format!("use of {SIGNER} signer with {MASTERS} group is not allowed")));
        }
        Ok(())
    }
}
