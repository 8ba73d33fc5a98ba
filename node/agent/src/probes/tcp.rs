//! A port answers when a connection can be opened.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, TCPSocketAction};

use super::port;

pub(crate) async fn connect(
    container: &Container,
    action: &TCPSocketAction,
    address: Option<IpAddr>,
    timeout: Duration,
) -> Result<(), String> {
    let port = port(container, &action.port)?;
    let host = match action.host.as_deref().filter(|host| !host.is_empty()) {
        Some(host) => host.to_owned(),
        None => address.ok_or("the pod has no address")?.to_string(),
    };
    let connect = tokio::net::TcpStream::connect((host.as_str(), port));
    match tokio::time::timeout(timeout, connect).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("dial tcp {host}:{port}: {}", mizzen_api::why_not_connected(&error))),
        Err(_) => Err(format!("dial tcp {host}:{port}: i/o timeout")),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

    use super::*;

    #[tokio::test]
    async fn a_port_that_listens_passes_and_one_that_does_not_fails() {
        let socket = || {
            let socket = tokio::net::TcpSocket::new_v4().expect("makes a socket");
            socket.bind(([127, 0, 0, 1], 0).into()).expect("binds");
            let number = socket.local_addr().expect("has an address").port();
            (socket, TCPSocketAction { host: None, port: IntOrString::Int(i32::from(number)) })
        };
        let ((open, action), (_closed, silent)) = (socket(), socket());
        let _listener = open.listen(1).expect("listens");
        let loopback = Some(IpAddr::from([127, 0, 0, 1]));
        let container = Container::default();
        connect(&container, &action, loopback, Duration::from_secs(60)).await.expect("connects");
        connect(&container, &silent, loopback, Duration::from_secs(60)).await.expect_err("is refused");
    }
}
