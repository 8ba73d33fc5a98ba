//! How a machine becomes a node by a token (docs/joining.md): it finds the cluster's authority, which the token names, shows
//! the token and asks for a certificate.

pub mod cluster_info;
pub mod live;
pub mod request;
pub mod token;

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use mizzen_client::http::{HttpClient, HttpConfig, HttpError, get_unverified};
use mizzen_reconcile::{Backoff, typed};

use super::join::{WaitError, wait, wait_for_server};
use super::kubeconfig::Login;
use super::node_credentials::{CredentialsError, NodeCredentials, USER_AGENT};
use super::tls::TlsError;
use request::{Purpose, RequestError};
use token::JoinToken;

/// Between two looks at a server that does not say yet which authority it has.
const LOOK: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));

#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(
        "{server} shows an authority whose SHA-256 is {has}, and the token names {wants}: the token is another cluster's, or somebody is in between"
    )]
    WrongAuthority { server: String, has: String, wants: String },
    #[error(
        "{server} does not take the token {id}: it is wrong, has expired or was revoked (`mizzen token list` and `mizzen token create` on the server)"
    )]
    WrongToken { server: String, id: String },
    #[error(
        "a Node with name {name:?} and status \"Ready\" already exists in the cluster: delete it (`kubectl delete node {name}`) or choose another --node-name"
    )]
    NameTaken { name: String },
    #[error("the authority that {server} shows: {source}")]
    Authority {
        server: String,
        #[source]
        source: TlsError,
    },
    #[error(transparent)]
    Server(#[from] HttpError),
    #[error("look for a node of that name: {0}")]
    Look(#[from] mizzen_reconcile::Error),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// Makes this machine the node `name`. While the server is away, it is waited for, and `say` is told so.
///
/// # Errors
/// When waiting would not help: the token is not good, another machine has the name, or somebody refused the certificate.
pub async fn join(server: &str, token: &JoinToken, name: &str, mut say: impl FnMut(&str)) -> Result<NodeCredentials, JoinError> {
    let root = find_authority(server, token, &mut say).await?;
    let client = HttpClient::new(HttpConfig {
        server: server.to_owned(),
        root: root.clone(),
        certificate: None,
        token: Some(token.bearer()),
        user_agent: USER_AGENT.to_owned(),
    })?;
    match wait_for_server(&client, &mut say).await {
        Err(HttpError::Unauthorized { server, .. }) => return Err(JoinError::WrongToken { server, id: token.id().to_owned() }),
        answered => answered?,
    }
    // As kubeadm does: two machines of one name would take turns at being it.
    if typed::get::<Node>(&client, "", name).await?.is_some_and(|node| is_ready(&node)) {
        return Err(JoinError::NameTaken { name: name.to_owned() });
    }
    let pair = request::obtain(&client, name, Purpose::Client, &mut say).await?;
    let login = Login { server: server.to_owned(), root, pair };
    Ok(NodeCredentials::joined(name, login)?)
}

fn is_ready(node: &Node) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The certificate of the cluster's authority, PEM, which is the one that the token names.
async fn find_authority(server: &str, token: &JoinToken, mut say: impl FnMut(&str)) -> Result<String, JoinError> {
    let asked = async || match get_unverified(server, &cluster_info::path()).await {
        Ok((200, body)) => {
            let root = cluster_info::authority(&body);
            root.ok_or_else(|| WaitError::Later(format!("{server} does not say which authority it has")))
        }
        Ok((code, _)) => Err(WaitError::Later(format!("{server} does not say which authority it has: HTTP {code}"))),
        Err(error @ HttpError::Unreachable { .. }) => Err(WaitError::Later(error.to_string())),
        Err(error) => Err(WaitError::Never(error)),
    };
    let root = wait(LOOK, asked, &mut say).await?;
    let wrong = |source| JoinError::Authority { server: server.to_owned(), source };
    let has = token::fingerprint(&root).map_err(wrong)?;
    match token.names(&has) {
        true => Ok(root),
        false => Err(JoinError::WrongAuthority { server: server.to_owned(), has, wants: token.authority().to_owned() }),
    }
}
