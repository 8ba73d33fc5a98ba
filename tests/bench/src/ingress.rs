//! Requests through the proxy of ingresses, beside Debian's nginx as reverse proxy before the same server.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::Api;
use kube::api::{ListParams, PostParams};
use mizzen_tests::ports::Port;
use mizzen_tests::{Cluster, eventually_async};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::cpu::{self, Used};
use crate::https::head;
use crate::load::{self, Caller, Load};
use crate::pods::client_of;
use crate::table::Table;

const CLIENTS: [usize; 2] = [1, 64];
const TIME: Duration = Duration::from_secs(8);
/// Bytes of an answer.
const ANSWER: usize = 1024;
const HOST: &str = "bench.example";

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let cluster = Cluster::up();
    let node = node_address(&cluster).await?;
    let backend = serve(node).await?;
    let ingress = SocketAddr::new(node, 80);
    lead(&cluster, backend).await?;
    let nginx = Nginx::start(node, backend)?;
    for (name, address) in [("the ingress", ingress), ("nginx", nginx.address)] {
        eventually_async(&format!("{name} answers"), async || ask_once(address).await.map_err(|error| error.to_string())).await;
    }
    for clients in CLIENTS {
        let ours = run(ingress, clients, cluster.pid()).await?;
        let workers = nginx.workers()?;
        let before = Used::of_all(&workers);
        let theirs = run(nginx.address, clients, None).await?;
        let each = cpu::of_server_each(&Used::of_all(&workers), &before, theirs.latencies.count());
        let direct = run(backend, clients, None).await?;
        let what = format!("Ingress: GET of {ANSWER} bytes, {clients} connections (requests/s, p50 / p99)");
        let goal = "ahead of nginx or within 10 %";
        let beside = format!("nginx {}, CPU each: server {each}; without proxy {}", theirs.summary(), direct.summary());
        table.row(&what, format!("{}, {}", ours.summary(), ours.cpu), goal, beside);
    }
    table.note("ingress: the server behind both proxies, and the clients, are this process, on the same cores".to_owned());
    Ok(())
}

async fn node_address(cluster: &Cluster) -> anyhow::Result<IpAddr> {
    let nodes = Api::<Node>::all(client_of(cluster).await?).list(&ListParams::default()).await?;
    let status = nodes.items.first().and_then(|node| node.status.as_ref()).context("the node has a status")?;
    let addresses = status.addresses.as_ref().context("the node has addresses")?;
    Ok(addresses.first().context("the node has an address")?.address.parse()?)
}

/// A server that always answers the same, as long as this process runs.
async fn serve(address: IpAddr) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((address, 0)).await?;
    let address = listener.local_addr()?;
    let answer = Bytes::from(vec![b'x'; ANSWER]);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let service = service_fn(move |_| {
                    let answer = answer.clone();
                    async move { Ok::<_, Infallible>(Response::new(Full::new(answer))) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(address)
}

/// An ingress to the server, by a service without selector.
async fn lead(cluster: &Cluster, backend: SocketAddr) -> anyhow::Result<()> {
    let client = client_of(cluster).await?;
    let create = PostParams::default();
    let service = json!({"metadata": {"name": "bench"}, "spec": {"ports": [{"port": 80}]}});
    Api::<Service>::default_namespaced(client.clone()).create(&create, &serde_json::from_value(service)?).await?;
    let slice = json!({
        "metadata": {"name": "bench", "labels": {"kubernetes.io/service-name": "bench"}}, "addressType": "IPv4",
        "ports": [{"name": "", "port": backend.port()}], "endpoints": [{"addresses": [backend.ip()]}],
    });
    Api::<EndpointSlice>::default_namespaced(client.clone()).create(&create, &serde_json::from_value(slice)?).await?;
    let leads = json!({"service": {"name": "bench", "port": {"number": 80}}});
    let rule = json!({"host": HOST, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": leads}]}});
    let ingress = json!({"metadata": {"name": "bench"}, "spec": {"ingressClassName": "mizzen", "rules": [rule]}});
    Api::<Ingress>::default_namespaced(client).create(&create, &serde_json::from_value(ingress)?).await?;
    Ok(())
}

async fn run(address: SocketAddr, clients: usize, server: Option<u32>) -> anyhow::Result<Load> {
    let mut callers: Vec<Box<dyn Caller>> = Vec::new();
    for _ in 0..clients {
        callers.push(Box::new(Client::connect(address).await?));
    }
    load::run(callers, TIME, server).await
}

async fn ask_once(address: SocketAddr) -> anyhow::Result<()> {
    Client::connect(address).await?.call(0).await.map(drop)
}

/// One connection, kept alive.
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(8 << 10) })
    }
}

#[async_trait]
impl Caller for Client {
    async fn call(&mut self, _turn: usize) -> anyhow::Result<bool> {
        let request = format!("GET /some/path?with=query HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        self.received.clear();
        loop {
            ensure!(self.stream.read_buf(&mut self.received).await? > 0, "the connection was closed");
            let Some(head) = head(&self.received)? else { continue };
            ensure!(head.status == 200 && head.length == Some(ANSWER), "answered {}", head.status);
            if self.received.len() == head.end + ANSWER {
                return Ok(true);
            }
        }
    }
}

/// Debian's nginx as a reverse proxy with kept connections, a worker on each core.
struct Nginx {
    process: Child,
    address: SocketAddr,
    _dir: TempDir,
    _port: Port,
}

impl Nginx {
    /// At the same address as the ingress, so that the kernel does the same with the packets of both.
    fn start(node: IpAddr, backend: SocketAddr) -> anyhow::Result<Self> {
        let (dir, port) = (tempfile::tempdir()?, Port::reserve());
        let address = SocketAddr::new(node, port.address().port());
        let configuration = format!(
            "daemon off; worker_processes auto; pid nginx.pid; error_log stderr error;
             events {{ worker_connections 4096; }}
             http {{
               access_log off; keepalive_requests 1000000000;
               upstream backend {{ server {backend}; keepalive 256; keepalive_requests 1000000000; }}
               server {{
                 listen {address};
                 location / {{
                   proxy_pass http://backend; proxy_http_version 1.1;
                   proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
                   proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr;
                   proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Port $server_port;
                   proxy_set_header X-Forwarded-Proto $scheme;
                 }}
               }}
             }}"
        );
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, configuration)?;
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx.arg("-p").arg(dir.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
        let process = nginx.stdin(Stdio::null()).spawn().context("start nginx (.ci/setup installs it)")?;
        Ok(Self { process, address, _dir: dir, _port: port })
    }

    fn workers(&self) -> anyhow::Result<Vec<u32>> {
        let pid = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        Ok(children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master takes its workers along when it is asked to end; a killed one would leave them.
        if let Ok(pid) = i32::try_from(self.process.id()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.process.wait();
    }
}
