//! Requests: who is let in, what is asked, and who may.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::documents::{group, resources, swagger};
use super::objects::Objects;
use super::{GROUP, NAMESPACE, ROOT, SERVICE, ask};
use crate::authority::Authority;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(super) struct State {
    /// The cluster, as this server's service account.
    pub(super) cluster: Client,
    pub(super) objects: Objects,
    /// The headers of the requests that were let in, the newest last.
    pub(super) heard: Mutex<Vec<BTreeMap<String, String>>>,
}

/// Only who shows a certificate of the front proxy's root gets in.
pub(super) fn tls(authority: &Authority, front_proxy: &str) -> Arc<rustls::ServerConfig> {
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

/// Serves until it is dropped, with all connections.
pub(super) async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        let (acceptor, state) = (acceptor.clone(), state.clone());
        connections.spawn(async move {
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

pub(super) fn json_answer(code: u16, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).boxed_unsync();
    Response::builder().status(code).header("content-type", "application/json").body(body).expect("an answer")
}

pub(super) fn failure(code: u16, reason: &str, message: &str) -> Response<Body> {
    json_answer(
        code,
        &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}),
    )
}

/// What a request is about.
pub(super) struct Asked {
    pub(super) verb: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) subresource: String,
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
            state.objects.answer(asked, &body)
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
