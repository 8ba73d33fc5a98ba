//! The agent as a whole.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use mizzen_network::Subnet;
use mizzen_reconcile::typed::gvr;
use mizzen_reconcile::{Feed, Recorder, WatchSpec};
use mizzen_services::ServiceCaches;
use mizzen_volumes::VolumeManager;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::AgentConfig;
use crate::error::AgentError;
use crate::logs::watch::Watches;
use crate::node::room::Room;
use crate::node::{announce, capacity, image_gc, lease, local_volumes, peers, plugins, policies, register, rules, services};
use crate::node_api;
use crate::pod::manager::{self, Pods};
use crate::pod::sources::Sources;
use crate::pulled::Pulled;
use crate::shared::{Names, Shared};
use crate::tunnel;

/// A running agent.
pub struct Agent {
    ready: watch::Receiver<bool>,
    main: JoinHandle<()>,
}

impl Agent {
    /// Starts the agent. When `cancel` is cancelled it stops and leaves the pods running for the next one.
    ///
    /// # Errors
    /// When its directories cannot be made.
    pub async fn start(config: AgentConfig, cancel: CancellationToken) -> Result<Self, AgentError> {
        let io = |operation, path: &std::path::Path| {
            let path = path.to_owned();
            move |source| AgentError::Io { operation, path, source }
        };
        let sandboxes = config.data_dir.join("sandboxes");
        for dir in [&sandboxes, &config.data_dir.join("pods")] {
            tokio::fs::create_dir_all(dir).await.map_err(io("create", dir))?;
        }
        // Mounts are found again by their path in the kernel's table, which has no links in it.
        let data_dir = tokio::fs::canonicalize(&config.data_dir).await.map_err(io("resolve", &config.data_dir))?;
        let port = config.listener.local_addr().map_err(io("read the port of", &data_dir))?.port();
        let (pulled, images) = (data_dir.join("pulled"), config.images.clone());
        let opened = tokio::task::spawn_blocking({
            let pulled = pulled.clone();
            move || Pulled::open(pulled, &images)
        });
        let pulled = opened.await.map_err(|_| AgentError::Ended)?.map_err(io("open", &pulled))?;
        let (sandboxes, client) = (data_dir.join("sandboxes"), config.client.clone());
        let volumes = tokio::task::spawn_blocking(move || VolumeManager::open(sandboxes, client));
        let volumes = volumes.await.map_err(|_| AgentError::Ended)??;
        let own_names: Vec<IpAddr> = config.network.pod_cidrs().map(Subnet::gateway).collect();
        let names = Names {
            domain: config.dns.cluster_domain.clone(),
            servers: if config.cluster_dns.is_empty() { own_names[..1].to_vec() } else { config.cluster_dns },
            resolv_conf: config.dns.resolv_conf.clone(),
        };
        let dns = config.dns;
        // Who leads to services and who names them read the same.
        let (mut services, mut slices) =
            (Feed::new(WatchSpec::all(gvr::<Service>())), Feed::new(WatchSpec::all(gvr::<EndpointSlice>())));
        let names_source = mizzen_dns::Source::fed_by(&mut services, &mut slices);
        let service_caches = ServiceCaches::start((&mut services, &mut slices), &config.client, &config.node_name, &cancel);
        for feed in [services, slices] {
            feed.start(config.client.clone(), cancel.clone());
        }
        let recorder = Recorder::start(config.client.clone(), config.clock.clone(), "kubelet", &config.node_name);
        let policies = policies::start(&config.client, &config.network, &config.node_name, &recorder, &cancel);
        let shared = Arc::new(Shared {
            sources: Sources::new(config.client.clone()),
            services: service_caches,
            policies,
            volumes,
            capacity: capacity::read(&data_dir),
            room: Room::default(),
            unreached: parking_lot::Mutex::default(),
            node_name: config.node_name,
            cluster: config.cluster,
            host_addresses: config.network.node_addresses(),
            client: config.client,
            runtimes: config.runtimes,
            images: config.images,
            pulled: Arc::new(pulled),
            network: config.network,
            clock: config.clock,
            names,
            data_dir,
            recorder,
            log_limits: config.log_limits,
            image_gc: config.image_gc,
            eviction: config.eviction,
            registration: config.registration,
            log_watches: Watches::start(),
            pauses: tokio::sync::Mutex::default(),
        });
        let pods = Arc::new(Pods::default());
        let (ready_sender, ready) = watch::channel(false);
        let main = tokio::spawn(async move {
            let served = cancel.clone();
            let dns = async move {
                if let Err(error) = mizzen_dns::serve(&dns, &own_names, names_source, served).await {
                    tracing::error!(%error, "names are not served");
                    std::future::pending().await
                }
            };
            let router = node_api::router(shared.clone(), pods.clone());
            let tunnel = tunnel::run(config.tunnel, shared.clone(), router.clone(), cancel.clone());
            let api = node_api::serve(config.listener, config.tls, shared.clone(), router, cancel.clone());
            if cancel.run_until_cancelled(services::hold(&shared)).await.is_none() {
                return;
            }
            tokio::select! {
                () = cancel.cancelled() => {}
                () = register::run(shared.clone(), port, ready_sender) => {}
                () = lease::run(shared.clone()) => {}
                () = image_gc::run(shared.clone(), pods.clone()) => {}
                () = local_volumes::run(shared.clone()) => {}
                () = services::run(shared.clone()) => {}
                () = announce::run(shared.clone()) => {}
                () = peers::run(shared.clone(), cancel.clone()) => {}
                () = plugins::run(shared.clone()) => {}
                () = rules::run(shared.clone()) => {}
                () = shared.policies.run() => {}
                () = manager::run(shared.clone(), pods.clone(), cancel.clone()) => {}
                () = api => {}
                () = tunnel => {}
                () = dns => {}
            }
        });
        Ok(Self { ready, main })
    }

    /// Returns when the API has the Node as Ready.
    ///
    /// # Errors
    /// [`AgentError::Ended`] when the agent ended before.
    pub async fn ready(&mut self) -> Result<(), AgentError> {
        self.ready.wait_for(|ready| *ready).await.map(|_| ()).map_err(|_| AgentError::Ended)
    }

    /// Returns when the agent has stopped because it was cancelled.
    ///
    /// # Errors
    /// [`AgentError::Ended`] when it ended by itself.
    pub async fn ended(self) -> Result<(), AgentError> {
        self.main.await.map_err(|_| AgentError::Ended)
    }
}
