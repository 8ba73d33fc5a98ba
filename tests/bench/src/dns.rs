//! Names of the cluster, asked of the real node by datagrams, each client one question at a time.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::ensure;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::PostParams;
use mizzen_tests::{Cluster, eventually, names};
use serde_json::json;
use tokio::net::UdpSocket;

use crate::load::{self, Caller};
use crate::pods::client_of;
use crate::table::Table;

const SERVICES: usize = 1000;
const CLIENTS: [usize; 2] = [1, 32];
const TIME: Duration = Duration::from_secs(5);

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let cluster = Cluster::up();
    let services: Api<Service> = Api::default_namespaced(client_of(&cluster).await?);
    for number in 0..SERVICES {
        let service = json!({"metadata": {"name": name(number)}, "spec": {"ports": [{"port": 80}]}});
        services.create(&PostParams::default(), &serde_json::from_value(service)?).await?;
    }
    let server = names::served_at(&cluster);
    let last = format!("{}.default.svc.cluster.local.", name(SERVICES - 1));
    eventually("the node knows all services", || names::ask(server, &last, "A").ok());
    for clients in CLIENTS {
        let mut callers: Vec<Box<dyn Caller>> = Vec::new();
        for client in 0..clients {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
            socket.connect(server).await?;
            callers.push(Box::new(Client { socket, client, server }));
        }
        let load = load::run(callers, TIME, cluster.pid()).await?;
        let what = format!("DNS: A of {SERVICES} services, {clients} clients (answers/s, p50 / p99)");
        table.row(&what, format!("{}, {} each", load.summary(), load.cpu), "", String::new());
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("service-{number}")
}

struct Client {
    socket: UdpSocket,
    client: usize,
    server: SocketAddr,
}

#[async_trait]
impl Caller for Client {
    async fn call(&mut self, turn: usize) -> anyhow::Result<bool> {
        let number = (turn * 31 + self.client * 97) % SERVICES;
        let question = names::question(&format!("{}.default.svc.cluster.local.", name(number)), "A");
        self.socket.send(&question).await?;
        let mut answer = [0; 512];
        let received = tokio::time::timeout(Duration::from_secs(5), self.socket.recv(&mut answer)).await;
        let length = received.map_err(|_| anyhow::anyhow!("{} does not answer", self.server))??;
        // No error, one answer.
        ensure!(length > question.len() && answer[3] & 0x0f == 0 && answer[6..8] == [0, 1], "{number} has no address");
        Ok(true)
    }
}
