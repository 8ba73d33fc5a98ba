//! Certificates of a node by CertificateSigningRequest, as the kubelet asks for them ("TLS bootstrapping" in the Kubernetes
//! documents).

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mizzen_api::Reason;
use mizzen_apiserver::auth::certificates::{NODE_GROUP, NODE_USER, PemPair};
use mizzen_client::Client;
use mizzen_reconcile::{Backoff, typed};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

/// Between two looks at a request.
const LOOK: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// After so many looks people are told, who may have to approve it.
const TELL_AFTER: u32 = 6;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be the node at the API server.
    Client,
    /// To serve the node's own API.
    Serving,
}

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("make a certificate signing request for {node}: {source}")]
    Make {
        node: String,
        #[source]
        source: rcgen::Error,
    },
    #[error("ask for a certificate: {0}")]
    Api(#[from] mizzen_reconcile::Error),
    #[error("the certificate signing request {name} was denied or failed: {why}")]
    Refused { name: String, why: String },
    #[error("the certificate of the request {name} is no PEM text")]
    Answer { name: String },
}

impl Purpose {
    fn signer(self) -> &'static str {
        match self {
            Self::Client => "kubernetes.io/kube-apiserver-client-kubelet",
            Self::Serving => "kubernetes.io/kubelet-serving",
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Self::Client => "client auth",
            Self::Serving => "server auth",
        }
    }
}

/// Asks for a certificate with a new key until there is one; `say` is told while it waits for approval.
///
/// # Errors
/// When somebody refused it, or the API refuses the request. A server that is away is waited for.
pub async fn obtain(
    client: &dyn Client,
    node: &str,
    purpose: Purpose,
    mut say: impl FnMut(&str),
) -> Result<PemPair, RequestError> {
    let made = |source| RequestError::Make { node: node.to_owned(), source };
    let key = KeyPair::generate().map_err(made)?;
    let names = if purpose == Purpose::Serving { vec![node.to_owned()] } else { Vec::new() };
    let mut params = CertificateParams::new(names).map_err(made)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, NODE_GROUP);
    params.distinguished_name.push(DnType::CommonName, format!("{NODE_USER}{node}"));
    let pem = params.serialize_request(&key).and_then(|request| request.pem()).map_err(made)?;
    let request = CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some("csr-".to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(pem.into_bytes()),
            signer_name: purpose.signer().to_owned(),
            usages: Some(vec!["digital signature".to_owned(), purpose.usage().to_owned()]),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    loop {
        let created = again(|| typed::create(client, "", &request)).await?;
        if let Some(certificate) = answered(client, &created.head().name, &mut say).await? {
            return Ok(PemPair { certificate, key: key.serialize_pem() });
        }
        // Requests that nobody has looked at for a day are removed.
    }
}

/// The certificate; `None` when the request is gone.
async fn answered(client: &dyn Client, name: &str, mut say: impl FnMut(&str)) -> Result<Option<String>, RequestError> {
    for looks in 0.. {
        let Some(request) = again(|| typed::get::<CertificateSigningRequest>(client, "", name)).await? else { return Ok(None) };
        let status = request.status.clone().unwrap_or_default();
        let refused = status.conditions.iter().flatten().find(|condition| matches!(&*condition.type_, "Denied" | "Failed"));
        if let Some(refused) = refused {
            let why = refused.message.clone().or_else(|| refused.reason.clone()).unwrap_or_else(|| refused.type_.clone());
            return Err(RequestError::Refused { name: name.to_owned(), why });
        }
        if let Some(certificate) = status.certificate.filter(|certificate| !certificate.0.is_empty()) {
            let text = String::from_utf8(certificate.0);
            return text.map(Some).map_err(|_| RequestError::Answer { name: name.to_owned() });
        }
        if looks == TELL_AFTER {
            say(&format!("the certificate signing request {name} is not approved yet (`kubectl certificate approve {name}`)"));
        }
        tokio::time::sleep(LOOK.delay(looks)).await;
    }
    Ok(None)
}

/// Tries again while the server is away.
async fn again<T>(attempt: impl AsyncFn() -> Result<T, mizzen_reconcile::Error>) -> Result<T, mizzen_reconcile::Error> {
    let mut failures = 0;
    loop {
        match attempt().await {
            Err(error) if is_passing(&error) => {
                tokio::time::sleep(LOOK.delay(failures)).await;
                failures += 1;
            }
            answer => return answer,
        }
    }
}

fn is_passing(error: &mizzen_reconcile::Error) -> bool {
    [Reason::ServiceUnavailable, Reason::Timeout, Reason::TooManyRequests].into_iter().any(|reason| error.is(reason))
}
