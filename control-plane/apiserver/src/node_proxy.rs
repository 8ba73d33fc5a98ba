//! Streams between clients and nodes: logs, exec, attach and port forwarding go on to the node's own API through the tunnel
//! that the node holds open, or else over TLS with a client certificate of the API server; upgraded connections byte by byte. Nodes speak WebSocket only; what clients say in
//! SPDY is translated (`streams`).

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use mizzen_api::{GroupResource, Object, Status};
use mizzen_store::Store;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::auth::Identity;
use crate::carried::Carried;
use crate::connect::Connect;
use crate::proxy::splice;
use crate::streams::{self, Place};
use crate::tunnels::Tunnels;

/// How long a node may take to accept a connection.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("nodes \"{node}\" not found")]
    NotRegistered { node: String },
    #[error("node {node} has not said where it is reached")]
    NoAddress { node: String },
    #[error("connect to node {node} at {address}: {source}")]
    Connect {
        node: String,
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("connect to node {node} at {address}: no answer in {CONNECT_TIMEOUT:?}")]
    Timeout { node: String, address: String },
    #[error("verify node {node} at {address}: {source}")]
    Verify {
        node: String,
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the name of node {node} cannot stand in a certificate: {source}")]
    Name {
        node: String,
        #[source]
        source: InvalidDnsNameError,
    },
    #[error("ask node {node}: {source}")]
    Http {
        node: String,
        #[source]
        source: hyper::Error,
    },
    #[error("build the request to node {node}: {source}")]
    Request {
        node: String,
        #[source]
        source: http::Error,
    },
    #[error("upgrade the connection to node {node}: {source}")]
    Upgrade {
        node: String,
        #[source]
        source: hyper::Error,
    },
}

impl ProxyError {
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::NotRegistered { node } => Status::not_found(&GroupResource::new("", "nodes"), node),
            // As Kubernetes answers; clients try 503 and 504 again by themselves, and would only seem to hang.
            Self::NoAddress { .. }
            | Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Verify { .. }
            | Self::Name { .. }
            | Self::Http { .. }
            | Self::Request { .. }
            | Self::Upgrade { .. } => Status::internal(self),
        }
    }
}

/// [`Connect`] by way of the node that the pod runs on.
#[derive(Clone)]
pub struct NodeProxy {
    store: Arc<dyn Store>,
    tls: TlsConnector,
    tunnels: Arc<Tunnels>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodView {
    metadata: Metadata,
    spec: PodSpec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: String,
    containers: Vec<Named>,
    init_containers: Vec<Named>,
    ephemeral_containers: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl NodeProxy {
    /// `tls` trusts the cluster's root and presents the API server's client certificate.
    pub fn new(store: Arc<dyn Store>, tls: Arc<rustls::ClientConfig>) -> Self {
        Self { store, tls: TlsConnector::from(tls), tunnels: Arc::default() }
    }

    /// The node's answer to a request on a connection of its own. Of an upgraded one, the node's side comes with it.
    ///
    /// # Errors
    /// When the node is not reached or not who it should be.
    pub(crate) async fn ask(
        &self,
        node: &str,
        path: &str,
        request: Request<Body>,
    ) -> Result<http::Response<Incoming>, ProxyError> {
        let address = self.address(node);
        if !matches!(address, Err(ProxyError::NotRegistered { .. }))
            && let Some(connection) = self.tunnels.connect(node).await
        {
            // Whose tunnel it is, the node's certificate has said when it was opened.
            return exchange(connection, node, (node, path), request).await;
        }
        let address = address?;
        // Nodes tell their addresses themselves; for the name, the cluster's authority has vouched.
        let name = ServerName::try_from(node.to_owned()).map_err(|source| ProxyError::Name { node: node.to_owned(), source })?;
        let connect = async {
            let failed = |source| ProxyError::Connect { node: node.to_owned(), address: address.clone(), source };
            let stream = TcpStream::connect(&address).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            let refused = |source| ProxyError::Verify { node: node.to_owned(), address: address.clone(), source };
            self.tls.connect(name, stream).await.map_err(refused)
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect)
            .await
            .map_err(|_| ProxyError::Timeout { node: node.to_owned(), address: address.clone() })??;
        exchange(TokioIo::new(stream), node, (&address, path), request).await
    }

    async fn forward(&self, node: &str, path: &str, mut request: Request<Body>) -> Result<Response, ProxyError> {
        let client_side = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
        let mut response = self.ask(node, path, request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(client_side) = client_side
        {
            let node_side = hyper::upgrade::on(&mut response);
            tokio::spawn(splice(client_side, node_side));
        }
        Ok(response.map(Body::new).into_response())
    }

    pub(crate) fn address(&self, node: &str) -> Result<String, ProxyError> {
        let missing = || ProxyError::NoAddress { node: node.to_owned() };
        let absent = || ProxyError::NotRegistered { node: node.to_owned() };
        let object = crate::lookup::core(&*self.store, "nodes", "", node).ok_or_else(absent)?;
        let node = object.value().map_err(|_| missing())?;
        let port = node
            .pointer("/status/daemonEndpoints/kubeletEndpoint/Port")
            .and_then(serde_json::Value::as_u64)
            .ok_or_else(missing)?;
        let address = node
            .pointer("/status/addresses")
            .and_then(serde_json::Value::as_array)
            .and_then(|addresses| addresses.iter().find(|address| address["type"] == "InternalIP"))
            .and_then(|address| address["address"].as_str())
            .ok_or_else(missing)?;
        Ok(if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") })
    }
}

/// Sends one request, to `host` for `path`, over a connection to the node.
async fn exchange(
    connection: impl Read + Write + Unpin + Send + 'static,
    node: &str,
    (host, path): (&str, &str),
    request: Request<Body>,
) -> Result<http::Response<Incoming>, ProxyError> {
    let http_failed = |source| ProxyError::Http { node: node.to_owned(), source };
    let (mut sender, connection) = http1::handshake(connection).await.map_err(http_failed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to a node ended");
        }
    });
    let outgoing = outgoing(host, path, request).map_err(|source| ProxyError::Request { node: node.to_owned(), source })?;
    sender.send_request(outgoing).await.map_err(http_failed)
}

/// The client's request as the node gets it: its own path, no credentials of the client.
fn outgoing(address: &str, path: &str, request: Request<Body>) -> Result<Request<Body>, http::Error> {
    let (mut parts, body) = request.into_parts();
    let path = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    parts.uri = path.parse::<Uri>()?;
    parts.version = http::Version::HTTP_11;
    parts.headers.remove(header::AUTHORIZATION);
    parts.headers.insert(header::HOST, address.parse()?);
    let mut outgoing = Request::builder().method(parts.method).uri(parts.uri).body(body)?;
    *outgoing.headers_mut() = parts.headers;
    Ok(outgoing)
}

/// Which container is meant, when the query does not say.
fn container(pod: &PodView, query: Option<&str>) -> Result<String, Status> {
    let asked = query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("container="));
    let all: Vec<&str> = [&pod.spec.containers, &pod.spec.init_containers, &pod.spec.ephemeral_containers]
        .into_iter()
        .flatten()
        .map(|container| container.name.as_str())
        .collect();
    let name = &pod.metadata.name;
    match (
        asked.filter(|asked| !asked.is_empty()),
        pod.metadata.annotations.get(DEFAULT_CONTAINER),
        pod.spec.containers.as_slice(),
    ) {
        (Some(asked), _, _) if all.contains(&asked) => Ok(asked.to_owned()),
        (Some(asked), _, _) => Err(Status::bad_request(format!("container {asked} is not valid for pod {name}"))),
        (None, Some(default), _) if all.contains(&default.as_str()) => Ok(default.clone()),
        (None, _, [only]) => Ok(only.name.clone()),
        (None, _, many) => {
            let names: Vec<&str> = many.iter().map(|container| container.name.as_str()).collect();
            Err(Status::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                names.join(" ")
            )))
        }
    }
}

/// The node's path for a pod's subresource, as the kubelet has them.
fn node_path(pod: &PodView, subresource: &str, query: Option<&str>) -> Result<String, Status> {
    let Metadata { namespace, name, .. } = &pod.metadata;
    Ok(match subresource {
        "log" => format!("/containerLogs/{namespace}/{name}/{}", container(pod, query)?),
        "portforward" => format!("/portForward/{namespace}/{name}"),
        stream => format!("/{stream}/{namespace}/{name}/{}", container(pod, query)?),
    })
}

fn failure(status: Status) -> Response {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, axum::Json(status.to_json())).into_response()
}

#[async_trait]
impl Connect for NodeProxy {
    async fn connect(&self, _: Arc<Identity>, pod: Arc<Object>, subresource: &str, request: Request<Body>) -> Response {
        let answer = async {
            let pod: PodView = pod.decode().map_err(Status::internal)?;
            let path = node_path(&pod, subresource, request.uri().query())?;
            match (pod.spec.node_name.as_str(), subresource) {
                // Not scheduled yet: no log so far.
                ("", "log") => Ok(Response::new(Body::empty())),
                ("", _) => Err(Status::bad_request(format!("pod {} does not have a host assigned", pod.metadata.name))),
                (node, _) => {
                    let Metadata { name, uid, .. } = &pod.metadata;
                    let place = Place { node: node.to_owned(), path, pod: name.clone(), uid: uid.clone() };
                    let answered = match streams::spoken(request.headers(), subresource) {
                        streams::Spoken::WebSocket => self.forward(node, &place.path, request).await,
                        streams::Spoken::Spdy => return streams::upgrade(self, place, subresource, request).await,
                        streams::Spoken::Tunnel => return streams::tunnel(self, place, request).await,
                    };
                    answered.map_err(|error| {
                        tracing::warn!(%error, "node not reached");
                        error.status()
                    })
                }
            }
        };
        answer.await.unwrap_or_else(failure)
    }

    async fn node(&self, node: &str, path: &str, request: Request<Body>) -> Response {
        self.forward(node, path, request).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "node not reached");
            failure(error.status())
        })
    }

    async fn reach(&self, node: &str, pod: &str) -> Option<Result<Carried, String>> {
        self.tunnels.reach(node, pod).await
    }

    fn tunnel(&self, node: &str, request: Request<Body>) -> Result<Response, Status> {
        self.tunnels.accept(node, request)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(containers: &[&str], default: Option<&str>) -> PodView {
        let containers: Vec<_> = containers.iter().map(|name| json!({"name": name})).collect();
        let annotations = default.map(|name| json!({DEFAULT_CONTAINER: name})).unwrap_or_else(|| json!({}));
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "annotations": annotations},
            "spec": {"containers": containers, "initContainers": [{"name": "init"}]}}))
        .expect("decodes")
    }

    #[test]
    fn the_container_is_the_one_asked_for_the_default_or_the_only_one() {
        assert_eq!(node_path(&pod(&["a"], None), "log", None).expect("finds"), "/containerLogs/n/p/a");
        assert_eq!(node_path(&pod(&["a", "b"], Some("b")), "exec", None).expect("finds"), "/exec/n/p/b");
        assert_eq!(
            node_path(&pod(&["a", "b"], None), "log", Some("follow=true&container=init")).expect("finds"),
            "/containerLogs/n/p/init"
        );
        let ambiguous = node_path(&pod(&["a", "b"], None), "log", None).expect_err("is ambiguous");
        assert_eq!(ambiguous.message, "a container name must be specified for pod p, choose one of: [a b]");
        assert_eq!(node_path(&pod(&["a"], None), "exec", Some("container=zz")).expect_err("is unknown").code, 400);
    }
}
