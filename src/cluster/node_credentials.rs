//! Who a node is: what `mizzen kubeconfig --node` makes on the server and `mizzen agent` is started with
//! (docs/decisions/0008-pre-made-node-credentials.md).

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mizzen_apiserver::auth::certificates::{CertificateError, NODE_GROUP, NODE_USER, identity_of};
use mizzen_client::http::{HttpClient, HttpConfig, HttpError};

use super::data_dir::DataDir;
use super::kubeconfig::{KubeconfigError, Login};
use super::pki::{API_SERVER_NAMES, Pki, PkiError};
use super::tls::{self, TlsError};

#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Client(#[from] HttpError),
    #[error("sign the certificate of a node: {0}")]
    Sign(#[from] CertificateError),
    #[error("the kubeconfig {}: its certificate is {user:?}'s and no node's (`mizzen kubeconfig --node NAME` makes a node's)", path.display())]
    NotANodes { path: PathBuf, user: String },
    #[error("the kubeconfig {} is node {has}'s, not {asked}'s", path.display())]
    Another { path: PathBuf, has: String, asked: String },
    #[error("the kubeconfig {}: {source} (`mizzen kubeconfig --node {node}` makes a new one)", path.display())]
    Unusable {
        path: PathBuf,
        node: String,
        #[source]
        source: TlsError,
    },
    #[error("{server:?} is no server's URL: it has to be https://HOST[:PORT]")]
    Server { server: String },
    #[error("{name:?} cannot be a node's name: its certificate would be good for the API server or another machine")]
    Name { name: String },
}

/// A node's name, and what proves it to the API server and, for the node's own API, to who asks the node.
pub struct NodeCredentials {
    pub node_name: String,
    login: Login,
}

impl NodeCredentials {
    /// Makes the credentials of a node of the cluster in `data`; `server` is where the node reaches it, by default where
    /// the administrator does.
    ///
    /// # Errors
    /// When the cluster has no keys yet, or nobody but the API server may have a certificate of that name.
    pub fn issue(
        data: &DataDir,
        node_name: &str,
        server: Option<String>,
        now: jiff::Timestamp,
    ) -> Result<Self, CredentialsError> {
        check_name(node_name)?;
        let authority = Pki::authority(&data.pki())?;
        let server = match server {
            Some(server) if is_server(&server) => server,
            Some(server) => return Err(CredentialsError::Server { server }),
            None => Login::read(&data.kubeconfig())?.server,
        };
        let login = Login { server, root: authority.pem().certificate.clone(), pair: authority.node(node_name, now)? };
        Ok(Self { node_name: node_name.to_owned(), login })
    }

    /// # Errors
    /// When the file is missing or is not a node's, or its certificate is not good for both of the node's roles now.
    pub fn read(path: &Path, asked: Option<&str>, now: jiff::Timestamp) -> Result<Self, CredentialsError> {
        let login = Login::read(path)?;
        if !is_server(&login.server) {
            return Err(CredentialsError::Server { server: login.server });
        }
        let unusable = |node: &str| {
            let (path, node) = (path.to_owned(), node.to_owned());
            move |source| CredentialsError::Unusable { path, node, source }
        };
        let certificate = tls::certificate("the client", &login.pair.certificate).map_err(unusable("NAME"))?;
        let subject =
            identity_of(&certificate).map_err(|why| unusable("NAME")(TlsError { subject: "the client".to_owned(), why }))?;
        let node_name = subject.username.strip_prefix(NODE_USER).filter(|name| !name.is_empty());
        let node_name = match node_name {
            Some(name) if subject.groups.iter().any(|group| group == NODE_GROUP) => name.to_owned(),
            _ => return Err(CredentialsError::NotANodes { path: path.to_owned(), user: subject.username }),
        };
        if let Some(asked) = asked.filter(|asked| *asked != node_name) {
            return Err(CredentialsError::Another { path: path.to_owned(), has: node_name, asked: asked.to_owned() });
        }
        tls::check_server(&node_name, &login.root, &login.pair, now).map_err(unusable(&node_name))?;
        Ok(Self { node_name, login })
    }

    pub fn server(&self) -> &str {
        &self.login.server
    }

    /// Whether nobody but the server's own machine reaches the server by this.
    pub fn is_for_this_machine(&self) -> bool {
        let url = self.login.server.parse::<http::Uri>().ok();
        let host = url.as_ref().and_then(http::Uri::host).unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// # Errors
    /// When it cannot be encoded.
    pub fn to_yaml(&self) -> Result<String, CredentialsError> {
        Ok(self.login.to_yaml(&format!("{NODE_USER}{}", self.node_name))?)
    }

    /// The API as this node.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn client(&self) -> Result<Arc<HttpClient>, CredentialsError> {
        let Login { server, root, pair } = &self.login;
        Ok(Arc::new(HttpClient::new(HttpConfig {
            server: server.clone(),
            root: root.clone(),
            certificate: Some((pair.certificate.clone(), pair.key.clone())),
            token: None,
            // The field manager of writes that name none.
            user_agent: concat!("kubelet/mizzen-", env!("CARGO_PKG_VERSION")).to_owned(),
        })?))
    }

    /// For the node's own API.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn node_api(&self) -> Result<Arc<rustls::ServerConfig>, CredentialsError> {
        Ok(tls::node_api(&self.login.root, &self.login.pair)?)
    }
}

/// A node's certificate is one of a server, too, and says the node's name.
fn check_name(name: &str) -> Result<(), CredentialsError> {
    tls::server_name(name)?;
    match API_SERVER_NAMES.contains(&name) || name.parse::<IpAddr>().is_ok() {
        true => Err(CredentialsError::Name { name: name.to_owned() }),
        false => Ok(()),
    }
}

fn is_server(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else { return false };
    url.scheme_str() == Some("https") && url.host().is_some_and(|host| !host.is_empty()) && matches!(url.path(), "" | "/")
}

#[cfg(test)]
mod tests {
    use mizzen_apiserver::auth::certificates::{Authority, PemPair};

    use super::*;

    fn now() -> jiff::Timestamp {
        "2026-11-21T12:00:00Z".parse().expect("is a time")
    }

    fn read(authority: &Authority, pair: PemPair, asked: Option<&str>, at: jiff::Timestamp) -> Result<String, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let login = Login { server: "https://192.0.2.1:6443".into(), root: authority.pem().certificate.clone(), pair };
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("kubeconfig");
        std::fs::write(&path, login.to_yaml("user").expect("encodes")).expect("writes");
        NodeCredentials::read(&path, asked, at).map(|read| read.node_name).map_err(|error| error.to_string())
    }

    #[test]
    fn a_nodes_credentials_are_good_for_that_node_while_they_last() {
        let authority = Authority::generate("test", now()).expect("generates");
        let node = || authority.node("edge-1", now()).expect("signs");
        assert_eq!(read(&authority, node(), None, now()).as_deref(), Ok("edge-1"));
        assert_eq!(read(&authority, node(), Some("edge-1"), now()).as_deref(), Ok("edge-1"));
        let other = read(&authority, node(), Some("edge-2"), now()).expect_err("is another's");
        assert!(other.ends_with("is node edge-1's, not edge-2's"), "{other}");
        let late = "2028-01-01T00:00:00Z".parse().expect("is a time");
        let expired = read(&authority, node(), None, late).expect_err("has expired");
        assert!(expired.contains("edge-1") && expired.contains("expired"), "{expired}");
    }

    #[test]
    fn what_is_no_nodes_or_another_clusters_is_refused() {
        let authority = Authority::generate("test", now()).expect("generates");
        let admin = authority.client("kubernetes-admin", "system:masters", now()).expect("signs");
        let refused = read(&authority, admin, None, now()).expect_err("is a person");
        assert!(refused.contains("\"kubernetes-admin\"'s and no node's"), "{refused}");
        let outsider = authority.client("system:node:edge-1", "others", now()).expect("signs");
        assert!(read(&authority, outsider, None, now()).expect_err("is not in the group").contains("no node's"));
        let client_only = authority.client("system:node:edge-1", "system:nodes", now()).expect("signs");
        assert!(read(&authority, client_only, None, now()).is_err(), "it cannot serve the node's API");
        let elsewhere = Authority::generate("other", now()).expect("generates").node("edge-1", now()).expect("signs");
        let refused = read(&authority, elsewhere, None, now()).expect_err("is another cluster's");
        assert!(refused.contains("UnknownIssuer"), "{refused}");
        let (one, two) = (authority.node("edge-1", now()).expect("signs"), authority.node("edge-1", now()).expect("signs"));
        let mixed = PemPair { certificate: one.certificate, key: two.key };
        assert!(read(&authority, mixed, None, now()).is_err(), "the key is another certificate's");
    }

    #[test]
    fn a_node_cannot_be_called_as_the_api_server_or_by_an_address() {
        for name in ["localhost", "kubernetes", "kubernetes.default.svc", "192.0.2.1"] {
            let refused = check_name(name).expect_err("is refused").to_string();
            assert!(refused.contains("cannot be a node's name"), "{refused}");
        }
        for name in ["edge-1", "kubernetes-1", "edge.example"] {
            check_name(name).expect("is a node's name");
        }
    }

    #[test]
    fn loopback_addresses_are_for_the_servers_own_machine() {
        let authority = Authority::generate("test", now()).expect("generates");
        let credentials = |server: &str| NodeCredentials {
            node_name: "edge-1".into(),
            login: Login {
                server: server.into(),
                root: authority.pem().certificate.clone(),
                pair: authority.node("edge-1", now()).expect("signs"),
            },
        };
        for server in ["https://127.0.0.1:6443", "https://localhost", "https://[::1]:6443"] {
            assert!(credentials(server).is_for_this_machine(), "{server}");
        }
        assert!(!credentials("https://192.0.2.1:6443").is_for_this_machine());
    }

    #[test]
    fn a_server_is_an_https_url_without_a_path() {
        for url in ["https://192.0.2.1:6443", "https://server.example", "https://[2001:db8::1]:6443/"] {
            assert!(is_server(url), "{url}");
        }
        for url in ["http://192.0.2.1", "192.0.2.1:6443", "https://", "https://h/api", "no url"] {
            assert!(!is_server(url), "{url}");
        }
    }
}
