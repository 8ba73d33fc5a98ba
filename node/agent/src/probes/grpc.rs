//! A gRPC health check (`grpc.health.v1.Health/Check`) that answers SERVING. One call with one field each way needs no more
//! than HTTP/2 itself.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use hyper::body::{Body as _, Incoming};
use hyper::{HeaderMap, Request, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::GRPCAction;
use tokio::net::TcpStream;

/// No more of an answer is read; the message has one small number.
const LONGEST: usize = 4096;
/// Every message has a byte that says whether it is compressed, and its length.
const PREFIX: usize = 5;

const SERVING: u64 = 1;
const UNIMPLEMENTED: &str = "12";

/// # Errors
/// In the words of the probe's event.
pub(crate) async fn check(action: &GRPCAction, address: Option<IpAddr>, timeout: Duration) -> Result<(), String> {
    let port = u16::try_from(action.port).map_err(|_| format!("{} is no port", action.port))?;
    let target = SocketAddr::new(address.ok_or("the pod has no address")?, port);
    let service = action.service.as_deref().unwrap_or_default();
    let call = tokio::time::timeout(timeout, call(target, service));
    call.await.map_err(|_| format!("timeout: health rpc to {target} did not complete within {timeout:?}"))?
}

async fn call(target: SocketAddr, service: &str) -> Result<(), String> {
    let unreachable = |why: String| format!("failed to connect service \"{target}\": {why}");
    let failed = |why: String| format!("health rpc probe failed: {why}");
    let stream = TcpStream::connect(target).await.map_err(|error| unreachable(error.to_string()))?;
    let connected = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.map_err(|error| unreachable(error.to_string()))?;
    let request = Request::post(format!("http://{target}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "kube-probe/1.36")
        .body(Body::from(request(service)))
        .map_err(|error| failed(error.to_string()))?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
        if !response.status().is_success() {
            return Err(failed(format!("HTTP status {}", response.status())));
        }
        let (head, body) = response.into_parts();
        let (message, trailers) = read(body).await.map_err(failed)?;
        // An answer without a message has its status among the headers.
        let of = |name: &str| trailers.get(name).or_else(|| head.headers.get(name)).and_then(|value| value.to_str().ok());
        match of("grpc-status") {
            Some("0") => {}
            Some(UNIMPLEMENTED) => {
                return Err("this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned());
            }
            status => {
                let (status, message) = (status.unwrap_or("missing"), of("grpc-message").unwrap_or_default());
                return Err(failed(format!("rpc error: code {status} desc = {message}")));
            }
        }
        match status(&message).map_err(failed)? {
            SERVING => Ok(()),
            other => Err(format!("service unhealthy (responded with \"{}\")", name(other))),
        }
    };
    // The connection ends with the answer, whether the other side likes it or not. One that the other side has closed may
    // have brought the answer before; without one, the question fails.
    let mut answered = std::pin::pin!(answered);
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        _ = connection => answered.await,
    }
}

/// `HealthCheckRequest { string service = 1; }` with its prefix.
fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length as u8 & 0x7f | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    // A service's name is far shorter than 4 GiB.
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

async fn read(mut body: Incoming) -> Result<(Vec<u8>, HeaderMap), String> {
    let (mut message, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        match frame.map_err(|error| error.to_string())?.into_data() {
            Ok(data) if message.len() + data.len() > LONGEST => return Err("the answer is too long".to_owned()),
            Ok(data) => message.extend_from_slice(&data),
            Err(other) => trailers.extend(other.into_trailers().unwrap_or_default()),
        }
    }
    Ok((message, trailers))
}

/// `HealthCheckResponse { ServingStatus status = 1; }`; an absent field is 0.
fn status(framed: &[u8]) -> Result<u64, String> {
    let message = match framed.split_at_checked(PREFIX) {
        Some(([0, ..], message)) => message,
        Some(_) => return Err("the answer is compressed, which was not asked for".to_owned()),
        None => return Err("the answer has no message".to_owned()),
    };
    let mut bytes = message.iter();
    let mut varint = || {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = bytes.next()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    match varint() {
        None => Ok(0),
        Some(0x08) => varint().ok_or_else(|| "the answer is cut off".to_owned()),
        Some(tag) => Err(format!("the answer begins with field {}", tag >> 3)),
    }
}

fn name(status: u64) -> &'static str {
    match status {
        0 => "UNKNOWN",
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "an unknown status",
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use hyper::service::service_fn;
    use hyper::{Response, StatusCode};
    use tokio::net::TcpListener;
    use tokio::sync::Notify;

    use super::*;

    /// Serves one service, `web`, and everything by status code.
    async fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service_fn(|request: Request<Incoming>| async move {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    let (asked, _) = read(request.into_body()).await.expect("reads");
                    let service = asked.get(PREFIX + 2..).map(|name| String::from_utf8_lossy(name).into_owned());
                    let (grpc, message): (&str, &[u8]) = match service.as_deref() {
                        None | Some("web") => ("0", &[0, 0, 0, 0, 2, 8, 1]),
                        Some("down") => ("0", &[0, 0, 0, 0, 2, 8, 2]),
                        Some("starting") => ("0", &[0, 0, 0, 0, 0]),
                        Some("hangs") => std::future::pending().await,
                        Some("none") => ("12", &[]),
                        Some(_) => ("5", &[]),
                    };
                    let mut response = Response::new(Body::from(message.to_vec()));
                    *response.status_mut() = StatusCode::OK;
                    response.headers_mut().insert("grpc-status", grpc.parse().expect("is a value"));
                    Ok::<_, Infallible>(response)
                });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        });
        address
    }

    #[tokio::test]
    async fn only_a_service_that_serves_passes() {
        let target = server().await;
        let ask = async |service: Option<&str>, timeout: u64| {
            let action = GRPCAction { port: i32::from(target.port()), service: service.map(str::to_owned) };
            check(&action, Some(target.ip()), Duration::from_millis(timeout)).await
        };
        assert_eq!(ask(None, 60_000).await, Ok(()));
        assert_eq!(ask(Some("web"), 60_000).await, Ok(()));
        for (service, why) in [
            ("down", "service unhealthy (responded with \"NOT_SERVING\")"),
            ("starting", "service unhealthy (responded with \"UNKNOWN\")"),
            ("none", "this server does not implement the grpc health protocol"),
            ("other", "health rpc probe failed: rpc error: code 5"),
        ] {
            let error = ask(Some(service), 60_000).await.expect_err("fails");
            assert!(error.starts_with(why), "{service}: {error}");
        }
        assert!(ask(Some("hangs"), 50).await.expect_err("fails").starts_with("timeout:"));
        let nobody = GRPCAction { port: 1, service: None };
        let error = check(&nobody, Some(target.ip()), Duration::from_secs(60)).await.expect_err("fails");
        assert!(error.starts_with("failed to connect service"), "{error}");
    }

    /// Serves one question for each connection, and closes it with the answer.
    async fn hasty_server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let asked = Arc::new(Notify::new());
                let is_asked = asked.clone();
                let service = service_fn(move |_: Request<Incoming>| {
                    asked.notify_one();
                    async {
                        let mut response = Response::new(Body::from(vec![0, 0, 0, 0, 2, 8, 1]));
                        response.headers_mut().insert("grpc-status", "0".parse().expect("is a value"));
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(async move {
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
                    tokio::select! {
                        _ = &mut connection => return,
                        () = is_asked.notified() => connection.as_mut().graceful_shutdown(),
                    }
                    let _ = connection.await;
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn an_answer_counts_though_the_server_closes_the_connection_with_it() {
        let target = hasty_server().await;
        let action = GRPCAction { port: i32::from(target.port()), service: None };
        for _ in 0..200 {
            assert_eq!(check(&action, Some(target.ip()), Duration::from_secs(60)).await, Ok(()));
        }
    }

    #[test]
    fn long_names_have_long_lengths_and_broken_answers_are_no_status() {
        let framed = request(&"x".repeat(300));
        assert_eq!(framed[..PREFIX + 3], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
        assert!(status(&[0, 0]).is_err() && status(&[1, 0, 0, 0, 0]).is_err() && status(&[0, 0, 0, 0, 1, 8]).is_err());
    }
}
