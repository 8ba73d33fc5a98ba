//! Debian's etcd-server on loopback, with its data on the same disk.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use async_trait::async_trait;
use mizzen_tests::eventually;
use mizzen_tests::ports::Port;
use tempfile::TempDir;

use crate::http2::Http2;
use crate::load::{Caller, DOCUMENT};

/// Clients share so many connections at most, which serves etcd best.
const CONNECTIONS: usize = 16;

pub(crate) struct Etcd {
    process: Child,
    address: SocketAddr,
    _dir: TempDir,
    _ports: [Port; 2],
}

impl Etcd {
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let ports = [Port::reserve(), Port::reserve()];
        let [address, peer] = [ports[0].address(), ports[1].address()];
        let (client_url, peer_url) = (format!("http://{address}"), format!("http://{peer}"));
        let mut etcd = Command::new("etcd");
        etcd.arg("--data-dir").arg(dir.path().join("data")).args(["--name", "bench", "--log-level", "error"]);
        etcd.args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]);
        etcd.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
        etcd.args(["--initial-cluster", &format!("bench={peer_url}")]);
        let process = etcd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let etcd = Self { process, address, _dir: dir, _ports: ports };
        eventually("etcd answers", || TcpStream::connect(address).ok());
        Ok(etcd)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) async fn writers(&self, clients: usize) -> anyhow::Result<Vec<Box<dyn Caller>>> {
        let mut connections = Vec::new();
        for _ in 0..clients.min(CONNECTIONS) {
            connections.push(Http2::connect(self.address).await?);
        }
        Ok(connections
            .iter()
            .cycle()
            .take(clients)
            .enumerate()
            .map(|(client, connection)| Box::new(Put { connection: connection.clone(), client }) as _)
            .collect())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Put {
    connection: Http2,
    client: usize,
}

#[async_trait]
impl Caller for Put {
    async fn call(&mut self, turn: usize) -> anyhow::Result<bool> {
        let key = format!("{}-{turn}", self.client);
        self.connection.call("/etcdserverpb.KV/Put", &put_request(&key, DOCUMENT)).await.map(|_| true)
    }
}

/// etcd's `PutRequest` in protobuf: `bytes key = 1; bytes value = 2`.
fn put_request(key: &str, value: usize) -> Vec<u8> {
    let mut message = Vec::with_capacity(key.len() + value + 8);
    for (tag, bytes) in [(0x0a, key.as_bytes().to_vec()), (0x12, vec![b'x'; value])] {
        message.push(tag);
        let mut length = bytes.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend(bytes);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_varints() {
        let message = put_request("k", 300);
        assert_eq!(message[..6], [0x0a, 1, b'k', 0x12, 0xac, 0x02]);
        assert_eq!(message.len(), 306);
    }
}
