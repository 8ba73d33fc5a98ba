//! Whom a pod's HTTPS requests trust.
//!
//! The authorities of the file that the pod's `SSL_CERT_FILE` names, as programs of every language have it; without one
//! the machine's, and where the machine has none, Mozilla's. The cluster's API server is known by the certificate that
//! comes with the pod's service account.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::files::Files;

const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// The names of the API server inside a cluster.
const API_SERVER: [&str; 3] = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];

type Config = Result<Arc<ClientConfig>, String>;

pub(crate) struct Trust {
    files: Arc<Files>,
    /// The guest's path.
    own: Option<String>,
    /// The API server's address.
    api_server: Option<String>,
    /// What the file says that decides for this pod, and when that was written: files of volumes are replaced.
    known: Mutex<Option<(SystemTime, Config)>>,
}

impl Trust {
    pub(crate) fn new(env: &[(String, String)], files: Arc<Files>) -> Self {
        let of = |name: &str| env.iter().rev().find(|(known, value)| known == name && !value.is_empty()).map(|(_, v)| v.clone());
        let (own, api_server) = (of("SSL_CERT_FILE"), of("KUBERNETES_SERVICE_HOST"));
        Self { files, own, api_server, known: Mutex::default() }
    }

    /// How to speak TLS with `host`. Blocks.
    ///
    /// # Errors
    /// When a file that says whom to trust cannot be read.
    pub(crate) fn of(&self, host: &str) -> Config {
        match &self.own {
            Some(path) => {
                self.files.modified(path).map_or_else(|error| Err(format!("{path}: {error}")), |at| self.file(path, at))
            }
            None if self.is_api_server(host) => {
                self.files.modified(SERVICE_ACCOUNT).map_or_else(|_| machine(), |at| self.file(SERVICE_ACCOUNT, at))
            }
            None => machine(),
        }
    }

    /// A pod has only one such file.
    fn file(&self, path: &str, modified: SystemTime) -> Config {
        let mut known = self.known.lock();
        match &*known {
            Some((at, config)) if *at == modified => config.clone(),
            _ => known.insert((modified, self.read(path))).1.clone(),
        }
    }

    fn is_api_server(&self, host: &str) -> bool {
        let name = host.trim_end_matches('.');
        self.api_server.as_deref() == Some(host) || API_SERVER.contains(&name) || name.starts_with("kubernetes.default.svc.")
    }

    fn read(&self, path: &str) -> Config {
        let bytes = self.files.read(path).map_err(|error| format!("{path}: {error}"))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).flatten());
        if roots.is_empty() {
            return Err(format!("{path}: no certificate in it"));
        }
        config(roots)
    }
}

/// What the machine trusts, read once for all pods.
fn machine() -> Config {
    static MACHINE: OnceLock<Config> = OnceLock::new();
    let make = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        config(roots)
    };
    MACHINE.get_or_init(make).clone()
}

fn config(roots: RootCertStore) -> Config {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use mizzen_shim_protocol::Preopen;

    use super::*;

    fn trust(env: &[(&str, &str)]) -> Trust {
        let env: Vec<_> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Trust::new(&env, Arc::new(Files::new(&[], Vec::new())))
    }

    #[test]
    fn the_machines_authorities_are_trusted_by_default_and_read_once() {
        let (one, two) = (trust(&[]).of("example.com").unwrap(), trust(&[]).of("example.org").unwrap());
        assert!(Arc::ptr_eq(&one, &two));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_not_trust_in_others() {
        let error = trust(&[("SSL_CERT_FILE", "/ca/ca.crt")]).of("example.com").unwrap_err();
        assert!(error.contains("/ca/ca.crt"), "{error}");
    }

    #[test]
    fn a_file_is_read_again_when_it_was_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let preopen = Preopen { target: "/ca".into(), readonly: true };
        let files = Files::new(&[preopen], vec![std::fs::File::open(dir.path()).unwrap()]);
        let trust = Trust::new(&[("SSL_CERT_FILE".into(), "/ca/ca.crt".into())], Arc::new(files));
        let path = dir.path().join("ca.crt");
        let write = |second: u64| {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = rcgen::CertificateParams::new(vec!["ca".into()]).unwrap().self_signed(&key).unwrap();
            std::fs::write(&path, certificate.pem()).unwrap();
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
        };
        write(1);
        let (first, again) = (trust.of("example.com").unwrap(), trust.of("example.com").unwrap());
        assert!(Arc::ptr_eq(&first, &again));
        write(2);
        assert!(!Arc::ptr_eq(&first, &trust.of("example.com").unwrap()));
    }

    #[test]
    fn the_api_server_is_known_by_its_names_and_its_address() {
        let trust = trust(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
        for host in ["10.0.0.1", "kubernetes.default", "kubernetes.default.svc.cluster.local", "kubernetes"] {
            assert!(trust.is_api_server(host), "{host}");
        }
        for host in ["10.0.0.2", "kubernetes.other", "kubernetes.example.com"] {
            assert!(!trust.is_api_server(host), "{host}");
        }
    }
}
