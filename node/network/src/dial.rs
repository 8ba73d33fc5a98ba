//! Connections to a pod's ports, as a process in the pod would make them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

use crate::{Network, NetworkError, namespace};

impl Network {
    /// Connects to a port on a pod's loopback. A Wasm pod has none of its own: there it is the pod's address.
    ///
    /// # Errors
    /// [`NetworkError::NoNetwork`] for a pod that is not here, [`NetworkError::Dial`] when nobody listens.
    pub async fn connect(&self, uid: &str, port: u16) -> Result<TcpStream, NetworkError> {
        let state = self.noted(uid).ok_or_else(|| NetworkError::NoNetwork { uid: uid.to_owned() })?;
        let failed = |namespace: String, why| NetworkError::Dial { port, namespace, why };
        if let (Some(address), true) = (state.address, state.wasm) {
            let address = SocketAddr::from((address, port));
            return TcpStream::connect(address)
                .await
                .map_err(|error| failed(self.config().wasm_namespace(), told(address, &error)));
        }
        let (namespace, (v4, v6)) = match state.address {
            Some(_) => {
                let pin = self.config().pin_dir(uid).join("net");
                let sockets = namespace::sockets(&pin).await?;
                (pin.display().to_string(), sockets)
            }
            None if !state.request.host_network => return Err(NetworkError::NoNetwork { uid: uid.to_owned() }),
            None => {
                let v4 = TcpSocket::new_v4().map_err(|error| failed("host".into(), error.to_string()))?;
                ("host".into(), (v4, TcpSocket::new_v6().ok()))
            }
        };
        let at = SocketAddr::from((IpAddr::from(Ipv4Addr::LOCALHOST), port));
        let mut why = match v4.connect(at).await {
            Ok(stream) => return Ok(stream),
            Err(error) => format!("IPv4: {}", told(at, &error)),
        };
        if let Some(v6) = v6 {
            let at = SocketAddr::from((IpAddr::from(Ipv6Addr::LOCALHOST), port));
            match v6.connect(at).await {
                Ok(stream) => return Ok(stream),
                Err(error) => why.push_str(&format!(" IPv6: {}", told(at, &error))),
            }
        }
        Err(failed(namespace, why))
    }
}

/// A failure in the words that clients look for.
fn told(address: SocketAddr, error: &std::io::Error) -> String {
    let family = if address.is_ipv4() { "tcp4" } else { "tcp6" };
    let why = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    };
    format!("dial {family} {address}: connect: {why}")
}
