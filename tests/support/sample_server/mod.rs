//! An API server of somebody else's behind an APIService, as the sample API server of Kubernetes 1.17 is one: it believes the
//! front proxy about who asks, asks the cluster whether they may, knows only the older forms of discovery and OpenAPI, and
//! keeps objects of one kind (in memory).

mod documents;
mod objects;
mod serve;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Request;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::cluster::Cluster;
use crate::folder::Folder;
use crate::ports::Port;
use crate::wait::eventually_async;
use objects::Objects;
use serve::State;

pub const GROUP: &str = "wardle.example.com";
pub const API_VERSION: &str = "wardle.example.com/v1alpha1";
/// Where the server's service is.
pub const NAMESPACE: &str = "wardle";
pub const SERVICE: &str = "sample-api";
const ROOT: &str = "/apis/wardle.example.com/v1alpha1";

pub struct SampleServer {
    address: SocketAddr,
    bundle: Vec<u8>,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
    _port: Port,
    _folder: Folder,
}

impl Drop for SampleServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The cluster's administrator.
///
/// # Panics
/// When the kubeconfig cannot be used.
pub async fn administrator(cluster: &Cluster) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    client(Kubeconfig::read_from(cluster.kubeconfig()).expect("reads")).await
}

async fn client(kubeconfig: Kubeconfig) -> Client {
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a configuration");
    // That a server is unavailable is an answer here.
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

/// One request and what is answered, as JSON.
///
/// # Errors
/// What the server says of a request that failed.
///
/// # Panics
/// When the request cannot be made.
pub async fn ask(client: &Client, method: &str, path: &str, body: Option<Value>) -> Result<Value, kube::Error> {
    let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", media_type);
    client.request(request.body(body.map(|body| body.to_string().into_bytes()).unwrap_or_default()).expect("a request")).await
}

/// The same until the answer is as `wanted` says.
///
/// # Panics
/// When that does not come about.
pub async fn until(client: &Client, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually_async(path, async || match ask(client, "GET", path, None).await {
        Ok(answer) if wanted(&answer) => Ok(answer),
        Ok(answer) => Err(answer.to_string()),
        Err(error) => Err(error.to_string()),
    })
    .await
}

/// An address of this machine that is not of loopback, which no endpoint may have. Traffic to it stays on the machine.
fn own_address() -> IpAddr {
    let addresses = nix::ifaddrs::getifaddrs().expect("the machine has interfaces");
    let v4 = addresses.filter_map(|interface| interface.address?.as_sockaddr_in().map(|address| address.ip()));
    let usable = v4.filter(|address| !address.is_loopback() && !address.is_link_local());
    usable.map(IpAddr::V4).next().expect("the machine has an address that is not of loopback")
}

impl SampleServer {
    /// Starts it with an account of its own, which may read whom to believe and ask who may do what, and nothing else.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(cluster: &Cluster, admin: &Client) -> Self {
        for (path, object) in account() {
            ask(admin, "POST", path, Some(object)).await.expect("is made");
        }
        let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/apiserver/token");
        let answer = ask(admin, "POST", &path, Some(json!({"spec": {}}))).await.expect("a token");
        let token = answer["status"]["token"].as_str().expect("a token").to_owned();
        let mut kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).expect("reads");
        for user in &mut kubeconfig.auth_infos {
            user.auth_info = Some(AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() });
        }
        let own = client(kubeconfig).await;
        let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
        let trust = until(&own, path, |map| map["data"]["requestheader-client-ca-file"].is_string()).await;

        let (folder, port) = (Folder::new(), Port::reserve());
        let authority = Authority::new(folder.path());
        let bundle = authority.pem().into_bytes();
        let tls = serve::tls(&authority, trust["data"]["requestheader-client-ca-file"].as_str().expect("is text"));
        let address = port.on(own_address());
        let listener = TcpListener::bind(address).await.expect("listens");
        let state = Arc::new(State { cluster: own, objects: Objects::default(), heard: Mutex::default() });
        let accepting = tokio::spawn(serve::accept(listener, TlsAcceptor::from(tls), state.clone()));
        Self { address, bundle, state, accepting, _port: port, _folder: folder }
    }

    pub fn service(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE, "namespace": NAMESPACE},
            "spec": {"ports": [{"name": "https", "port": 7443, "targetPort": self.address.port()}]}})
    }

    /// Where the service is answered; `is_ready` says whether it is.
    pub fn slice(&self, is_ready: bool) -> Value {
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": SERVICE, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": SERVICE}},
            "endpoints": [{"addresses": [self.address.ip().to_string()], "conditions": {"ready": is_ready}}],
            "ports": [{"name": "https", "port": self.address.port()}]})
    }

    /// The certificate by which it is believed, in PEM.
    pub fn bundle(&self) -> &[u8] {
        &self.bundle
    }

    pub fn api_service(&self) -> Value {
        use base64::Engine as _;
        let bundle = base64::engine::general_purpose::STANDARD.encode(&self.bundle);
        json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": format!("v1alpha1.{GROUP}")},
            "spec": {"group": GROUP, "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 200,
                "caBundle": bundle, "service": {"namespace": NAMESPACE, "name": SERVICE, "port": 7443}}})
    }

    /// Makes the three objects above, and waits until the server is available.
    ///
    /// # Panics
    /// When that does not come about.
    pub async fn register(&self, admin: &Client) {
        self.register_as(admin, self.api_service()).await;
    }

    /// The same with another APIService.
    ///
    /// # Panics
    /// When that does not come about.
    pub async fn register_as(&self, admin: &Client, api_service: Value) {
        for (path, object) in [
            (format!("/api/v1/namespaces/{NAMESPACE}/services"), self.service()),
            (format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"), self.slice(true)),
            ("/apis/apiregistration.k8s.io/v1/apiservices".to_owned(), api_service),
        ] {
            ask(admin, "POST", &path, Some(object)).await.expect("is made");
        }
        let path = format!("/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.{GROUP}");
        until(admin, &path, |service| service["status"]["conditions"][0]["status"] == "True").await;
        until(admin, ROOT, |list| list["kind"] == "APIResourceList").await;
    }

    /// What the newest request of a user that was let in said.
    ///
    /// # Panics
    /// When there was none.
    pub fn heard_of(&self, user: &str) -> BTreeMap<String, String> {
        let heard = self.state.heard.lock();
        let of_user = |headers: &&BTreeMap<String, String>| headers.get("x-remote-user").is_some_and(|named| named == user);
        heard.iter().rfind(of_user).cloned().expect("was asked")
    }

    /// The names of the objects that it has in a namespace.
    pub fn names(&self, namespace: &str) -> Vec<String> {
        self.state.objects.names(namespace)
    }
}

/// The server's namespace, its account and what that may do.
fn account() -> Vec<(&'static str, Value)> {
    let subject = json!([{"kind": "ServiceAccount", "name": "apiserver", "namespace": NAMESPACE}]);
    let role = |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
    vec![
        ("/api/v1/namespaces", json!({"metadata": {"name": NAMESPACE}})),
        ("/api/v1/namespaces/wardle/serviceaccounts", json!({"metadata": {"name": "apiserver"}})),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            json!({"metadata": {"name": "wardle:system:auth-delegator"}, "subjects": subject,
                "roleRef": role("ClusterRole", "system:auth-delegator")}),
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings",
            json!({"metadata": {"name": "wardle-auth-reader"}, "subjects": subject,
                "roleRef": role("Role", "extension-apiserver-authentication-reader")}),
        ),
    ]
}
