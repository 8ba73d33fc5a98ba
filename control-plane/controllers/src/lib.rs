//! The controllers: each brings one part of the cluster's state to what is asked for, as a client of the API.
//!
//! A controller is a module with a `start` function and one line in [`start_all`].

mod api_services;
mod caches;
mod certificates;
mod claim;
mod claim_pods;
mod cluster_authentication;
mod cluster_roles;
mod context;
mod cronjob;
mod daemonset;
mod definitions;
mod deployment;
mod disruption;
mod endpoints;
mod expectations;
mod garbage;
mod hash;
mod ingress;
mod job;
mod kubernetes_service;
mod load_balancers;
mod namespace;
mod namespaces;
mod node;
mod observe_pods;
mod pod_gc;
mod pod_network;
mod pod_owner;
mod pod_view;
mod quota;
mod recent;
mod replicaset;
mod replication_controller;
mod revisions;
mod root_ca;
mod service_account_tokens;
mod service_accounts;
mod service_cidrs;
mod statefulset;
mod template;
mod time;
mod token_cleaner;
mod volumes;

use std::net::SocketAddr;
use std::sync::Arc;

use mizzen_api::registry::Registry;
use mizzen_api::{ServiceAddresses, ServiceRange};
use mizzen_client::Client;
use mizzen_reconcile::{Clock, Queues};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use caches::Caches;
pub use certificates::{Certification, SignCertificate};
pub use cluster_authentication::FrontProxyTrust;
use context::Context;
pub use load_balancers::{AddressPool, PoolError};

/// Gives the API as seen by a service account of `kube-system`.
pub type ClientFor = Arc<dyn Fn(&str) -> Arc<dyn Client> + Send + Sync>;

pub struct ControllersConfig {
    /// The API as seen by a controller's service account in `kube-system`, such as `replicaset-controller`.
    pub client_for: ClientFor,
    pub clock: Arc<dyn Clock>,
    /// The resources that garbage collection and namespace deletion cover.
    pub registry: Registry,
    /// What the ConfigMap `kube-root-ca.crt` of every namespace holds.
    pub root_ca_pem: String,
    /// By what API servers behind an APIService know this one; `None` when it shows them no certificate.
    pub front_proxy: Option<FrontProxyTrust>,
    /// Where services get their addresses: the service `kubernetes` has the first.
    pub services: ServiceAddresses,
    /// Where pods have their second addresses, a /64 for each node; `None` where they have one only.
    pub second_pod_range: Option<ServiceRange>,
    /// What services of type LoadBalancer get; none when it is empty.
    pub balancer_addresses: AddressPool,
    /// Where pods reach the API server; `None` when it listens where they do not.
    pub api_server: Option<SocketAddr>,
    /// How CertificateSigningRequests are answered.
    pub certification: Certification,
    /// Where the controllers' queues are told, for metrics.
    pub queues: Queues,
    pub cancel: CancellationToken,
}

/// Starts all controllers. They work once their caches have synced; the handle ends after `cancel`.
pub fn start_all(config: ControllersConfig) -> JoinHandle<()> {
    tokio::spawn(async move {
        let caches = Caches::start(config.client_for.as_ref(), &config.cancel);
        tokio::select! {
            () = config.cancel.cancelled() => return,
            () = caches.synced() => {}
        }
        let context = Context {
            client_for: config.client_for,
            clock: config.clock,
            registry: config.registry,
            root_ca_pem: config.root_ca_pem,
            front_proxy: config.front_proxy,
            services: config.services,
            second_pod_range: config.second_pod_range,
            balancer_addresses: config.balancer_addresses,
            api_server: config.api_server,
            certification: config.certification,
            cancel: config.cancel,
            caches,
            queues: config.queues,
            tasks: parking_lot::Mutex::new(JoinSet::new()),
        };
        replicaset::start(&context);
        replication_controller::start(&context);
        deployment::start(&context);
        daemonset::start(&context);
        statefulset::start(&context);
        job::start(&context);
        cronjob::start(&context);
        definitions::start(&context);
        garbage::start(&context);
        namespace::start(&context);
        service_account_tokens::start(&context);
        service_accounts::start(&context);
        service_cidrs::start(&context);
        kubernetes_service::start(&context);
        load_balancers::start(&context);
        root_ca::start(&context);
        node::start(&context);
        pod_gc::start(&context);
        pod_network::start(&context);
        disruption::start(&context);
        endpoints::start(&context);
        ingress::start(&context);
        quota::start(&context);
        certificates::start(&context);
        cluster_roles::start(&context);
        api_services::start(&context);
        cluster_authentication::start(&context);
        token_cleaner::start(&context);
        volumes::start(&context);
        let mut tasks = context.tasks.into_inner();
        while tasks.join_next().await.is_some() {}
    })
}
