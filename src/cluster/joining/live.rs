//! The certificates of a node as they are in use, renewed before they end and put in place while everything goes on.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use mizzen_agent::Tunnel;
use mizzen_api::Status;
use mizzen_apiserver::auth::certificates::PemPair;
use mizzen_client::http::{HttpClient, Parts, Wire};
use mizzen_reconcile::{Backoff, Clock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::request::{self, Purpose};
use crate::cluster::node_credentials::{CredentialsError, NodeCredentials};
use crate::cluster::tls::{self, Shown};

const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
/// The machine may sleep, and its clock be set: looked at again after so long at most.
const LOOK: Duration = Duration::from_secs(600);

/// The API as the node, by the certificate that it has now.
pub struct Present(ArcSwap<HttpClient>);

#[async_trait]
impl Wire for Present {
    async fn exchange(&self, request: http::Request<Bytes>) -> Result<http::Response<Parts>, Status> {
        // What is under way goes on with the client that it began with.
        self.0.load_full().exchange(request).await
    }
}

/// A node's certificates in use.
pub struct Live {
    credentials: NodeCredentials,
    client: Arc<Present>,
    serving: Arc<Shown>,
    tunnel: watch::Sender<Arc<rustls::ClientConfig>>,
}

impl Live {
    /// # Errors
    /// When the certificates cannot be used.
    pub fn new(credentials: NodeCredentials) -> Result<Self, CredentialsError> {
        let serving = Arc::new(Shown::default());
        if let Some(pair) = credentials.serving() {
            serving.replace(&credentials.node_name, pair)?;
        }
        Ok(Self {
            client: Arc::new(Present(ArcSwap::new(credentials.client()?))),
            tunnel: watch::Sender::new(credentials.tls()?),
            serving,
            credentials,
        })
    }

    pub fn node_name(&self) -> &str {
        &self.credentials.node_name
    }

    pub fn client(&self) -> Arc<Present> {
        self.client.clone()
    }

    pub fn tunnel(&self) -> Tunnel {
        Tunnel { server: self.credentials.server().to_owned(), tls: self.tunnel.subscribe() }
    }

    /// For the node's own API.
    ///
    /// # Errors
    /// When the authority's certificate cannot be used.
    pub fn node_api(&self) -> Result<Arc<rustls::ServerConfig>, CredentialsError> {
        Ok(tls::node_api(self.credentials.root(), self.serving.clone())?)
    }

    /// Renews what the server gave by request, until cancelled; what an administrator made is theirs to renew.
    pub async fn keep(mut self, clock: Arc<dyn Clock>, cancel: CancellationToken) {
        if !self.credentials.is_renewed() {
            return cancel.cancelled().await;
        }
        let mut due = [Purpose::Client, Purpose::Serving].map(|purpose| (purpose, self.due(purpose, clock.now())));
        let work = async {
            let (mut failures, mut said) = (0, String::new());
            loop {
                let now = clock.now();
                let Some(next) = due.iter_mut().min_by_key(|(_, at)| *at) else { return };
                if next.1 > now {
                    let left = Duration::try_from(next.1.duration_since(now)).unwrap_or(LOOK);
                    tokio::time::sleep(left.min(LOOK)).await;
                    continue;
                }
                match self.renew(next.0).await {
                    Ok(()) => {
                        next.1 = self.due(next.0, clock.now());
                        (failures, said) = (0, String::new());
                        tracing::info!(purpose = ?next.0, until = %next.1, "the node has a new certificate");
                    }
                    Err(error) => {
                        let why = crate::failure::line(&error);
                        if why != said {
                            tracing::warn!(purpose = ?next.0, why, "the node's certificate is not renewed; it is tried again");
                            said = why;
                        }
                        tokio::time::sleep(RETRY.delay(failures)).await;
                        failures = failures.saturating_add(1);
                    }
                }
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = work => {}
        }
    }

    fn due(&self, purpose: Purpose, now: Timestamp) -> Timestamp {
        let pair = match purpose {
            Purpose::Client => Some(self.credentials.pair()),
            Purpose::Serving => self.credentials.serving(),
        };
        let validity = pair.and_then(|pair| tls::validity(self.node_name(), &pair.certificate).ok());
        validity.map_or(now, |validity| renew_at(validity, now, rand::random_range(0.7..0.9)))
    }

    async fn renew(&mut self, purpose: Purpose) -> anyhow::Result<()> {
        let node = self.credentials.node_name.clone();
        let say = |what: &str| tracing::warn!(node, "{what}");
        let pair: PemPair = request::obtain(&*self.client, &node, purpose, say).await?;
        match purpose {
            Purpose::Client => {
                self.credentials.replace(pair)?;
                self.client.0.store(self.credentials.client()?);
                self.tunnel.send_replace(self.credentials.tls()?);
            }
            Purpose::Serving => {
                self.serving.replace(&node, &pair)?;
                self.credentials.replace_serving(pair)?;
            }
        }
        Ok(())
    }
}

/// As the kubelet does: when 70 to 90 % of a certificate's time are over, which `part` says. The clock of who signed it may be
/// ahead and it may be valid since before it was made; half of what is left is waited for at least, or a short one would be
/// renewed without end.
fn renew_at((from, until): (Timestamp, Timestamp), now: Timestamp, part: f64) -> Timestamp {
    let after = |start: Timestamp, part: f64| {
        let seconds = until.duration_since(start).as_secs_f64() * part;
        let wait = SignedDuration::try_from_secs_f64(seconds).unwrap_or(SignedDuration::ZERO);
        start.checked_add(wait).unwrap_or(until)
    };
    if now >= until { now } else { after(from, part).max(after(now, 0.5)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("is a time")
    }

    #[test]
    fn a_certificate_is_renewed_late_in_its_life_and_never_in_a_loop() {
        let year = (at("2026-01-01T00:00:00Z"), at("2026-12-27T00:00:00Z"));
        assert_eq!(renew_at(year, at("2026-01-02T00:00:00Z"), 0.8), at("2026-10-16T00:00:00Z"));
        assert_eq!(renew_at(year, at("2026-12-25T00:00:00Z"), 0.8), at("2026-12-26T00:00:00Z"), "half of what is left");
        assert_eq!(renew_at(year, at("2027-01-01T00:00:00Z"), 0.8), at("2027-01-01T00:00:00Z"), "it is over");
        let short = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:05:30Z"));
        assert_eq!(renew_at(short, at("2026-01-01T00:05:00Z"), 0.8), at("2026-01-01T00:05:15Z"), "it began before it was made");
    }
}
