//! An HTTP GET that is answered with 200 to 399.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction};

use super::port;

/// No more of an answer is kept.
const BODY: usize = 10 * 1024;

/// The status code and the beginning of the body.
pub(crate) async fn get(
    container: &Container,
    action: &HTTPGetAction,
    address: Option<IpAddr>,
    timeout: Duration,
) -> Result<(u16, String), String> {
    let port = port(container, &action.port)?;
    let host = match action.host.as_deref().filter(|host| !host.is_empty()) {
        Some(host) => host.to_owned(),
        None => match address.ok_or("the pod has no address")? {
            IpAddr::V6(address) => format!("[{address}]"),
            IpAddr::V4(address) => address.to_string(),
        },
    };
    let scheme = if action.scheme.as_deref() == Some("HTTPS") { "https" } else { "http" };
    let path = action.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let url = format!("{scheme}://{host}:{port}{}{path}", if path.starts_with('/') { "" } else { "/" });
    let failed = |error: reqwest::Error| format!("Get \"{url}\": {}", why(&error, &format!("{host}:{port}")));
    let client = client().as_ref().map_err(Clone::clone)?;
    let mut request = client.get(&url).timeout(timeout).header("user-agent", "kube-probe/1.36").header("accept", "*/*");
    for header in action.http_headers.iter().flatten() {
        request = request.header(&header.name, &header.value);
    }
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while body.len() < BODY {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return Err(failed(error)),
        }
    }
    if (200..400).contains(&status) {
        return Ok((status, String::from_utf8_lossy(&body).into_owned()));
    }
    Err(format!("HTTP probe failed with statuscode: {status}"))
}

/// In the words of kubelets' events.
fn why(error: &reqwest::Error, at: &str) -> String {
    if error.is_timeout() {
        return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned();
    }
    let cause = root_cause(error);
    match cause.downcast_ref::<std::io::Error>() {
        Some(cause) if error.is_connect() => format!("dial tcp {at}: {}", mizzen_api::why_not_connected(cause)),
        _ => cause.to_string(),
    }
}

fn root_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}

/// One client for all probes. It keeps no connections: a probe must see whether a new one is accepted.
fn client() -> &'static Result<reqwest::Client, String> {
    static CLIENT: OnceLock<Result<reqwest::Client, String>> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // A probe asks whether the program answers, not who it is.
        let tls = mizzen_client::unverified(provider).map_err(|error| error.to_string())?.with_no_client_auth();
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .map_err(|error| error.to_string())
    })
}
