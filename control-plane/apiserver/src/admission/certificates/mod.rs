//! Certificate signing requests: who asked, who may approve and sign them, and what none may ask for.

mod conditions;
mod requestor;
mod signer;
mod subject;

pub(super) use conditions::CertificateConditions;
pub(super) use requestor::CertificateRequestor;
pub(super) use signer::CertificateSigner;
pub(super) use subject::CertificateSubject;

use serde_json::Value;

use super::{Attributes, Operation};

fn is_request(attributes: &Attributes<'_>) -> bool {
    (attributes.group(), attributes.resource()) == ("certificates.k8s.io", "certificatesigningrequests")
}

fn is_created(attributes: &Attributes<'_>) -> bool {
    is_request(attributes) && attributes.operation == Operation::Create && attributes.subresource().is_empty()
}

fn is_updated(attributes: &Attributes<'_>, subresource: &str) -> bool {
    is_request(attributes) && attributes.operation == Operation::Update && attributes.subresource() == subresource
}

fn signer_name(request: &Value) -> &str {
    request.pointer("/spec/signerName").and_then(Value::as_str).unwrap_or_default()
}
