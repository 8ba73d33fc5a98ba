//! `healthCheckNodePort`: where load balancers ask whether this node has endpoints of a service that keeps its traffic local.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use mizzen_api::ObjectRef;
use mizzen_reconcile::Backoff;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));

/// One listener for each service that has such a port.
#[derive(Default)]
pub(crate) struct HealthPorts {
    open: Mutex<BTreeMap<ObjectRef, Open>>,
}

struct Open {
    port: u16,
    endpoints: Arc<AtomicUsize>,
    _listening: DropGuard,
}

impl HealthPorts {
    /// What a service's port is to answer: its number and how many endpoints the service has here; `None` closes it.
    pub(crate) fn set(&self, service: &ObjectRef, wanted: Option<(u16, usize)>) {
        let mut open = self.open.lock();
        let Some((port, endpoints)) = wanted else {
            open.remove(service);
            return;
        };
        if let Some(known) = open.get(service).filter(|known| known.port == port) {
            known.endpoints.store(endpoints, Ordering::Relaxed);
            return;
        }
        let (endpoints, cancel) = (Arc::new(AtomicUsize::new(endpoints)), CancellationToken::new());
        tokio::spawn(listen(service.clone(), port, endpoints.clone(), cancel.clone()));
        open.insert(service.clone(), Open { port, endpoints, _listening: cancel.drop_guard() });
    }
}

async fn listen(service: ObjectRef, port: u16, endpoints: Arc<AtomicUsize>, cancel: CancellationToken) {
    let Some(listener) = cancel.run_until_cancelled(bind(&service, port)).await else { return };
    let about = service.clone();
    let router = Router::new().fallback(async move || answer(&about, endpoints.load(Ordering::Relaxed)));
    let served = axum::serve(listener, router).with_graceful_shutdown(cancel.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::warn!(%service, port, %error, "healthCheckNodePort");
    }
}

/// Somebody else may have the port for a while: the listener of a service that has just gone, say.
async fn bind(service: &ObjectRef, port: u16) -> TcpListener {
    let mut failures = 0;
    loop {
        match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await {
            Ok(listener) => return listener,
            Err(error) => {
                if failures == 0 {
                    tracing::warn!(%service, port, %error, "healthCheckNodePort is not answered until the port is free");
                }
                tokio::time::sleep(RETRY.delay(failures)).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

/// As kube-proxy answers.
fn answer(service: &ObjectRef, endpoints: usize) -> Response {
    let status = if endpoints > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "service": {"namespace": service.namespace, "name": service.name},
        "localEndpoints": endpoints,
        "serviceProxyHealthy": true,
    });
    (status, [("x-load-balancing-endpoint-weight", endpoints.to_string())], Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_port_that_somebody_else_has_is_answered_when_it_is_free() {
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.expect("binds");
        let port = taken.local_addr().expect("is bound").port();
        let (health, service) = (HealthPorts::default(), ObjectRef::new("n", "s"));
        health.set(&service, Some((port, 1)));
        drop(taken);
        let mut answer = String::new();
        while !answer.starts_with("HTTP/1.1 200") {
            let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
                tokio::task::yield_now().await;
                continue;
            };
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("writes");
            stream.read_to_string(&mut answer).await.expect("reads");
        }
        health.set(&service, None);
    }

    #[test]
    fn a_node_is_healthy_while_it_has_an_endpoint() {
        let service = ObjectRef::new("n", "s");
        assert_eq!(answer(&service, 0).status(), StatusCode::SERVICE_UNAVAILABLE);
        let well = answer(&service, 2);
        assert_eq!(
            (well.status(), &well.headers()["x-load-balancing-endpoint-weight"]),
            (StatusCode::OK, &"2".parse().expect("a value"))
        );
    }
}
