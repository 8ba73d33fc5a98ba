//! Who a node is: what `mizzen kubeconfig --node` makes on the server and `mizzen agent` is started with
//! (docs/decisions/0008-pre-made-node-credentials.md), or what a machine was given that joined by a token (0041).

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mizzen_apiserver::auth::certificates::{CertificateError, NODE_GROUP, NODE_USER, PemPair, identity_of};
use mizzen_client::http::{HttpClient, HttpConfig, HttpError};

use super::data_dir::{DataDir, DataDirError, write_private};
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
    DataDir(#[from] DataDirError),
    #[error("make {}: {source}", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("this machine has joined as node {has}, not as {asked}: another name needs another data folder")]
    JoinedAs { has: String, asked: String },
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

/// The field manager of writes that name none, up to the slash.
pub const USER_AGENT: &str = concat!("kubelet/mizzen-", env!("CARGO_PKG_VERSION"));
/// Of a machine that joined: the client's certificate, and certificate and key for the node's own API.
const KUBECONFIG: &str = "kubeconfig";
const SERVING: &str = "serving.pem";

/// A node's name, and what proves it to the API server and, for the node's own API, to who asks the node.
pub struct NodeCredentials {
    pub node_name: String,
    login: Login,
    /// Absent until the server has given one.
    serving: Option<PemPair>,
    /// Where certificates are kept that the node renews itself.
    home: Option<PathBuf>,
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
        Ok(Self { node_name: node_name.to_owned(), serving: Some(login.pair.clone()), login, home: None })
    }

    /// Of a machine that has just joined.
    ///
    /// # Errors
    /// When the certificate is not good for a client.
    pub fn joined(node_name: &str, login: Login) -> Result<Self, CredentialsError> {
        tls::client(node_name, &login.root, &login.pair)?;
        Ok(Self { node_name: node_name.to_owned(), login, serving: None, home: None })
    }

    /// Of a machine that joined before; `None` when it never did.
    ///
    /// # Errors
    /// When what is kept cannot be used, or is another node's.
    pub fn load(home: &Path, asked: Option<&str>) -> Result<Option<Self>, CredentialsError> {
        let path = home.join(KUBECONFIG);
        if !path.exists() {
            return Ok(None);
        }
        let login = Login::read(&path)?;
        let node_name = node_of(&path, &login)?;
        if let Some(asked) = asked.filter(|asked| *asked != node_name) {
            return Err(CredentialsError::JoinedAs { has: node_name, asked: asked.to_owned() });
        }
        let serving = std::fs::read_to_string(home.join(SERVING)).ok();
        // One that cannot be used is asked for anew.
        let serving = serving.map(|pem| PemPair { certificate: pem.clone(), key: pem });
        let serving = serving.filter(|pair| tls::Shown::of(&node_name, pair).is_ok());
        let joined = Self { home: Some(home.to_owned()), serving, ..Self::joined(&node_name, login)? };
        Ok(Some(joined))
    }

    /// Keeps them there from now on, for this node to renew.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep(&mut self, home: &Path) -> Result<(), CredentialsError> {
        std::fs::create_dir_all(home).map_err(|source| CredentialsError::Folder { path: home.to_owned(), source })?;
        self.home = Some(home.to_owned());
        self.write()
    }

    fn write(&self) -> Result<(), CredentialsError> {
        let Some(home) = &self.home else { return Ok(()) };
        Ok(write_private(&home.join(KUBECONFIG), self.to_yaml()?.as_bytes())?)
    }

    /// The server has moved.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn move_to(&mut self, server: &str) -> Result<(), CredentialsError> {
        if self.login.server == server {
            return Ok(());
        }
        server.clone_into(&mut self.login.server);
        self.write()
    }

    /// Takes a new client certificate.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn replace(&mut self, pair: PemPair) -> Result<(), CredentialsError> {
        self.login.pair = pair;
        self.write()
    }

    /// Takes a new certificate for the node's own API.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn replace_serving(&mut self, pair: PemPair) -> Result<(), CredentialsError> {
        if let Some(home) = &self.home {
            write_private(&home.join(SERVING), format!("{}{}", pair.certificate, pair.key).as_bytes())?;
        }
        self.serving = Some(pair);
        Ok(())
    }

    /// Whether the node renews them itself.
    pub fn is_renewed(&self) -> bool {
        self.home.is_some()
    }

    /// Whether the client's certificate has ended.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn has_ended(&self, now: jiff::Timestamp) -> Result<bool, CredentialsError> {
        Ok(tls::validity(&self.node_name, &self.login.pair.certificate)?.1 <= now)
    }

    pub fn pair(&self) -> &PemPair {
        &self.login.pair
    }

    pub fn serving(&self) -> Option<&PemPair> {
        self.serving.as_ref()
    }

    /// The authority's certificate, PEM.
    pub fn root(&self) -> &str {
        &self.login.root
    }

    /// # Errors
    /// When the file is missing or is not a node's, or its certificate is not good for both of the node's roles now.
    pub fn read(path: &Path, asked: Option<&str>, now: jiff::Timestamp) -> Result<Self, CredentialsError> {
        let login = Login::read(path)?;
        if !is_server(&login.server) {
            return Err(CredentialsError::Server { server: login.server });
        }
        let node_name = node_of(path, &login)?;
        if let Some(asked) = asked.filter(|asked| *asked != node_name) {
            return Err(CredentialsError::Another { path: path.to_owned(), has: node_name, asked: asked.to_owned() });
        }
        tls::check_server(&node_name, &login.root, &login.pair, now).map_err(unusable(path, &node_name))?;
        Ok(Self { node_name, serving: Some(login.pair.clone()), login, home: None })
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
            user_agent: USER_AGENT.to_owned(),
        })?))
    }

    /// For connections to the server other than those of [`NodeCredentials::client`].
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn tls(&self) -> Result<Arc<rustls::ClientConfig>, CredentialsError> {
        Ok(tls::client(&self.node_name, &self.login.root, &self.login.pair)?)
    }
}

fn unusable(path: &Path, node: &str) -> impl FnOnce(TlsError) -> CredentialsError {
    let (path, node) = (path.to_owned(), node.to_owned());
    move |source| CredentialsError::Unusable { path, node, source }
}

/// Which node a login is.
fn node_of(path: &Path, login: &Login) -> Result<String, CredentialsError> {
    const CLIENT: &str = "the client";
    let certificate = tls::certificate(CLIENT, &login.pair.certificate).map_err(unusable(path, "NAME"))?;
    let subject = identity_of(&certificate).map_err(|why| TlsError { subject: CLIENT.to_owned(), why });
    let subject = subject.map_err(unusable(path, "NAME"))?;
    let is_node = subject.groups.iter().any(|group| group == NODE_GROUP);
    match subject.username.strip_prefix(NODE_USER).filter(|name| is_node && !name.is_empty()) {
        Some(name) => Ok(name.to_owned()),
        None => Err(CredentialsError::NotANodes { path: path.to_owned(), user: subject.username }),
    }
}

/// A node's certificate is one of a server, too, and says the node's name.
///
/// # Errors
/// When no certificate can, or the name is one of the API server's or an address.
pub fn check_name(name: &str) -> Result<(), CredentialsError> {
    tls::server_name(name)?;
    match API_SERVER_NAMES.contains(&name) || name.parse::<IpAddr>().is_ok() {
        true => Err(CredentialsError::Name { name: name.to_owned() }),
        false => Ok(()),
    }
}

/// `https://HOST[:PORT]`.
pub fn is_server(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else { return false };
    url.scheme_str() == Some("https") && url.host().is_some_and(|host| !host.is_empty()) && matches!(url.path(), "" | "/")
}

#[cfg(test)]
mod tests {
    use mizzen_apiserver::auth::certificates::Authority;

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
            serving: None,
            home: None,
        };
        for server in ["https://127.0.0.1:6443", "https://localhost", "https://[::1]:6443"] {
            assert!(credentials(server).is_for_this_machine(), "{server}");
        }
        assert!(!credentials("https://192.0.2.1:6443").is_for_this_machine());
    }

    #[test]
    fn a_machine_that_has_joined_finds_itself_again_with_what_it_renewed() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = Authority::generate("test", now()).expect("generates");
        let client = || authority.client("system:node:edge-1", "system:nodes", now()).expect("signs");
        let dir = tempfile::tempdir().expect("a folder");
        let home = dir.path().join("identity");
        assert!(NodeCredentials::load(&home, None).expect("is no error").is_none(), "it never joined");
        let login = Login { server: "https://192.0.2.1".into(), root: authority.pem().certificate.clone(), pair: client() };
        let mut joined = NodeCredentials::joined("edge-1", login).expect("is a client's");
        joined.keep(&home).expect("writes");
        let serving = authority.node("edge-1", now()).expect("signs");
        joined.replace_serving(serving).expect("writes");
        let renewed = client();
        joined.replace(renewed.clone()).expect("writes");
        joined.move_to("https://192.0.2.2").expect("writes");
        let again = NodeCredentials::load(&home, Some("edge-1")).expect("is usable").expect("is there");
        assert_eq!((again.server(), &again.pair().key), ("https://192.0.2.2", &renewed.key));
        assert!(again.serving().is_some() && again.is_renewed());
        assert!(!again.has_ended(now()).expect("is read"));
        let other = NodeCredentials::load(&home, Some("edge-2")).err().expect("is another").to_string();
        assert!(other.starts_with("this machine has joined as node edge-1, not as edge-2"), "{other}");
        std::fs::write(home.join(SERVING), "cut off").expect("writes");
        assert!(NodeCredentials::load(&home, None).expect("is usable").expect("is there").serving().is_none());
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
