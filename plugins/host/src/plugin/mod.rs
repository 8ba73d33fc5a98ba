//! What all instances of one plugin share.

mod breaker;
pub(crate) mod grants;
pub(crate) mod histogram;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod metrics;
mod pace;
pub(crate) mod stats;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use mizzen_reconcile::Clock;
use parking_lot::Mutex;

use crate::error::CallError;
use crate::policy::Context;
use crate::runtime::Runtime;
use crate::scheduler::Cluster;
use breaker::Breaker;
use grants::Grants;
use limits::Limits;
use log::{Level, LogSink, Rate, TracingLog};
use metrics::UserMetrics;
use pace::Pace;
use stats::Stats;

/// How one object wants its plugin.
#[derive(Clone)]
pub struct PluginOptions {
    /// As logs, errors and metrics call it.
    pub name: String,
    /// JSON, `{}` without any.
    pub settings: String,
    pub grants: Grants,
    pub limits: Limits,
    pub log: Arc<dyn LogSink>,
}

impl PluginOptions {
    /// No settings, no grants, the ordinary limits.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            settings: "{}".to_owned(),
            grants: Grants::default(),
            limits: Limits::default(),
            log: Arc::new(TracingLog),
        }
    }
}

pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) settings: String,
    pub(crate) grants: Grants,
    pub(crate) limits: Limits,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) metrics: UserMetrics,
    /// What the policy may ask of, once it has said what it needs.
    pub(crate) context: OnceLock<Arc<dyn Context>>,
    pub(crate) cluster: OnceLock<Arc<dyn Cluster>>,
    pub(crate) stats: Stats,
    pub(crate) pace: Pace,
    breaker: Mutex<Breaker>,
    log: Arc<dyn LogSink>,
    rate: Rate,
}

impl Shared {
    pub(crate) fn new(runtime: Arc<Runtime>, options: PluginOptions) -> Arc<Self> {
        let PluginOptions { name, settings, grants, limits, log } = options;
        let breaker = Mutex::new(Breaker::new(limits.failures, limits.backoff()));
        Arc::new(Self {
            name,
            settings,
            grants,
            limits,
            runtime,
            metrics: UserMetrics::default(),
            context: OnceLock::new(),
            cluster: OnceLock::new(),
            stats: Stats::default(),
            pace: Pace::default(),
            breaker,
            log,
            rate: Rate::default(),
        })
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.runtime.clock.as_ref()
    }

    pub(crate) fn write_log(&self, level: Level, line: &str) {
        match self.rate.admit(Instant::now()) {
            None => return,
            Some(0) => {}
            Some(lines) => self.log.write(&self.name, Level::Warn, &format!("{lines} lines of this plugin were left out")),
        }
        self.log.write(&self.name, level, log::cut(line));
    }

    /// # Errors
    /// When the plugin failed too often to be asked.
    pub(crate) fn admit(&self) -> Result<(), CallError> {
        self.breaker.lock().admit(Instant::now()).map_err(|retry_in| {
            self.stats.refuse();
            CallError::Open { plugin: self.name.clone(), retry_in }
        })
    }

    /// Whether it works as far as is known.
    pub(crate) fn is_trusted(&self) -> bool {
        self.breaker.lock().is_closed()
    }

    /// Counts how a call ended.
    pub(crate) fn ended(&self, error: Option<&CallError>) {
        if let Some(error) = error {
            self.stats.fail(error.to_string());
        }
        let mut breaker = self.breaker.lock();
        let error = match error {
            // It works: it came to its end in time. What it says to what somebody asked is no reason not to answer others.
            None | Some(CallError::Answer { .. }) => return breaker.succeeded(),
            Some(error) => error,
        };
        let was_closed = breaker.is_closed();
        breaker.failed(Instant::now());
        let opened = was_closed && !breaker.is_closed();
        drop(breaker);
        if opened {
            tracing::warn!(plugin = self.name, %error, "the plugin fails again and again and is left alone for a while");
        }
    }

    pub(crate) fn status(&self) -> stats::Status {
        let breaker = self.breaker.lock();
        let state = match (breaker.is_closed(), breaker.is_probing()) {
            (true, _) => stats::Breaker::Closed,
            (false, true) => stats::Breaker::Probing,
            (false, false) => stats::Breaker::Open,
        };
        drop(breaker);
        self.stats.status(state)
    }
}
