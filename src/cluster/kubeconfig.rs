//! kubeconfig files: the administrator's and the nodes', written here; a node's, read.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mizzen_apiserver::auth::certificates::PemPair;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    #[error("cannot read the kubeconfig {}: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the kubeconfig {} cannot be parsed: {source}", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: serde_yaml_ng::Error,
    },
    #[error("the kubeconfig {} has no {what}", path.display())]
    Lacks { path: PathBuf, what: String },
    #[error("the kubeconfig {}: {field} is not base64 of PEM text", path.display())]
    Encoding { path: PathBuf, field: &'static str },
    #[error("the kubeconfig {}: {field} is not supported", path.display())]
    Unsupported { path: PathBuf, field: &'static str },
    #[error("encode a kubeconfig: {0}")]
    Encode(#[source] serde_yaml_ng::Error),
}

/// A server, and who a client is there.
pub struct Login {
    /// `https://HOST:PORT`.
    pub server: String,
    /// The cluster's root certificate, PEM.
    pub root: String,
    pub pair: PemPair,
}

/// Any server of a kubeconfig, and as whom it is asked.
pub struct Remote {
    /// A URL, which may have a path.
    pub server: String,
    /// PEM.
    pub root: Option<String>,
    /// The name that the server's certificate is for, where it is not that of the URL.
    pub tls_server_name: Option<String>,
    pub pair: Option<PemPair>,
    /// The value of the header `Authorization`.
    pub authorization: Option<String>,
}

/// The URL of a server that listens there, for clients on this machine.
pub fn local_url(listening: SocketAddr) -> String {
    match listening.ip() {
        ip if ip.is_unspecified() => format!("https://127.0.0.1:{}", listening.port()),
        _ => format!("https://{listening}"),
    }
}

impl Login {
    /// The file's text; `user` is what it calls the user.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn to_yaml(&self, user: &str) -> Result<String, KubeconfigError> {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "mizzen",
            "clusters": [{"name": "mizzen", "cluster": {
                "server": self.server, "certificate-authority-data": STANDARD.encode(&self.root)}}],
            "users": [{"name": user, "user": {
                "client-certificate-data": STANDARD.encode(&self.pair.certificate),
                "client-key-data": STANDARD.encode(&self.pair.key)}}],
            "contexts": [{"name": "mizzen", "context": {"cluster": "mizzen", "user": user}}],
        });
        serde_yaml_ng::to_string(&config).map_err(KubeconfigError::Encode)
    }

    /// What the current context of a file says, the certificates in the file or beside it.
    ///
    /// # Errors
    /// When the file, or a file that it names, cannot be read, or something is missing.
    pub fn read(path: &Path) -> Result<Self, KubeconfigError> {
        let Remote { server, root, pair, .. } = Remote::read(path)?;
        let lacks = |what: &str| KubeconfigError::Lacks { path: path.to_owned(), what: format!("{what}-data") };
        let root = root.ok_or_else(|| lacks("certificate-authority"))?;
        Ok(Self { server, root, pair: pair.ok_or_else(|| lacks("client-certificate"))? })
    }
}

impl Remote {
    /// What the current context of a file says; files that it names are beside it.
    ///
    /// # Errors
    /// When the file, or a file that it names, cannot be read, something is missing, or it asks for what is not supported:
    /// plugins, and servers that are not verified.
    pub fn read(path: &Path) -> Result<Self, KubeconfigError> {
        let text = read(path)?;
        let file: File =
            serde_yaml_ng::from_str(&text).map_err(|source| KubeconfigError::Parse { path: path.to_owned(), source })?;
        let lacks = |what: String| KubeconfigError::Lacks { path: path.to_owned(), what };
        let context = file.contexts.into_iter().find(|context| context.name == file.current_context);
        let context = context.ok_or_else(|| lacks(format!("context {:?}", file.current_context)))?.context;
        let cluster = file.clusters.into_iter().find(|cluster| cluster.name == context.cluster);
        let cluster = cluster.ok_or_else(|| lacks(format!("cluster {:?}", context.cluster)))?.cluster;
        let user = file.users.into_iter().find(|user| user.name == context.user);
        let user = user.ok_or_else(|| lacks(format!("user {:?}", context.user)))?.user;
        let unsupported = [
            ("insecure-skip-tls-verify", cluster.insecure_skip_tls_verify),
            ("exec", user.exec.is_some()),
            ("auth-provider", user.auth_provider.is_some()),
        ];
        if let Some((field, _)) = unsupported.into_iter().find(|(_, is_asked)| *is_asked) {
            return Err(KubeconfigError::Unsupported { path: path.to_owned(), field });
        }
        let beside = |named: &str| read(&path.parent().unwrap_or(path).join(named));
        let pem = |field: &'static str, data: &str, named: &str| match (data, named) {
            ("", "") => Ok(None),
            ("", named) => beside(named).map(Some),
            (data, _) => {
                let decoded = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                decoded.map(Some).ok_or(KubeconfigError::Encoding { path: path.to_owned(), field })
            }
        };
        let root = pem("certificate-authority", &cluster.certificate_authority_data, &cluster.certificate_authority)?;
        let certificate = pem("client-certificate", &user.client_certificate_data, &user.client_certificate)?;
        let key = pem("client-key", &user.client_key_data, &user.client_key)?;
        let pair = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(PemPair { certificate, key }),
            (None, None) => None,
            (Some(_), None) => return Err(lacks("client-key-data".to_owned())),
            (None, Some(_)) => return Err(lacks("client-certificate-data".to_owned())),
        };
        let token = match (user.token.as_str(), user.token_file.as_str()) {
            ("", "") => None,
            ("", named) => Some(beside(named)?.trim().to_owned()),
            (token, _) => Some(token.to_owned()),
        };
        let basic = || {
            let login = format!("{}:{}", user.username, user.password);
            (!user.username.is_empty()).then(|| format!("Basic {}", STANDARD.encode(login)))
        };
        Ok(Self {
            root,
            tls_server_name: Some(cluster.tls_server_name).filter(|name| !name.is_empty()),
            authorization: token.map(|token| format!("Bearer {token}")).or_else(basic),
            pair,
            server: Some(cluster.server).filter(|server| !server.is_empty()).ok_or_else(|| lacks("server".to_owned()))?,
        })
    }
}

fn read(path: &Path) -> Result<String, KubeconfigError> {
    std::fs::read_to_string(path).map_err(|source| KubeconfigError::Read { path: path.to_owned(), source })
}

/// `client-go`'s `clientcmd/api/v1.Config`, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    current_context: String,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    certificate_authority: String,
    certificate_authority_data: String,
    tls_server_name: String,
    insecure_skip_tls_verify: bool,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    token: String,
    #[serde(rename = "tokenFile")]
    token_file: String,
    username: String,
    password: String,
    exec: Option<serde::de::IgnoredAny>,
    auth_provider: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        let pair = PemPair { certificate: "certificate".into(), key: "key".into() };
        Login { server: "https://192.0.2.1:6443".into(), root: "root".into(), pair }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("kubeconfig");
        std::fs::write(&path, login().to_yaml("someone").expect("encodes")).expect("writes");
        let read = Login::read(&path).expect("reads");
        assert_eq!((read.server, read.root, read.pair.key), (login().server, login().root, login().pair.key));
    }

    #[test]
    fn certificates_may_stand_in_files_of_their_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("kubeconfig");
        let text = "current-context: a
contexts: [{name: a, context: {cluster: b, user: c}}]
clusters: [{name: b, cluster: {server: 'https://h', certificate-authority: ca.crt}}]
users: [{name: c, user: {client-certificate: c.crt, client-key: c.key}}]
";
        std::fs::write(&path, text).expect("writes");
        let missing = Login::read(&path).err().expect("is refused").to_string();
        assert!(missing.contains("ca.crt") && missing.contains("No such file"), "{missing}");
        for name in ["ca.crt", "c.crt", "c.key"] {
            std::fs::write(dir.path().join(name), name).expect("writes");
        }
        assert_eq!(Login::read(&path).expect("reads").pair.key, "c.key");
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("kubeconfig");
        let said = |text: &str| {
            std::fs::write(&path, text).expect("writes");
            Login::read(&path).err().expect("is refused").to_string()
        };
        assert!(said("{}").ends_with("has no context \"\""));
        let token = "current-context: a
contexts: [{name: a, context: {cluster: b, user: c}}]
clusters: [{name: b, cluster: {server: 'https://h', certificate-authority-data: eA==}}]
users: [{name: c, user: {token: t}}]
";
        assert!(said(token).ends_with("has no client-certificate-data"));
        assert!(said(&token.replace("eA==", "'?'")).ends_with("certificate-authority is not base64 of PEM text"));
        assert!(said(": [").contains("cannot be parsed"));
    }
}
