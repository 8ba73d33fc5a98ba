//! List and watch of one resource, for one mirror or several.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use mizzen_api::{GroupVersionResource, Object, ObjectRef, Reason, Status};
use mizzen_client::{Client, ListOptions, WatchEvent, WatchOptions};
use tokio_util::sync::CancellationToken;

use crate::Backoff;

/// What to mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSpec {
    pub resource: GroupVersionResource,
    /// Empty: all namespaces.
    pub namespace: String,
    pub label_selector: String,
    pub field_selector: String,
}

impl WatchSpec {
    pub fn all(resource: GroupVersionResource) -> Self {
        Self { resource, namespace: String::new(), label_selector: String::new(), field_selector: String::new() }
    }

    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    #[must_use]
    pub fn labels(mut self, selector: &str) -> Self {
        selector.clone_into(&mut self.label_selector);
        self
    }

    #[must_use]
    pub fn fields(mut self, selector: &str) -> Self {
        selector.clone_into(&mut self.field_selector);
        self
    }
}

/// The server is asked to end a watch after so long; the client takes it up where it ended.
const WATCH_SECONDS: u64 = 300;
/// A watch that says nothing for longer than it may last is dead: its connection broke without a sign.
const DEAD: Duration = Duration::from_secs(WATCH_SECONDS + 30);

const RETRY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(10));

/// Who is told of what is there.
pub(crate) trait Fed: Send + Sync {
    fn put(&self, object: &Arc<Object>);
    fn remove(&self, key: &ObjectRef);
    fn known(&self) -> Vec<ObjectRef>;
    /// Everything that was there has been told.
    fn is_complete(&self);
}

/// One watch, whatever number of caches it feeds ([`crate::Builder::fed_by`]): each keeps its own of the same objects.
pub struct Feed {
    spec: WatchSpec,
    fed: Vec<Arc<dyn Fed>>,
}

impl Feed {
    pub fn new(spec: WatchSpec) -> Self {
        Self { spec, fed: Vec::new() }
    }

    pub(crate) fn spec(&self) -> &WatchSpec {
        &self.spec
    }

    pub(crate) fn add(&mut self, cache: Arc<dyn Fed>) {
        self.fed.push(cache);
    }

    /// Starts to list and watch on a task of its own until `cancel`.
    pub fn start(self, client: Arc<dyn Client>, cancel: CancellationToken) {
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = self.run(client.as_ref()) => {}
            }
        });
    }

    async fn run(&self, client: &dyn Client) {
        let mut failures = 0;
        loop {
            match self.list_and_watch(client, &mut failures).await {
                Err(status) if status.is(Reason::Expired) || status.is(Reason::Gone) => {
                    tracing::debug!(resource = %self.spec.resource, "watch expired, listing again");
                }
                Err(status) => {
                    tracing::debug!(resource = %self.spec.resource, %status, failures, "list and watch failed");
                    tokio::time::sleep(RETRY.delay(failures)).await;
                    failures = failures.saturating_add(1);
                }
                Ok(never) => match never {},
            }
        }
    }

    async fn list_and_watch(&self, client: &dyn Client, failures: &mut u32) -> Result<std::convert::Infallible, Status> {
        let mut revision = self.relist(client).await?;
        self.fed.iter().for_each(|cache| cache.is_complete());
        let mut empty_ends = 0;
        loop {
            let options = WatchOptions {
                label_selector: self.spec.label_selector.clone(),
                field_selector: self.spec.field_selector.clone(),
                resource_version: revision.to_string(),
                allow_bookmarks: true,
                timeout_seconds: Some(WATCH_SECONDS),
                ..WatchOptions::default()
            };
            let mut stream = client.watch(&self.spec.resource, &self.spec.namespace, &options).await?;
            let mut events = 0_usize;
            while let Ok(Some(event)) = tokio::time::timeout(DEAD, stream.next()).await {
                *failures = 0;
                events += 1;
                revision = revision.max(self.apply(event?));
            }
            // A server that ends every watch at once must not be asked in a tight loop.
            empty_ends = if events == 0 { empty_ends + 1 } else { 0 };
            if empty_ends > 0 {
                tokio::time::sleep(RETRY.delay(empty_ends - 1)).await;
            }
        }
    }

    /// Lists everything, tells the differences and answers the revision to watch from.
    async fn relist(&self, client: &dyn Client) -> Result<u64, Status> {
        let mut options = ListOptions {
            label_selector: self.spec.label_selector.clone(),
            field_selector: self.spec.field_selector.clone(),
            ..ListOptions::default()
        };
        let mut gone: HashSet<ObjectRef> = self.fed.iter().flat_map(|cache| cache.known()).collect();
        loop {
            let page = client.list(&self.spec.resource, &self.spec.namespace, &options).await?;
            for object in &page.items {
                gone.remove(&object.head().object_ref());
                self.put(object);
            }
            match page.continue_token.filter(|token| !token.is_empty()) {
                Some(token) => options.continue_token = token,
                None => {
                    gone.iter().for_each(|key| self.remove(key));
                    return Ok(page.revision);
                }
            }
        }
    }

    fn apply(&self, event: WatchEvent) -> u64 {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                self.put(&object);
                object.revision()
            }
            WatchEvent::Deleted(object) => {
                self.remove(&object.head().object_ref());
                object.revision()
            }
            WatchEvent::Bookmark { revision, .. } => revision,
        }
    }

    fn put(&self, object: &Arc<Object>) {
        self.fed.iter().for_each(|cache| cache.put(object));
    }

    fn remove(&self, key: &ObjectRef) {
        self.fed.iter().for_each(|cache| cache.remove(key));
    }
}
