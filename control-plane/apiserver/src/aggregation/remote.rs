//! One APIService that names a service.

use std::sync::Arc;

use mizzen_api::Object;
use mizzen_api::api_services::{self, Priority};
use serde_json::Value;

use super::backend::{Backend, Claim, ServiceKey};

/// Who answers for a group version.
pub(crate) struct Remote {
    pub(crate) name: String,
    /// Of the APIService.
    pub(super) revision: u64,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(super) priority: Priority,
    /// The last check of the server went well.
    pub(super) is_available: bool,
    /// Several group versions often have one.
    pub(super) backend: Arc<Backend>,
}

const DEFAULT_PORT: u16 = 443;

impl Remote {
    /// `None` for an APIService that is local; `backend` gives who answers for a claim.
    pub(super) fn read(object: &Object, backend: impl FnOnce(Claim) -> Arc<Backend>) -> Option<Self> {
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
            is_available: api_services::available(&value).is_some_and(|condition| condition["status"] == "True"),
            backend: backend(Claim { service, bundle: text("/spec/caBundle"), is_insecure }),
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

#[cfg(test)]
mod tests {
    use mizzen_store::{HISTORY_BYTES, MemoryStore};
    use serde_json::json;

    use super::*;

    fn read(spec: Value) -> Option<Remote> {
        let object = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1.a.example.com"}, "spec": spec});
        let store = MemoryStore::new(HISTORY_BYTES);
        Remote::read(&Object::new(object.to_string().into_bytes(), 7), |claim| Backend::new(claim, None, &store).into())
    }

    #[test]
    fn a_local_one_is_nobodys_and_a_remote_one_is_at_port_443() {
        assert!(read(json!({"group": "a.example.com", "version": "v1"})).is_none());
        let remote = read(json!({"group": "a.example.com", "version": "v1", "insecureSkipTLSVerify": true,
            "groupPriorityMinimum": 1000, "versionPriority": 15, "service": {"namespace": "n", "name": "s"}}));
        let remote = remote.expect("is remote");
        let port = remote.backend.claim.service.port;
        assert_eq!((port, remote.is_available, remote.path()), (443, false, "/apis/a.example.com/v1".to_owned()));
        assert!(remote.backend.connections.is_ok());
    }

    #[test]
    fn a_bundle_that_is_none_is_told_of_when_a_connection_is_needed() {
        let remote = read(json!({"group": "a.example.com", "version": "v1", "caBundle": "!",
            "service": {"namespace": "n", "name": "s", "port": 8443}}));
        let why = remote.expect("is remote").backend.connections.as_ref().err().expect("cannot be used").clone();
        assert!(why.contains("caBundle"), "{why}");
    }
}
