//! The service behind one or several group versions: where it is reached now, and the connections to it that are kept.

use arc_swap::ArcSwap;
use mizzen_api::Status;
use mizzen_api::api_services::Availability;
use mizzen_store::Store;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

use super::fetch::Known;
use super::resolve::Found;
use crate::proxy::{self, Connections, Shown, Tls};
use crate::roots::Roots;

/// What an APIService names. Equal claims have one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) service: ServiceKey,
    /// `spec.caBundle`, as it stands there.
    pub(super) bundle: String,
    /// `spec.insecureSkipTLSVerify`.
    pub(super) is_insecure: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceKey {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) port: u16,
}

/// Who answers for a claim.
pub(super) struct Backend {
    pub(super) claim: Claim,
    /// Or why there can be none.
    pub(super) connections: Result<Connections, String>,
    resolved: ArcSwap<Resolved>,
    /// What the server said of itself last.
    pub(super) known: Known,
}

/// The service and its endpoints, as the store had them.
struct Resolved {
    /// `HOST:PORT` of each that answers.
    authorities: Result<Vec<String>, Status>,
    /// What is missing before anybody can be asked.
    lacks: Option<Availability>,
}

impl Resolved {
    fn read(store: &dyn Store, key: &ServiceKey) -> Self {
        match Found::read(store, key) {
            Ok(found) => Self { authorities: found.authorities(key), lacks: found.lacks(key) },
            Err(status) => {
                let message = format!("service/{} in {:?} cannot be checked due to: {status}", key.name, key.namespace);
                let lacks = Availability { status: "Unknown", reason: "ServiceAccessError", message };
                Self { authorities: Err(status), lacks: Some(lacks) }
            }
        }
    }
}

impl Backend {
    pub(super) fn new(claim: Claim, shown: Option<&Shown>, store: &dyn Store) -> Self {
        Self {
            connections: tls(&claim, shown).map(Connections::new),
            resolved: ArcSwap::from_pointee(Resolved::read(store, &claim.service)),
            known: Known::default(),
            claim,
        }
    }

    /// Takes over where the service is reached. Only who follows the store calls this, one change after the other.
    pub(super) fn resolve(&self, store: &dyn Store) {
        self.resolved.store(Resolved::read(store, &self.claim.service).into());
    }

    /// `HOST:PORT` of one that answers.
    ///
    /// # Errors
    /// `ServiceUnavailable` when there is none.
    pub(super) fn authority(&self) -> Result<String, Status> {
        let resolved = self.resolved.load();
        let authorities = resolved.authorities.as_ref().map_err(Status::clone)?;
        Ok(authorities[rand::random::<u32>() as usize % authorities.len()].clone())
    }

    /// What is missing before anybody can be asked.
    pub(super) fn lacks(&self) -> Option<Availability> {
        self.resolved.load().lacks.clone()
    }
}

fn tls(claim: &Claim, shown: Option<&Shown>) -> Result<Tls, String> {
    let name = format!("{}.{}.svc", claim.service.name, claim.service.namespace);
    let name = ServerName::try_from(name.clone()).map_err(|error| format!("the name {name:?}: {error}"))?;
    let config = match claim.is_insecure {
        true => proxy::anybody(shown),
        false => {
            let pem =
                mizzen_api::validate::base64(&claim.bundle).map_err(|at| format!("the caBundle is no base64 at byte {at}"))?;
            let mut roots = if claim.bundle.is_empty() { Roots::of_the_machine() } else { Roots::empty() };
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| format!("the caBundle is no PEM: {error}"))?;
                roots.add(certificate).map_err(|error| format!("a certificate of the caBundle: {error}"))?;
            }
            proxy::roots(roots, shown)
        }
    };
    Ok(Tls { config: config.map_err(|error| error.to_string())?, name: Some(name) })
}
