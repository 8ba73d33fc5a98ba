//! An API server of somebody else's behind an APIService, as the sample API server of Kubernetes 1.17 is one: it believes the
//! front proxy about who asks, asks the cluster whether they may, knows only the older forms of discovery and OpenAPI, and
//! keeps objects of one kind (in memory).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::cluster::Cluster;
use crate::folder::Folder;
use crate::ports::Port;

pub const GROUP: &str = "wardle.example.com";
pub const API_VERSION: &str = "wardle.example.com/v1alpha1";
/// Where the server's service is.
pub const NAMESPACE: &str = "wardle";
pub const SERVICE: &str = "sample-api";
/// How often a state is looked for, and how long after.
const PATIENCE: u32 = 2400;
const PAUSE: Duration = Duration::from_millis(50);
const ROOT: &str = "/apis/wardle.example.com/v1alpha1";

type Body = UnsyncBoxBody<Bytes, Infallible>;

pub struct SampleServer {
    address: SocketAddr,
    bundle: Vec<u8>,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
    _port: Port,
    _folder: Folder,
}

struct State {
    /// The cluster, as this server's service account.
    cluster: Client,
    objects: Mutex<Objects>,
    changes: broadcast::Sender<Value>,
    /// The headers of the requests that were let in, the newest last.
    heard: Mutex<Vec<BTreeMap<String, String>>>,
}

#[derive(Default)]
struct Objects {
    revision: u64,
    /// By namespace and name.
    stored: BTreeMap<(String, String), Value>,
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
    for left in (0..PATIENCE).rev() {
        let last = match ask(client, "GET", path, None).await {
            Ok(answer) if wanted(&answer) => return answer,
            Ok(answer) => answer.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(left > 0, "{path} never became right: {last}");
        tokio::time::sleep(PAUSE).await;
    }
    unreachable!("it was right or not")
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
        let tls = tls(&authority, trust["data"]["requestheader-client-ca-file"].as_str().expect("is text"));
        let address = port.on(own_address());
        let listener = TcpListener::bind(address).await.expect("listens");
        let (changes, _) = broadcast::channel(64);
        let state = Arc::new(State { cluster: own, objects: Mutex::default(), changes, heard: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(tls), state.clone()));
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
        for (path, object) in [
            (format!("/api/v1/namespaces/{NAMESPACE}/services"), self.service()),
            (format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"), self.slice(true)),
            ("/apis/apiregistration.k8s.io/v1/apiservices".to_owned(), self.api_service()),
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

/// Only who shows a certificate of the front proxy's root gets in.
fn tls(authority: &Authority, front_proxy: &str) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(front_proxy.as_bytes()).expect("a certificate")).expect("a root");
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let (certificate, key) = authority.issue_to_name(&format!("{SERVICE}.{NAMESPACE}.svc"));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key"),
        )
        .expect("the key fits the certificate");
    Arc::new(config)
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        let (acceptor, state) = (acceptor.clone(), state.clone());
        tokio::spawn(async move {
            // Who shows the wrong certificate is no concern of the others.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answering = service_fn(move |request| {
                let state = state.clone();
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answering);
            let _ = serving.with_upgrades().await;
        });
    }
}

fn json_answer(code: u16, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).boxed_unsync();
    Response::builder().status(code).header("content-type", "application/json").body(body).expect("an answer")
}

fn failure(code: u16, reason: &str, message: &str) -> Response<Body> {
    json_answer(
        code,
        &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}),
    )
}

/// What a request is about.
struct Asked {
    verb: &'static str,
    namespace: String,
    name: String,
    subresource: String,
}

async fn answer(state: &Arc<State>, mut request: Request<Incoming>) -> Response<Body> {
    let headers: BTreeMap<String, String> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let path = request.uri().path().to_owned();
    let watch = request.uri().query().is_some_and(|query| query.contains("watch=true") || query.contains("watch=1"));
    let asked = of_flunders(request.method(), &path, watch);
    if let Err(why) = authorize(state, &request, asked.as_ref()).await {
        return failure(403, "Forbidden", &why);
    }
    state.heard.lock().push(headers);
    match (path.as_str(), &asked) {
        (_, Some(asked)) if asked.subresource == "echo" => echo(&mut request),
        (_, Some(asked)) => {
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            objects(state, asked, &body)
        }
        ("/apis", None) => json_answer(200, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group()]})),
        ("/apis/wardle.example.com", None) => json_answer(200, &group()),
        (ROOT, None) => json_answer(200, &resources()),
        ("/openapi/v2", None) => json_answer(200, &swagger()),
        _ => failure(404, "NotFound", "the server could not find the requested resource"),
    }
}

fn of_flunders(method: &Method, path: &str, watch: bool) -> Option<Asked> {
    let rest: Vec<&str> = path.strip_prefix(ROOT)?.split('/').skip(1).collect();
    let (namespace, name, subresource) = match rest.as_slice() {
        ["flunders"] => ("", "", ""),
        ["namespaces", namespace, "flunders"] => (*namespace, "", ""),
        ["namespaces", namespace, "flunders", name] => (*namespace, *name, ""),
        ["namespaces", namespace, "flunders", name, subresource] => (*namespace, *name, *subresource),
        _ => return None,
    };
    let verb = match *method {
        Method::GET if name.is_empty() && watch => "watch",
        Method::GET if name.is_empty() => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if name.is_empty() => "deletecollection",
        _ => "delete",
    };
    Some(Asked { verb, namespace: namespace.to_owned(), name: name.to_owned(), subresource: subresource.to_owned() })
}

/// Asks the cluster whether the user that the front proxy names may do this (a SubjectAccessReview).
async fn authorize(state: &State, request: &Request<Incoming>, asked: Option<&Asked>) -> Result<(), String> {
    let all =
        |name: &str| -> Vec<&str> { request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect() };
    let user = all("x-remote-user").first().copied().unwrap_or_default().to_owned();
    let extra: serde_json::Map<String, Value> = request
        .headers()
        .keys()
        .filter_map(|name| Some((name.as_str().strip_prefix("x-remote-extra-")?.replace("%2f", "/"), json!(all(name.as_str())))))
        .collect();
    let mut spec = json!({"user": user, "groups": all("x-remote-group"), "extra": extra});
    match asked {
        Some(Asked { verb, namespace, name, subresource }) => {
            spec["resourceAttributes"] = json!({"verb": verb, "group": GROUP, "version": "v1alpha1", "resource": "flunders",
                "subresource": subresource, "namespace": namespace, "name": name});
        }
        None => {
            let verb = request.method().as_str().to_ascii_lowercase();
            spec["nonResourceAttributes"] = json!({"verb": verb, "path": request.uri().path()});
        }
    }
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let review = ask(&state.cluster, "POST", path, Some(json!({"spec": spec}))).await.map_err(|error| error.to_string())?;
    match review["status"]["allowed"] == true {
        true => Ok(()),
        false => Err(format!("the sample API server refuses {user}")),
    }
}

fn objects(state: &State, asked: &Asked, body: &[u8]) -> Response<Body> {
    let key = (asked.namespace.clone(), asked.name.clone());
    let mut objects = state.objects.lock();
    let not_found = || failure(404, "NotFound", &format!("flunders.{GROUP} {:?} not found", asked.name));
    let given = || serde_json::from_slice::<Value>(body).unwrap_or_default();
    match asked.verb {
        "watch" => return watch(state, &objects),
        "list" => {
            let is_of = |key: &(String, String)| asked.namespace.is_empty() || key.0 == asked.namespace;
            let items: Vec<&Value> = objects.stored.iter().filter(|(key, _)| is_of(key)).map(|(_, object)| object).collect();
            let revision = objects.revision.to_string();
            let list = json!({"kind": "FlunderList", "apiVersion": API_VERSION, "metadata": {"resourceVersion": revision},
                "items": items});
            return json_answer(200, &list);
        }
        "get" => return objects.stored.get(&key).map_or_else(not_found, |object| json_answer(200, object)),
        _ => {}
    }
    let (kind, object) = match asked.verb {
        "create" => {
            let mut object = given();
            object["metadata"]["namespace"] = json!(asked.namespace);
            object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
            ("ADDED", object)
        }
        "update" => ("MODIFIED", given()),
        "patch" => {
            let Some(mut object) = objects.stored.get(&key).cloned() else { return not_found() };
            merge(&mut object, &given());
            ("MODIFIED", object)
        }
        _ => {
            let Some(object) = objects.stored.remove(&key) else { return not_found() };
            ("DELETED", object)
        }
    };
    let mut object = object;
    objects.revision += 1;
    object["metadata"]["resourceVersion"] = json!(objects.revision.to_string());
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if kind != "DELETED" {
        objects.stored.insert((asked.namespace.clone(), name), object.clone());
    }
    // Nobody may be watching.
    let _ = state.changes.send(json!({"type": kind, "object": object}));
    json_answer(if kind == "ADDED" { 201 } else { 200 }, &object)
}

/// Tells of what there is and then of every change, until the client goes.
fn watch(state: &State, objects: &Objects) -> Response<Body> {
    let present: Vec<Value> = objects.stored.values().map(|object| json!({"type": "ADDED", "object": object})).collect();
    let changes = futures::stream::unfold(state.changes.subscribe(), |mut changes| async move {
        let change = changes.recv().await.ok()?;
        Some((change, changes))
    });
    let frames = futures::stream::iter(present).chain(changes);
    let frames = frames.map(|frame| Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{frame}\n")))));
    let body = StreamBody::new(frames).boxed_unsync();
    Response::builder().header("content-type", "application/json").body(body).expect("an answer")
}

/// Answers with what it hears, over another protocol.
fn echo(request: &mut Request<Incoming>) -> Response<Body> {
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgraded.await.expect("is upgraded"));
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await.expect("reads");
        stream.write_all(&heard).await.expect("answers");
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).header("connection", "upgrade");
    response.header("upgrade", "echo").body(Full::default().boxed_unsync()).expect("an answer")
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.as_object_mut().and_then(|target| target.remove(name))),
            value => merge(&mut target[name.as_str()], value),
        }
    }
}

fn group() -> Value {
    let version = json!({"groupVersion": API_VERSION, "version": "v1alpha1"});
    json!({"kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version})
}

fn resources() -> Value {
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": API_VERSION, "resources": [
        {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "shortNames": ["fl"],
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]},
        {"name": "flunders/echo", "singularName": "", "namespaced": true, "kind": "Flunder", "verbs": ["get"]}]})
}

fn swagger() -> Value {
    let kind = json!({"group": GROUP, "version": "v1alpha1", "kind": "Flunder"});
    let refers = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
    let answers = |action: &str| {
        json!({"description": "list or read", "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind,
            "produces": ["application/json"],
            "responses": {"200": {"description": "OK", "schema": refers("com.example.wardle.v1alpha1.Flunder")}}})
    };
    let metadata = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    json!({"swagger": "2.0", "info": {"title": "sample", "version": "0.1.0"},
        "paths": {
            format!("{ROOT}/namespaces/{{namespace}}/flunders"): {"get": answers("list")},
            format!("{ROOT}/namespaces/{{namespace}}/flunders/{{name}}"): {"get": answers("get")}},
        "definitions": {
            "com.example.wardle.v1alpha1.Flunder": {
                "description": "A Flunder is what the sample is about.", "type": "object",
                "x-kubernetes-group-version-kind": [kind],
                "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": refers(metadata),
                    "spec": {"description": "What it should be.", "$ref": "#/definitions/com.example.wardle.v1alpha1.FlunderSpec"}}},
            "com.example.wardle.v1alpha1.FlunderSpec": {"type": "object", "properties": {
                "reference": {"description": "The name of another flunder.", "type": "string"}}},
            // Older than the cluster's own.
            metadata: {"type": "object", "properties": {"name": {"type": "string"}, "clusterName": {"type": "string"}}}}})
}
