//! Store, API server, controllers and scheduler of one server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mizzen_api::{Registry, ServiceAddresses, ServiceRange};
use mizzen_apiserver::audit::{Audit, Backends, Delivery, Policy, WebhookConfig};
use mizzen_apiserver::auth::authenticator::Authenticator;
use mizzen_apiserver::auth::node::NodeAuthorizer;
use mizzen_apiserver::auth::rbac::Rbac;
use mizzen_apiserver::auth::reviews::Reviews;
use mizzen_apiserver::auth::token_request::TokenRequests;
use mizzen_apiserver::auth::union::Union;
use mizzen_apiserver::auth::{Authorizer, Identity, authenticator, bootstrap, wiring};
use mizzen_apiserver::node_proxy::NodeProxy;
use mizzen_apiserver::{ApiServer, ServerConfig, Settings, fairness};
use mizzen_client::Client;
use mizzen_controllers::{AddressPool, Certification, ControllersConfig, FrontProxyTrust};
use mizzen_extensions::plugins::{GROUP, SCHEDULING_REVIEWS};
use mizzen_plugin_loader::{Plugins, PolicyTables};
use mizzen_raft::{RaftConfig, RaftStore};
use mizzen_reconcile::{Clock, Queues, SystemClock};
use mizzen_scheduler::explain::Explainer;
use mizzen_scheduler::profile::Profiles;
use mizzen_scheduler::wasm::Roster;
use mizzen_scheduler::{Scheduler, SchedulerConfig};
use mizzen_store::encryption::Encryption;
use mizzen_store::seal::{Seal, Unsealed};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::compaction;
use super::data_dir::{DataDir, write_private};
use super::end::End;
use super::joining::cluster_info;
use super::kubeconfig::{self, Login, Remote};
use super::machine;
use super::namespaces::Namespaces;
use super::outside::Outside;
use super::pki::{API_SERVER_NAMES, FRONT_PROXY, Pki};
use super::plugins::Engine;
use super::scheduler_plugins::{self, SchedulerEngine};
use super::scheduling_reviews::SchedulingReviews;
use super::work_queues;
use crate::config::Config;

/// How long open requests get when the server stops.
const DRAIN: Duration = Duration::from_secs(5);

pub struct ControlPlane {
    pub server: Arc<ApiServer>,
    pub pki: Pki,
    pub clock: Arc<dyn Clock>,
    store: Arc<RaftStore>,
    tasks: JoinSet<()>,
}

impl ControlPlane {
    /// Brings everything up. The API answers when this returns.
    ///
    /// # Errors
    /// When data or keys cannot be opened, or the bootstrap objects cannot be written.
    pub async fn start(
        config: &Config,
        data: &DataDir,
        listener: TcpListener,
        node_address: Option<IpAddr>,
        end: &End,
    ) -> anyhow::Result<Self> {
        let cancel = &end.cancel;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let now = clock.now();
        let pki = Pki::open(&data.pki(), now)?;
        let raft = RaftConfig { seal: seal(config)?, ..RaftConfig::new(data.server(), 1) };
        let store = RaftStore::open(raft).await.context("open the store")?;
        let registry = Registry::builtin();
        let (audit, delivery) = audit(config, &clock)?.unzip();
        let front_proxy = Some(pki.front_proxy_client(now)?);
        let policies = Arc::new(PolicyTables::default());
        let scheduler_plugins = Arc::new(scheduler_plugins::Known::default());
        let queues = Queues::default();
        let settings = Settings {
            concurrency: config.concurrency,
            audit,
            services: config.services,
            front_proxy,
            policies: Some(policies.clone()),
            scheduler_plugins: Some(scheduler_plugins.clone()),
            work_queues: Some(work_queues::known(queues.clone())),
            policy_audit: config.policy_audit_interval,
            ..Settings::default()
        };
        let explainer = Explainer::default();
        let server = api_server(&pki, &store, &registry, &clock, (settings, explainer.clone()), cancel.clone())?;

        let mut tasks = JoinSet::new();
        if let Some(delivery) = delivery.flatten() {
            tasks.spawn(delivery.run(cancel.clone()));
        }
        tasks.spawn(compaction::run(store.clone(), cancel.clone()));
        let own = server.client(Identity::component("system:apiserver", &["system:masters"]));
        bootstrap::ensure(&*own).await?;
        fairness::bootstrap::ensure(&*own).await?;
        let profiles = Profiles::new(config.scheduler.profiles.clone())?;
        // Before anybody can ask for something that a policy would refuse.
        let outside = server.client(Identity::component("system:mizzen:plugins", &["system:masters"]));
        let namespaces = Namespaces::new(store.clone(), registry.clone());
        let outside = Outside::new(outside, tokio::runtime::Handle::current());
        let engine = Engine::new(&data.plugins().join("code"), clock.clone(), outside, namespaces);
        let schedulers =
            SchedulerEngine { host: engine.host().clone(), roster: Roster::new(profiles.clone()), known: scheduler_plugins };
        let mut plugins = Plugins::open(
            &data.plugins(),
            config.trust.clone(),
            &policies,
            engine,
            server.client(Identity::component("system:mizzen:plugins", &["system:masters"])),
            registry.clone(),
            clock.clone(),
            cancel.clone(),
        )
        .await?;
        plugins.keep_schedulers(schedulers).await?;
        watch_over(&mut tasks, "plugins", plugins.start(cancel.clone()), end);

        keep(&mut tasks, &server);
        // With port 0 the kernel chose one.
        let address = listener.local_addr().context("read the address of the API server")?;
        let (addresses, names) = certified(config, node_address);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let tls = pki.api_server(&addresses, &names, now)?;
        let serving = tokio::spawn(server.clone().serve(listener, tls.clone(), cancel.clone()));
        watch_over(&mut tasks, "API server", serving, end);
        if let Some(listener) = listen_for_pods(address, node_address).await {
            let serving = tokio::spawn(server.clone().serve(listener, tls, cancel.clone()));
            watch_over(&mut tasks, "API server for pods", serving, end);
        }
        write_kubeconfigs(config, data, address, &pki, now)?;

        let reached = reached_by_pods(address, node_address);
        let url = reached.map_or_else(|| kubeconfig::local_url(address), |reached| format!("https://{reached}"));
        cluster_info::publish(&*own, &url, pki.root()).await?;
        let given = Given {
            services: config.services,
            second_pod_range: config.second.and_then(|second| second.pods()),
            balancer_addresses: config.balancer_addresses.clone(),
            api_server: reached,
            certification: certification(config, &pki, &names),
            queues,
        };
        start_controllers(&mut tasks, &server, registry, &pki, &clock, given, end);
        let scheduler = SchedulerConfig {
            client: server.client(Identity::component("system:kube-scheduler", &[])),
            clock: clock.clone(),
            cancel: cancel.clone(),
            profiles,
            percentage_of_nodes_to_score: config.scheduler.percentage_of_nodes_to_score,
            seed: rand::random(),
            explainer,
        };
        watch_over(&mut tasks, "scheduler", Scheduler::start(scheduler), end);
        Ok(Self { server, pki, clock, store, tasks })
    }

    /// Waits for requests to end and closes the store, after the [`End`] given to [`ControlPlane::start`] has come.
    pub async fn stopped(mut self) {
        let drained = tokio::time::timeout(DRAIN, async { while self.tasks.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!("some requests did not end in {DRAIN:?}");
            self.tasks.shutdown().await;
        }
        self.store.shutdown().await;
    }

    pub fn client(&self, identity: Identity) -> Arc<dyn Client> {
        self.server.client(identity)
    }
}

/// What of the server's own never ends: each reads what the API says and keeps to it.
fn keep(tasks: &mut JoinSet<()>, server: &Arc<ApiServer>) {
    let keeper = server.clone();
    tasks.spawn(async move { keeper.keep_flow_control().await });
    let keeper = server.clone();
    tasks.spawn(async move { keeper.keep_api_services().await });
    let keeper = server.clone();
    tasks.spawn(async move { keeper.keep_policy_reports().await });
}

/// What the API server's certificate is good for: its addresses, and the names beside [`API_SERVER_NAMES`].
fn certified(config: &Config, node_address: Option<IpAddr>) -> (Vec<IpAddr>, Vec<String>) {
    let mut addresses = addresses(config.api_address.ip(), node_address);
    // By which pods reach it, as the service `kubernetes`.
    addresses.push(config.services.range.first());
    let in_cluster = format!("kubernetes.default.svc.{}", config.dns.settings.cluster_domain);
    let mut names = Vec::new();
    for name in &config.api_server_names {
        match name.parse::<IpAddr>() {
            Ok(address) => addresses.push(address),
            Err(_) => names.push(name.clone()),
        }
    }
    names.extend(certified_host_name());
    names.push(in_cluster);
    names.retain(|name| !API_SERVER_NAMES.contains(&name.as_str()));
    (addresses, names)
}

/// How requests for certificates are signed. Nobody is given one for the API server's own names.
fn certification(config: &Config, pki: &Pki, names: &[&str]) -> Certification {
    let authority = pki.authority.clone();
    Certification {
        sign: Arc::new(move |request, usages, lifetime, now| {
            authority.issue(request, usages, lifetime, now).map_err(|error| error.to_string())
        }),
        longest: config.cluster_signing_duration,
        reserved: API_SERVER_NAMES.iter().chain(names).map(|name| (*name).to_owned()).collect(),
    }
}

/// Where the API server listens, or all of the machine when it listens everywhere.
fn addresses(listening: IpAddr, node_address: Option<IpAddr>) -> Vec<IpAddr> {
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), listening];
    if listening.is_unspecified() {
        addresses.extend(machine::addresses());
    }
    addresses.extend(node_address);
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// A server on loopback listens at the address of the machine's own node as well, or no pod would reach it.
async fn listen_for_pods(listening: SocketAddr, node_address: Option<IpAddr>) -> Option<TcpListener> {
    let address = SocketAddr::new(node_address.filter(|_| listening.ip().is_loopback())?, listening.port());
    let listener = TcpListener::bind(address).await;
    listener.inspect_err(|error| tracing::warn!(%address, %error, "the API server does not listen for pods")).ok()
}

/// Where pods reach the API server: where it listens, or if that is everywhere, at an address of the machine. A server on
/// loopback listens at the node's address too, if there is a node.
fn reached_by_pods(listening: SocketAddr, node_address: Option<IpAddr>) -> Option<SocketAddr> {
    let is_usable = |address: &IpAddr| {
        let link_local = matches!(address, IpAddr::V4(v4) if v4.is_link_local())
            || matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        !address.is_loopback() && !address.is_unspecified() && !link_local
    };
    let addresses = [listening.ip()].into_iter().chain(node_address).chain(machine::addresses());
    let usable: Vec<IpAddr> = addresses.filter(is_usable).collect();
    let found = usable.iter().find(|address| address.is_ipv4()).or(usable.first());
    found.map(|address| SocketAddr::new(*address, listening.port()))
}

/// A host name that is no DNS name cannot stand in a certificate, nor would anybody find the server by it.
fn certified_host_name() -> Option<String> {
    machine::host_name().map(|name| name.to_ascii_lowercase()).filter(|name| crate::config::is_dns_name(name))
}

/// The administrator's, where the data is and where it was asked for.
fn write_kubeconfigs(
    config: &Config,
    data: &DataDir,
    address: SocketAddr,
    pki: &Pki,
    now: jiff::Timestamp,
) -> anyhow::Result<()> {
    let login = Login {
        server: kubeconfig::local_url(address),
        root: pki.root().to_owned(),
        pair: pki.authority.client("kubernetes-admin", "system:masters", now)?,
    };
    let text = login.to_yaml("mizzen-admin")?;
    if let Some(folder) = config.kubeconfig.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    for path in [&data.kubeconfig(), &config.kubeconfig] {
        write_private(path, text.as_bytes())?;
    }
    Ok(())
}

fn api_server(
    pki: &Pki,
    store: &Arc<RaftStore>,
    registry: &Registry,
    clock: &Arc<dyn Clock>,
    (settings, explainer): (Settings, Explainer),
    cancel: CancellationToken,
) -> anyhow::Result<Arc<ApiServer>> {
    let time = clock.clone();
    let time: mizzen_apiserver::auth::Clock = Arc::new(move || time.now());
    let rbac = Rbac::start(store.clone(), cancel.clone())?;
    let nodes = NodeAuthorizer::start(store.clone(), cancel)?;
    let authorizer: Arc<dyn Authorizer> = Arc::new(Union(vec![nodes, rbac.clone()]));
    let authenticator = Arc::new(Authenticator::new(pki.tokens.clone(), store.clone(), time.clone()));
    let reviews = Arc::new(Reviews { authorizer: authorizer.clone(), rbac, authenticator: authenticator.clone() });
    let tokens = Arc::new(TokenRequests { tokens: pki.tokens.clone(), store: store.clone(), clock: time.clone() });
    let config = ServerConfig {
        store: store.clone(),
        registry: Arc::new(registry.clone()),
        authorizer,
        authenticator,
        clock: time.clone(),
        virtuals: wiring::virtuals(reviews, tokens).with(GROUP, SCHEDULING_REVIEWS, "", Arc::new(SchedulingReviews(explainer))),
        connect: Some(Arc::new(NodeProxy::new(store.clone(), pki.node_client(time())?))),
    };
    Ok(ApiServer::with(config, settings))
}

/// How objects are written to disk.
fn seal(config: &Config) -> anyhow::Result<Arc<dyn Seal>> {
    let Some(path) = &config.encryption else { return Ok(Unsealed::shared()) };
    let file = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("encryptionProviderConfig: read {file}"))?;
    Ok(Arc::new(Encryption::parse(&text).with_context(|| format!("encryptionProviderConfig: {file}"))?))
}

/// Where events of requests go, if they are wanted, and what takes them to the webhook.
fn audit(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Option<(Arc<Audit>, Option<Delivery>)>> {
    let Some(wanted) = &config.audit else { return Ok(None) };
    let file = wanted.policy_file.display();
    let text = std::fs::read_to_string(&wanted.policy_file).with_context(|| format!("auditPolicyFile: read {file}"))?;
    let policy = Policy::parse(&text).with_context(|| format!("auditPolicyFile: {file}"))?;
    let webhook = wanted.webhook.as_ref().map(|webhook| {
        let Remote { server, root, tls_server_name, pair, authorization } =
            Remote::read(&webhook.file).context("auditWebhookConfigFile")?;
        let root =
            root.with_context(|| format!("auditWebhookConfigFile: {} has no certificate-authority", webhook.file.display()))?;
        let pair = pair.map(|pair| (pair.certificate, pair.key));
        let batches = webhook.batches;
        anyhow::Ok(WebhookConfig { url: server, root, tls_server_name, pair, authorization, batches })
    });
    let backends = Backends { log: wanted.log.clone(), webhook: webhook.transpose()? };
    let clock = clock.clone();
    Ok(Some(Audit::open(policy, backends, Arc::new(move || clock.now()))?))
}

/// What controllers are told by the configuration and by where the server is.
struct Given {
    services: ServiceAddresses,
    second_pod_range: Option<ServiceRange>,
    balancer_addresses: AddressPool,
    api_server: Option<SocketAddr>,
    certification: Certification,
    queues: Queues,
}

fn start_controllers(
    tasks: &mut JoinSet<()>,
    server: &Arc<ApiServer>,
    registry: Registry,
    pki: &Pki,
    clock: &Arc<dyn Clock>,
    Given { services, second_pod_range, balancer_addresses, api_server, certification, queues }: Given,
    end: &End,
) {
    let clients = server.clone();
    let controllers = mizzen_controllers::start_all(ControllersConfig {
        client_for: Arc::new(move |name| clients.client(authenticator::service_account("kube-system", name, ""))),
        clock: clock.clone(),
        registry,
        root_ca_pem: pki.root().to_owned(),
        front_proxy: Some(FrontProxyTrust { root_pem: pki.front_proxy_root().to_owned(), name: FRONT_PROXY.to_owned() }),
        services,
        second_pod_range,
        balancer_addresses,
        api_server,
        certification,
        queues,
        cancel: end.cancel.clone(),
    });
    watch_over(tasks, "controllers", controllers, end);
}

/// A component that ends before it is told to takes the process with it: a cluster without one would only look alive.
fn watch_over(tasks: &mut JoinSet<()>, name: &'static str, component: JoinHandle<()>, end: &End) {
    let end = end.clone();
    tasks.spawn(async move {
        let ended = component.await;
        if !end.cancel.is_cancelled() {
            let why = ended.map_or_else(|error| error.to_string(), |()| "it returned".to_owned());
            end.because(format!("the {name} ended: {why}"));
        }
    });
}
