//! `/healthz`, `/livez` and `/readyz` with their checks, as Kubernetes has them: `ok`, or which check failed; `?verbose`
//! lists all, `?exclude=NAME` leaves one out, and a path below asks for one alone.

use std::time::Duration;

use axum::response::Response;
use mizzen_api::Status;
use mizzen_store::Store;
use tokio_util::sync::CancellationToken;

use super::{path, respond};
use crate::errors;

/// How long the store may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Ping,
    /// The store, by the name that Kubernetes' monitoring knows.
    Etcd,
    Shutdown,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Etcd => "etcd",
            Self::Shutdown => "shutdown",
        }
    }

    async fn passes(self, store: &dyn Store, shutdown: &CancellationToken) -> bool {
        match self {
            Self::Ping => true,
            Self::Etcd => matches!(tokio::time::timeout(PATIENCE, store.barrier()).await, Ok(Ok(()))),
            Self::Shutdown => !shutdown.is_cancelled(),
        }
    }
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Probe {
    endpoint: &'static str,
    /// One check alone.
    only: Option<String>,
    excluded: Vec<String>,
    verbose: bool,
}

const ENDPOINTS: [(&str, &[Check]); 3] = [
    ("healthz", &[Check::Ping, Check::Etcd]),
    // A server that has lost its store is not mended by a restart.
    ("livez", &[Check::Ping]),
    ("readyz", &[Check::Ping, Check::Etcd, Check::Shutdown]),
];

impl Probe {
    /// `None` when the path is no health check's.
    pub(super) fn parse(text: &str, query: &str) -> Option<Self> {
        let mut parts = text.trim_start_matches('/').trim_end_matches('/').splitn(2, '/');
        let first = parts.next()?;
        let (endpoint, _) = ENDPOINTS.into_iter().find(|(endpoint, _)| *endpoint == first)?;
        let mut probe = Self { endpoint, only: parts.next().map(str::to_owned), excluded: Vec::new(), verbose: false };
        for (name, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
            match name {
                "verbose" => probe.verbose = true,
                "exclude" => probe.excluded.push(path::percent_decode(value)),
                _ => {}
            }
        }
        Some(probe)
    }

    fn checks(&self) -> Vec<Check> {
        let all = ENDPOINTS.into_iter().find(|(endpoint, _)| *endpoint == self.endpoint).map_or(&[][..], |(_, checks)| checks);
        let wanted = |check: &&Check| match &self.only {
            Some(only) => check.name() == only,
            None => true,
        };
        all.iter().filter(wanted).copied().collect()
    }

    /// # Errors
    /// `NotFound` when a check is asked for that does not exist.
    pub(super) async fn answer(&self, store: &dyn Store, shutdown: &CancellationToken) -> Result<Response, Status> {
        let checks = self.checks();
        if self.only.is_some() && checks.is_empty() {
            return Err(errors::no_such_path());
        }
        let (mut report, mut failed) = (String::new(), false);
        let excludes = |check: &Check| self.only.is_none() && self.excluded.iter().any(|excluded| excluded == check.name());
        for check in &checks {
            if excludes(check) {
                report.push_str(&format!("[+]{} excluded: ok\n", check.name()));
                continue;
            }
            let passes = check.passes(store, shutdown).await;
            failed |= !passes;
            // What is wrong inside is not told to who may only ask for health.
            let (sign, word) = if passes { ('+', "ok") } else { ('-', "failed: reason withheld") };
            report.push_str(&format!("[{sign}]{} {word}\n", check.name()));
        }
        let mut strange: Vec<_> = self.excluded.iter().filter(|name| !checks.iter().any(|check| check.name() == *name)).collect();
        strange.sort_unstable();
        strange.dedup();
        if self.only.is_none() && !strange.is_empty() {
            let names = strange.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            report.push_str(&format!("warn: some health checks cannot be excluded: no matches for {names}\n"));
        }
        let endpoint = self.endpoint;
        Ok(match (failed, self.verbose) {
            (true, _) => respond::text(500, format!("{report}{endpoint} check failed\n")),
            (false, true) => respond::text(200, format!("{report}{endpoint} check passed\n")),
            (false, false) => respond::text(200, "ok"),
        })
    }
}

#[cfg(test)]
mod tests {
    use mizzen_store::MemoryStore;

    use super::*;
    use crate::http::accept::Format;

    async fn ask(store: &MemoryStore, path: &str, query: &str) -> (u16, String) {
        let probe = Probe::parse(path, query).expect("is a health check");
        let response =
            probe.answer(store, &CancellationToken::new()).await.unwrap_or_else(|status| respond::status(&status, Format::Json));
        let code = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a body");
        (code, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn a_server_without_its_store_is_alive_and_not_ready() {
        let store = MemoryStore::default();
        assert_eq!(ask(&store, "/readyz", "").await, (200, "ok".to_owned()));
        store.close();
        let (code, report) = ask(&store, "/readyz", "").await;
        assert_eq!(code, 500);
        assert_eq!(report, "[+]ping ok\n[-]etcd failed: reason withheld\n[+]shutdown ok\nreadyz check failed\n");
        assert_eq!(ask(&store, "/readyz/etcd", "").await.0, 500);
        assert_eq!(ask(&store, "/readyz", "exclude=etcd").await.0, 200);
        let (code, report) = ask(&store, "/readyz", "verbose&exclude=etcd&exclude=none").await;
        let warning = "warn: some health checks cannot be excluded: no matches for \"none\"";
        let wanted = format!("[+]ping ok\n[+]etcd excluded: ok\n[+]shutdown ok\n{warning}\nreadyz check passed\n");
        assert_eq!((code, report), (200, wanted));
        assert_eq!(ask(&store, "/readyz/ping", "").await.0, 200);
        assert_eq!(ask(&store, "/livez", "verbose").await, (200, "[+]ping ok\nlivez check passed\n".to_owned()));
    }

    #[test]
    fn other_paths_are_no_health_checks() {
        assert_eq!(Probe::parse("/version", ""), None);
        assert_eq!(Probe::parse("/readyzz", ""), None);
        assert_eq!(Probe::parse("/readyz/etcd", "").and_then(|probe| probe.only).as_deref(), Some("etcd"));
    }
}
