//! A cluster with a client's and a server's pod, a service between them, and services that lead nowhere.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mizzen_tests::command::run;
use mizzen_tests::{Cluster, eventually, eventually_async};
use serde_json::{Value, json};

use super::traffic::{self, Ends};
use crate::fill;
use crate::https::Endpoint;
use crate::pods::{Pods, client_of};

/// Of the services that lead nowhere: pods are told of all services of their own namespace, in their environment.
const NAMESPACE: &str = "hollow";
const SERVICES: &str = "/api/v1/namespaces/hollow/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/hollow/endpointslices";
const CLIENTS: usize = 16;
const NODE: &str = "test-node";

pub(super) struct World {
    ends: Ends,
    pub(super) endpoint: Endpoint,
    pub(super) client: Client,
    pub(super) cluster: Cluster,
    hollow: AtomicUsize,
}

impl World {
    /// # Errors
    /// When the API refuses, or a pod does not run.
    pub(super) async fn new(cluster: Cluster, image: &str) -> anyhow::Result<Self> {
        let client = client_of(&cluster).await?;
        let mut pods = Pods::of(&cluster).await?;
        let near = pods.leave_on("client", image, NODE).await?;
        let far = pods.leave_on("server", image, NODE).await?;
        let direct = address(&far)?;
        let service = lead(&client, direct).await?;
        let pin = |pod: &Pod| {
            let uid = pod.metadata.uid.as_deref().context("a pod has a uid")?;
            Ok::<PathBuf, anyhow::Error>(cluster.data().join("network/ns").join(uid).join("net"))
        };
        let ends = Ends::open(pin(&near)?, pin(&far)?, direct, service)?;
        // Who asked before would leave the kernel a connection that is led nowhere, for two minutes.
        eventually("the node's rules know the service", || is_led(&cluster, direct).then_some(()));
        eventually_async("the service leads to its pod", async || ends.connect().map_err(|error| error.to_string())).await;
        let namespace = json!({"metadata": {"name": NAMESPACE}});
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
        let endpoint = Endpoint::of(&cluster)?;
        Ok(Self { ends, endpoint, client, cluster, hollow: AtomicUsize::new(0) })
    }

    pub(super) fn ends(&self) -> &Ends {
        &self.ends
    }

    /// Makes services that lead to nobody until there are so many.
    ///
    /// # Errors
    /// When the API refuses.
    pub(super) async fn grow(&self, count: usize) -> anyhow::Result<()> {
        let first = self.hollow.fetch_max(count, Ordering::Relaxed);
        fill::create(&self.endpoint, CLIENTS, SERVICES, first..count, service).await?;
        fill::create(&self.endpoint, CLIENTS, SLICES, first..count, slice).await
    }
}

fn address(pod: &Pod) -> anyhow::Result<IpAddr> {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).context("a pod that runs has an address")?;
    Ok(address.parse()?)
}

fn is_led(cluster: &Cluster, endpoint: IpAddr) -> bool {
    let table = format!("mizzen_{}_services", cluster.id());
    let listed = run(Command::new("nft").args(["list", "map", "ip", &table, "endpoints"])).stdout;
    listed.contains(&format!(": {endpoint} . {}", traffic::SHORT))
}

/// A service without selector to one endpoint: its address.
async fn lead(client: &Client, to: IpAddr) -> anyhow::Result<IpAddr> {
    let apply = PatchParams::apply("bench");
    let ports = json!([{"name": "short", "port": traffic::SHORT}, {"name": "bulk", "port": traffic::BULK}]);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bench"}, "spec": {"ports": ports}});
    let made = Api::<Service>::default_namespaced(client.clone()).patch("bench", &apply, &Patch::Apply(&service)).await?;
    let ip = made.spec.and_then(|spec| spec.cluster_ip).context("a service has an address")?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "bench", "labels": {"kubernetes.io/service-name": "bench"}}, "addressType": "IPv4",
        "ports": ports, "endpoints": [{"addresses": [to]}],
    });
    Api::<EndpointSlice>::default_namespaced(client.clone()).patch("bench", &apply, &Patch::Apply(&slice)).await?;
    Ok(ip.parse()?)
}

fn name(number: usize) -> String {
    format!("hollow-{number}")
}

/// What a service leads to: `first`, and an endpoint that stays. Addresses of the range for measurements, nobody's.
pub(super) fn endpoints(number: usize, first: Ipv4Addr) -> Value {
    json!([{"addresses": [first]}, {"addresses": [nth(Ipv4Addr::new(198, 19, 0, 0), number)]}])
}

pub(super) fn nth(base: Ipv4Addr, number: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(base) + u32::try_from(number).unwrap_or_default())
}

fn service(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name(number)},
        "spec": {"ports": [{"port": 80, "targetPort": 8080}]},
    })
}

fn slice(number: usize) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name(number), "labels": {"kubernetes.io/service-name": name(number)}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080}],
        "endpoints": endpoints(number, nth(Ipv4Addr::new(198, 18, 0, 0), number)),
    })
}

/// The path of a service's slice.
pub(super) fn slice_path(number: usize) -> String {
    format!("{SLICES}/{}", name(number))
}
