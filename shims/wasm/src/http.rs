//! Serving a `wasi:http` component: an instance from the pool for each request.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::cpu::metered;
use crate::data::Data;
use crate::pod::Pod;

/// Serves until the pod is asked to stop, then until the last connection is done.
pub(crate) async fn serve(pod: Arc<Pod>, listeners: Vec<TcpListener>, program: ProxyPre<Data>) {
    loop {
        let accepted = tokio::select! {
            () = pod.stop.cancelled() => break,
            accepted = accept(&listeners) => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (pod, program) = (Arc::clone(&pod), program.clone());
                let killed = pod.kill.clone();
                let connection = connection(Arc::clone(&pod), stream, program);
                let usage = Arc::clone(&pod.usage);
                // What it takes to read requests and to write answers is the pod's to pay for as well.
                pod.tasks.spawn(async move { killed.run_until_cancelled(metered(&usage.cpu, connection)).await });
            }
            // Out of descriptors, or a client that went away: there is nothing to wait for but time.
            Err(err) => {
                tracing::debug!(%err, "a connection is not accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    drop(listeners);
    pod.tasks.close();
    pod.tasks.wait().await;
}

/// The next connection to any of them.
async fn accept(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|context| {
        let mut accepted = listeners.iter().map(|listener| listener.poll_accept(context));
        accepted.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

async fn connection(pod: Arc<Pod>, stream: TcpStream, program: ProxyPre<Data>) {
    // Small answers must not wait for the client's acknowledgement.
    let _ = stream.set_nodelay(true);
    let stop = pod.stop.clone();
    let own = stream.local_addr().ok().and_then(|address| HeaderValue::from_str(&address.to_string()).ok());
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (pod, program) = (Arc::clone(&pod), program.clone());
        // HTTP/1.0 (RFC 1945) knows no Host header, and a component is always asked under some authority.
        if let (None, Some(own)) = (request.uri().authority(), &own) {
            request.headers_mut().entry(HOST).or_insert_with(|| own.clone());
        }
        async move { Ok::<_, Infallible>(handle(&pod, program, request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    // A client that has said all it wants to say still waits for its answer.
    builder.http1().half_close(true);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(err) = ended {
        tracing::debug!(%err, "a connection broke");
    }
}

async fn handle(pod: &Arc<Pod>, program: ProxyPre<Data>, request: Request<Incoming>) -> Response<HyperOutgoingBody> {
    let (sender, answered) = oneshot::channel();
    let instance = {
        let (pod, usage) = (Arc::clone(pod), Arc::clone(&pod.usage));
        async move {
            let mut store = pod.store().map_err(wasmtime::Error::from_anyhow)?;
            let incoming = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
            let out = store.data_mut().http().new_response_outparam(sender)?;
            let run = async {
                let proxy = program.instantiate_async(&mut store).await?;
                proxy.wasi_http_incoming_handler().call_handle(&mut store, incoming, out).await
            };
            metered(&usage.cpu, run).await
        }
    };
    let killed = pod.kill.clone();
    let logger = Arc::clone(pod);
    // Goes on after its answer has begun: the body is still to come.
    let task = pod.tasks.spawn(async move {
        let ended = killed.run_until_cancelled(instance).await;
        if let Some(Err(error)) = &ended {
            logger.complain(error);
        }
    });
    match answered.await {
        Ok(Ok(response)) => response,
        Ok(Err(code)) => failure(StatusCode::BAD_GATEWAY, &format!("the component answered with an error: {code:?}")),
        Err(_) => {
            let _ = task.await;
            failure(StatusCode::INTERNAL_SERVER_ERROR, "the component failed; see its log")
        }
    }
}

fn failure(status: StatusCode, text: &str) -> Response<HyperOutgoingBody> {
    let body = Full::new(Bytes::from(format!("{text}\n"))).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
