//! One APIService that names a service.

use mizzen_api::Object;
use mizzen_api::api_services::{self, Priority};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;

use crate::proxy::{self, Shown, Tls};

/// Who answers for a group version, and how they are spoken to.
pub(crate) struct Remote {
    pub(crate) name: String,
    /// Of the APIService.
    pub(super) revision: u64,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(super) priority: Priority,
    pub(super) service: ServiceKey,
    /// The last check of the server went well.
    pub(super) is_available: bool,
    /// Or why there can be no connection.
    pub(super) tls: Result<Tls, String>,
}

/// Several group versions often have one service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ServiceKey {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) port: u16,
}

const DEFAULT_PORT: u16 = 443;

impl Remote {
    /// `None` for an APIService that is local.
    pub(super) fn read(object: &Object, shown: Option<&Shown>) -> Option<Self> {
        let value = object.value().ok()?;
        if api_services::is_local(&value) {
            return None;
        }
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
        let port = value.pointer("/spec/service/port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let service = ServiceKey {
            namespace: text("/spec/service/namespace"),
            name: text("/spec/service/name"),
            port: port.unwrap_or(DEFAULT_PORT),
        };
        let is_insecure = value.pointer("/spec/insecureSkipTLSVerify").and_then(Value::as_bool).unwrap_or(false);
        Some(Self {
            name: object.head().name.clone(),
            revision: object.revision(),
            group: text("/spec/group"),
            version: text("/spec/version"),
            priority: Priority { group: number("/spec/groupPriorityMinimum"), version: number("/spec/versionPriority") },
            tls: tls(&service, &text("/spec/caBundle"), is_insecure, shown),
            service,
            is_available: api_services::available(&value).is_some_and(|condition| condition["status"] == "True"),
        })
    }

    /// The path that lists the version's resources.
    pub(super) fn path(&self) -> String {
        match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }
}

fn tls(service: &ServiceKey, bundle: &str, is_insecure: bool, shown: Option<&Shown>) -> Result<Tls, String> {
    let name = format!("{}.{}.svc", service.name, service.namespace);
    let name = ServerName::try_from(name.clone()).map_err(|error| format!("the name {name:?}: {error}"))?;
    let config = match is_insecure {
        true => proxy::anybody(shown),
        false => {
            let pem = mizzen_api::validate::base64(bundle).map_err(|at| format!("the caBundle is no base64 at byte {at}"))?;
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| format!("the caBundle is no PEM: {error}"))?;
                roots.add(certificate).map_err(|error| format!("a certificate of the caBundle: {error}"))?;
            }
            proxy::roots(roots, shown)
        }
    };
    Ok(Tls { config: config.map_err(|error| error.to_string())?, name: Some(name) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(spec: Value) -> Option<Remote> {
        let object = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1.a.example.com"}, "spec": spec});
        Remote::read(&Object::new(object.to_string().into_bytes(), 7), None)
    }

    #[test]
    fn a_local_one_is_nobodys_and_a_remote_one_is_at_port_443() {
        assert!(read(json!({"group": "a.example.com", "version": "v1"})).is_none());
        let remote = read(json!({"group": "a.example.com", "version": "v1", "insecureSkipTLSVerify": true,
            "groupPriorityMinimum": 1000, "versionPriority": 15, "service": {"namespace": "n", "name": "s"}}));
        let remote = remote.expect("is remote");
        assert_eq!((remote.service.port, remote.is_available, remote.path()), (443, false, "/apis/a.example.com/v1".to_owned()));
        assert!(remote.tls.is_ok());
    }

    #[test]
    fn a_bundle_that_is_none_is_told_of_when_a_connection_is_needed() {
        let remote = read(json!({"group": "a.example.com", "version": "v1", "caBundle": "!",
            "service": {"namespace": "n", "name": "s", "port": 8443}}));
        let why = remote.expect("is remote").tls.err().expect("cannot be used");
        assert!(why.contains("caBundle"), "{why}");
    }
}
