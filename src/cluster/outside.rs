//! What policies of Kubewarden ask of what is outside, where it is granted: of the API itself, of names and of registries.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use mizzen_api::GroupVersionResource;
use mizzen_client::{ApiRequest, Client};
use mizzen_images::Credentials;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::Handle;

/// As long as Kubewarden's own host believes what it was told.
const FRESH: Duration = Duration::from_secs(60);
/// Answers that are remembered, of each kind.
const REMEMBERED: usize = 1024;

pub struct Outside {
    /// May ask about anybody's access.
    pub client: Arc<dyn Client>,
    /// Works while a guest's thread waits.
    pub runtime: Handle,
    pub addresses: Fresh<Vec<IpAddr>>,
    pub manifests: Fresh<(String, Vec<u8>)>,
}

/// What was found lately. Failures are not remembered.
pub struct Fresh<T>(Mutex<HashMap<String, (Instant, T)>>);

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Fresh<T> {
    fn or(&self, key: &str, find: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        let now = Instant::now();
        if let Some((at, found)) = self.0.lock().get(key)
            && now.duration_since(*at) < FRESH
        {
            return Ok(found.clone());
        }
        let found = find()?;
        let mut known = self.0.lock();
        if known.len() >= REMEMBERED {
            known.retain(|_, (at, _)| now.duration_since(*at) < FRESH);
        }
        if known.len() < REMEMBERED {
            known.insert(key.to_owned(), (now, found.clone()));
        }
        Ok(found)
    }
}

impl Outside {
    pub fn new(client: Arc<dyn Client>, runtime: Handle) -> Self {
        Self { client, runtime, addresses: Fresh::default(), manifests: Fresh::default() }
    }

    /// Lets others work, and waits here.
    fn wait<T: Send + 'static>(
        &self,
        until: Instant,
        work: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> Result<T, String> {
        let (sender, receiver) = sync_channel(1);
        let task = self.runtime.spawn(async move {
            // Whoever has stopped waiting needs no answer.
            let _ = sender.send(work.await);
        });
        let answer = receiver.recv_timeout(until.saturating_duration_since(Instant::now()));
        task.abort();
        answer.unwrap_or_else(|_| Err("there was no answer before the policy's deadline".to_owned()))
    }
}

impl mizzen_plugins_host::Outside for Outside {
    fn access(&self, spec: Value, until: Instant) -> Result<Value, String> {
        let client = self.client.clone();
        self.wait(until, async move {
            let reviews = GroupVersionResource::new("authorization.k8s.io", "v1", "subjectaccessreviews");
            let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
            let answered = client.write(ApiRequest::create(&reviews, "", review)).await.map_err(|status| status.to_string())?;
            let mut review = answered.object.value().map_err(|error| error.to_string())?;
            Ok(review["status"].take())
        })
    }

    fn addresses(&self, host: &str, until: Instant) -> Result<Vec<IpAddr>, String> {
        self.addresses.or(host, || {
            let name = host.to_owned();
            self.wait(until, async move {
                let found =
                    tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|error| format!("look up {name:?}: {error}"))?;
                let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
                addresses.sort_unstable();
                addresses.dedup();
                Ok(addresses)
            })
        })
    }

    fn manifest(&self, reference: &str, until: Instant) -> Result<(String, Vec<u8>), String> {
        self.manifests.or(reference, || {
            let name = reference.to_owned();
            self.wait(until, async move {
                let found = mizzen_images::manifest(&name, &Credentials::Anonymous).await;
                found.map(|(digest, manifest)| (digest, manifest.to_vec())).map_err(|error| error.to_string())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_remembered_and_failures_are_not() {
        let fresh = Fresh::default();
        assert_eq!(fresh.or("a", || Err("not today".to_owned())), Err::<u8, _>("not today".to_owned()));
        assert_eq!(fresh.or("a", || Ok(1)), Ok(1));
        assert_eq!(fresh.or("a", || Ok(2)), Ok(1));
        assert_eq!(fresh.or("b", || Ok(3)), Ok(3));
        fresh.0.lock().values_mut().for_each(|(at, _)| *at -= FRESH);
        assert_eq!(fresh.or("a", || Ok(2)), Ok(2), "it is asked again after a while");
    }
}
