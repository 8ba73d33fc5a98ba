//! Signs what is approved.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use mizzen_api::Object;
use mizzen_api::x509::CertificateRequest;
use mizzen_reconcile::{Error, typed};
use serde_json::json;

use super::{CLIENT, Certificates, KUBELET_CLIENT, KUBELET_SERVING, LEGACY, checks, say};

/// Nobody gets a certificate for less by asking for less.
const SHORTEST: SignedDuration = SignedDuration::from_mins(10);

impl Certificates {
    pub(super) async fn sign(&self, stored: &Object, request: &CertificateSigningRequest) -> Result<(), Error> {
        let (spec, name) = (&request.spec, &stored.head().name);
        let usages = spec.usages.as_deref().unwrap_or_default();
        let failed = |why: String| Error::Other(format!("sign certificate signing request {name}: {why}"));
        let parsed = CertificateRequest::from_pem(&spec.request.0).map_err(|error| failed(error.to_string()))?;
        let now = self.clock.now();
        let checked = match spec.signer_name.as_str() {
            KUBELET_CLIENT => checks::kubelet_client(&parsed, usages),
            KUBELET_SERVING => checks::kubelet_serving(&parsed, usages),
            CLIENT => checks::client(usages),
            LEGACY => Ok(()),
            // Another signer's.
            _ => return Ok(()),
        };
        if let Err(why) = checked {
            let change = |document: &mut serde_json::Value| say(document, ("Failed", "SignerValidationFailure", &why), now);
            typed::update_at::<CertificateSigningRequest>(self.client.as_ref(), stored, "status", change).await?;
            return Ok(());
        }
        let pem = (self.sign)(&parsed, usages, lifetime(spec.expiration_seconds, self.longest), now).map_err(failed)?;
        let change = |document: &mut serde_json::Value| document["status"]["certificate"] = json!(STANDARD.encode(pem));
        typed::update_at::<CertificateSigningRequest>(self.client.as_ref(), stored, "status", change).await?;
        Ok(())
    }
}

/// As long as was asked, within bounds; a cluster whose longest is short gives that.
fn lifetime(asked: Option<i32>, longest: SignedDuration) -> SignedDuration {
    asked.map_or(longest, |seconds| SignedDuration::from_secs(seconds.into()).max(SHORTEST).min(longest))
}
