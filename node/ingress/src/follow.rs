//! Keeps a proxy as the cluster says: rules and certificates are compiled anew as a whole, endpoints one backend at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use mizzen_api::ObjectRef;
use mizzen_reconcile::{Recorder, reference};
use tokio::time::{MissedTickBehavior, interval};

use crate::backend::Backend;
use crate::caches::{Caches, Dirty};
use crate::compile::{BackendRef, Certificate, Compiled, Port, Problem, compile};
use crate::endpoint::{Endpoint, SWEEP};
use crate::proxy::{Proxy, Route};
use crate::resolve::{Speaks, resolve};
use crate::table::{ByHost, Host, Rule, Table};

/// A backend that some rule leads to.
struct Wanted {
    backend: Arc<Backend>,
    /// Who is told what is wrong with it.
    ingress: ObjectRef,
    problem: Option<String>,
}

pub(crate) struct Follower {
    caches: Caches,
    dirty: Arc<Dirty>,
    proxy: Arc<Proxy>,
    recorder: Recorder,
    /// Shown to clients that ask for a name that no ingress has a certificate for.
    default_certificate: Option<ObjectRef>,
    wanted: BTreeMap<BackendRef, Wanted>,
    /// Backends share endpoints and their connections; one that no backend has is gone.
    endpoints: HashMap<(SocketAddr, Speaks), Weak<Endpoint>>,
    /// What the rules and certificates lack, and what has been told of all that lacks.
    problems: Vec<Problem>,
    told: BTreeSet<Problem>,
}

impl Follower {
    pub(crate) fn new(caches: Caches, proxy: Arc<Proxy>, recorder: Recorder, default_certificate: Option<ObjectRef>) -> Self {
        Self {
            caches,
            dirty: Arc::default(),
            proxy,
            recorder,
            default_certificate,
            wanted: BTreeMap::new(),
            endpoints: HashMap::new(),
            problems: Vec::new(),
            told: BTreeSet::new(),
        }
    }

    /// Waits for the cluster's state to be known, and has the proxy know it.
    pub(crate) async fn begin(&mut self) {
        self.caches.synced().await;
        self.caches.follow(&self.dirty);
        self.go_on();
    }

    /// Runs for ever.
    pub(crate) async fn run(mut self) {
        let mut sweeps = interval(SWEEP);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.dirty.noted() => self.go_on(),
                _ = sweeps.tick() => self.sweep(),
            }
        }
    }

    fn go_on(&mut self) {
        let changes = self.dirty.take();
        if changes.rules {
            self.compile();
        }
        let concerned: Vec<BackendRef> = match changes.place {
            true => self.wanted.keys().cloned().collect(),
            false => changes.services.iter().flat_map(|service| self.of(service)).collect(),
        };
        for key in concerned {
            self.refresh(&key);
        }
        self.tell();
    }

    /// The backends of a service.
    fn of(&self, service: &ObjectRef) -> Vec<BackendRef> {
        // Before all other ports of the service.
        let first = BackendRef { service: service.clone(), port: Port::Name(String::new()) };
        self.wanted.range(first..).map(|(key, _)| key).take_while(|key| key.service == *service).cloned().collect()
    }

    fn compile(&mut self) {
        let Compiled { rules, certificates, backends, problems } = compile(self.caches.own_ingresses());
        self.problems = problems;
        let mut before = std::mem::take(&mut self.wanted);
        for (key, ingress) in backends {
            let Self { wanted, .. } = self;
            if wanted.contains_key(&key) {
                continue;
            }
            let kept = before.remove(&key).map(|kept| Wanted { ingress: ingress.clone(), ..kept });
            let is_new = kept.is_none();
            wanted.insert(key.clone(), kept.unwrap_or_else(|| Wanted { backend: Arc::default(), ingress, problem: None }));
            if is_new {
                self.refresh(&key);
            }
        }
        let live = |rule: Rule<crate::compile::Action>| {
            let backend = rule.then.backend.as_ref().and_then(|key| Some(self.wanted.get(key)?.backend.clone()));
            let route = Route { backend, ssl_redirect: rule.then.ssl_redirect, timeout: rule.then.timeout };
            Rule { host: rule.host, path: rule.path, is_fallback: rule.is_fallback, then: Arc::new(route) }
        };
        let table = Table::new(rules.into_iter().map(live));
        self.show(certificates);
        self.proxy.routes.store(Arc::new(table));
    }

    /// Where two ingresses have a certificate for the same host, the older one's is shown.
    fn show(&mut self, certificates: Vec<Certificate>) {
        let mut shown = ByHost::default();
        for Certificate { host, secret, ingress } in certificates {
            match self.caches.secrets.get(&secret).as_deref() {
                Some(Ok(certificate)) => drop(shown.entry(host, || certificate.clone())),
                Some(Err(why)) => self.problems.push(of_secret(ingress, &secret, why)),
                None => self.problems.push(of_secret(ingress, &secret, "it is not there, or not of type kubernetes.io/tls")),
            }
        }
        if let Some(default) = &self.default_certificate {
            match self.caches.secrets.get(default).as_deref() {
                Some(Ok(certificate)) => drop(shown.entry(Host::Any, || certificate.clone())),
                Some(Err(why)) => tracing::warn!(secret = %default, why, "there is no default certificate"),
                None => tracing::warn!(secret = %default, "there is no default certificate: the secret is not there"),
            }
        }
        self.proxy.certificates.set(shown);
    }

    fn refresh(&mut self, key: &BackendRef) {
        let Some(wanted) = self.wanted.get_mut(key) else { return };
        let service = self.caches.services.get(&key.service);
        let slices = self.caches.slices_of(&key.service);
        let place = self.caches.nodes.list().first().map(|node| node.place.clone()).unwrap_or_default();
        let resolved = resolve(key, service.as_deref(), &slices, &place);
        wanted.problem = resolved.as_ref().err().cloned();
        let resolved = resolved.unwrap_or_default();
        let mut endpoint = |address: SocketAddr| {
            let known = self.endpoints.entry((address, resolved.speaks)).or_default();
            known.upgrade().unwrap_or_else(|| {
                let new = Arc::new(Endpoint::new(address, resolved.speaks));
                *known = Arc::downgrade(&new);
                new
            })
        };
        wanted.backend.set(resolved.endpoints.into_iter().map(&mut endpoint).collect());
    }

    fn sweep(&mut self) {
        self.endpoints.retain(|_, endpoint| match endpoint.upgrade() {
            Some(endpoint) => {
                endpoint.sweep();
                true
            }
            None => false,
        });
    }

    /// Tells each ingress once what it cannot have.
    fn tell(&mut self) {
        let missing = self.wanted.values().filter_map(|wanted| {
            let message = wanted.problem.clone()?;
            Some(Problem { ingress: wanted.ingress.clone(), reason: "BackendNotFound", message })
        });
        let now: BTreeSet<Problem> = self.problems.iter().cloned().chain(missing).collect();
        for problem in now.difference(&self.told) {
            if let Some(ingress) = self.caches.ingress(&problem.ingress) {
                self.recorder.warning(&reference(&*ingress), problem.reason, problem.message.clone());
            }
        }
        self.told = now;
    }
}

fn of_secret(ingress: ObjectRef, secret: &ObjectRef, why: &str) -> Problem {
    Problem { ingress, reason: "InvalidCertificate", message: format!("secret {secret}: {why}") }
}
