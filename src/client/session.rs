//! One conversation with a cluster: where it is, which namespace is meant, and how requests are made.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use http::{Method, StatusCode};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use serde_json::Value;

use super::failure;

/// How to reach a cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct Connection {
    /// kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the default data folder's]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// Namespace [default: the context's]
    #[arg(short, long, global = true)]
    namespace: Option<String>,
}

/// A cluster that can be asked.
pub struct Session {
    pub client: kube::Client,
    /// `HOST:PORT`, for what is said of a server that is not reached.
    pub server: String,
    pub namespace: String,
    /// Whether the user named the namespace.
    pub told_namespace: bool,
}

impl Connection {
    /// Runs a command; what it fails of is said as kubectl says it.
    pub async fn run(&self, command: impl AsyncFnOnce(&Session) -> anyhow::Result<ExitCode>) -> ExitCode {
        let config = match self.config().await {
            Ok(config) => config,
            Err(error) => return failure::say(&error, ""),
        };
        let server = config.cluster_url.authority().map_or_else(String::new, ToString::to_string);
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let outcome = match kube::Client::try_from(config) {
            Ok(client) => {
                let (server, told_namespace) = (server.clone(), self.namespace.is_some());
                command(&Session { client, server, namespace, told_namespace }).await
            }
            Err(error) => Err(error.into()),
        };
        outcome.unwrap_or_else(|error| failure::say(&error, &server))
    }

    async fn config(&self) -> anyhow::Result<kube::Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        if let Some(path) = self.path() {
            let kubeconfig = Kubeconfig::read_from(&path).with_context(|| format!("read {}", path.display()))?;
            return Ok(kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?);
        }
        let found = match self.context {
            Some(_) => kube::Config::from_kubeconfig(&options).await.map_err(anyhow::Error::new),
            None => kube::Config::infer().await.map_err(anyhow::Error::new),
        };
        found.context("find a kubeconfig (use --kubeconfig FILE)")
    }

    /// The one file to read; `None` where the environment says which, or there is none.
    fn path(&self) -> Option<PathBuf> {
        let home = std::env::home_dir().map(|home| home.join(".kube/config"));
        let own = PathBuf::from(crate::config::DEFAULT_DATA_DIR).join("kubeconfig");
        let is_told = std::env::var_os("KUBECONFIG").is_some_and(|files| !files.is_empty());
        chosen(self.kubeconfig.clone(), is_told, home.into_iter().chain([own]), |path| path.exists())
    }
}

/// As kubectl chooses, with the default data folder's kubeconfig where a user has none.
fn chosen(
    given: Option<PathBuf>,
    is_told: bool,
    mut places: impl Iterator<Item = PathBuf>,
    exists: impl Fn(&PathBuf) -> bool,
) -> Option<PathBuf> {
    given.or_else(|| if is_told { None } else { places.find(exists) })
}

impl Session {
    /// # Errors
    /// What the server refused, or why it cannot be reached.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(http::Request::get(path).header("Accept", "application/json").body(Vec::new())?).await
    }

    /// As [`Session::get`]; `None` when there is no such object.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub async fn find(&self, path: &str) -> anyhow::Result<Option<Value>> {
        match self.get(path).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if failure::is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a body in JSON.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub async fn put(&self, method: Method, path: &str, media: &str, body: &Value) -> anyhow::Result<Value> {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("Content-Type", media).header("Accept", "application/json");
        self.send(request.body(serde_json::to_vec(body)?)?).await
    }

    /// The answer to a request. What the server warns of goes to standard error.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub async fn send(&self, request: http::Request<Vec<u8>>) -> anyhow::Result<Value> {
        let answer = self.client.send(request.map(Body::from)).await?;
        for warning in answer.headers().get_all("Warning").iter().filter_map(|value| value.to_str().ok()) {
            eprintln!("Warning: {}", warning_text(warning));
        }
        let status = answer.status();
        let body = answer.into_body().collect_bytes().await?;
        if status.is_success() {
            return Ok(serde_json::from_slice(&body)?);
        }
        Err(kube::Error::Api(refusal(status, &body).boxed()).into())
    }
}

/// The text of `299 - "text"` (RFC 7234, section 5.5).
fn warning_text(header: &str) -> String {
    let quoted = header.split_once('"').map_or(header, |(_, rest)| rest.trim_end().strip_suffix('"').unwrap_or(rest));
    quoted.replace("\\\"", "\"").replace("\\\\", "\\")
}

fn refusal(status: StatusCode, body: &[u8]) -> Status {
    serde_json::from_slice::<Status>(body).ok().filter(|status| !status.message.is_empty()).unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        let text = if text.trim().is_empty() { status.to_string() } else { text.trim().to_owned() };
        Status::failure(&text, status.canonical_reason().unwrap_or_default()).with_code(status.as_u16())
    })
}

/// Percent-encodes everything that is not plain in a query or path (RFC 3986).
pub fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// A path with a query of the parameters that are not empty.
pub fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let given = parameters.iter().filter(|(_, value)| !value.is_empty());
    let query: Vec<String> = given.map(|(key, value)| format!("{key}={}", escape(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubeconfig_is_the_given_one_then_the_users_then_the_clusters_own() {
        let choose = |given: Option<&str>, is_told: bool, there: &[&str]| {
            let places = ["/home/jane/.kube/config", "/var/lib/mizzen/kubeconfig"].map(PathBuf::from).into_iter();
            let chosen = chosen(given.map(PathBuf::from), is_told, places, |path| there.contains(&path.to_str().unwrap_or("")));
            chosen.map(|path| path.display().to_string())
        };
        let (users, own) = ("/home/jane/.kube/config", "/var/lib/mizzen/kubeconfig");
        assert_eq!(choose(Some("/given"), true, &[users, own]).as_deref(), Some("/given"));
        assert_eq!(choose(None, true, &[users, own]), None, "KUBECONFIG names it");
        assert_eq!(choose(None, false, &[users, own]).as_deref(), Some(users));
        assert_eq!(choose(None, false, &[own]).as_deref(), Some(own));
        assert_eq!(choose(None, false, &[]), None);
    }

    #[test]
    fn selectors_are_escaped_in_the_query() {
        let path = with_query("/api/v1/pods", &[("labelSelector", "a in (b,c)"), ("fieldSelector", "")]);
        assert_eq!(path, "/api/v1/pods?labelSelector=a%20in%20%28b%2Cc%29");
        assert_eq!(with_query("/api/v1/pods", &[("limit", "")]), "/api/v1/pods");
    }

    #[test]
    fn a_warning_is_said_without_its_frame() {
        assert_eq!(warning_text(r#"299 - "unknown field \"spec.x\"""#), r#"unknown field "spec.x""#);
    }

    #[test]
    fn an_answer_that_is_no_status_is_said_as_it_is() {
        let said = refusal(StatusCode::BAD_GATEWAY, b"upstream is gone\n");
        assert_eq!((said.message.as_str(), said.reason.as_str(), said.code), ("upstream is gone", "Bad Gateway", 502));
    }
}
