//! The API with a memory: what it answers is kept, and answered again while it is away.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use mizzen_api::{GroupVersionResource, Object, Reason, Status, Verb};
use mizzen_client::{
    ApiRequest, ApiResponse, Body, Client, Discovery, ListOptions, ObjectList, WatchEvent, WatchOptions, WatchStream,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::keys;
use crate::memory::{Change, Memory};

/// After a request that did not reach the server, memory answers at once for so long: where packets are lost without a sign,
/// each further one would wait for its time to run out.
const AWAY: Duration = Duration::from_secs(5);

/// What changes all the time and is of no use to a node that is cut off.
const FLEETING: &[&str] = &["leases", "events", "certificatesigningrequests"];

/// [`Client`] over one that may not reach its server. Lists are answered from memory until the server has answered them once:
/// who has a list from the server keeps that, and must not be given an older one.
pub struct Remembering {
    inner: Arc<dyn Client>,
    memory: Arc<Memory>,
    /// The scopes that the server has answered for.
    heard: Arc<Mutex<HashSet<String>>>,
    failed_at: Mutex<Option<Instant>>,
}

impl Remembering {
    pub fn new(inner: Arc<dyn Client>, memory: Arc<Memory>) -> Self {
        Self { inner, memory, heard: Arc::default(), failed_at: Mutex::default() }
    }

    /// Looks at an answer: whether it is that the server is away.
    fn is_away<T>(&self, answer: &Result<T, Status>) -> bool {
        let away = answer.as_ref().is_err_and(|status| status.is(Reason::ServiceUnavailable));
        *self.failed_at.lock() = away.then(Instant::now);
        away
    }

    fn was_away_just_now(&self) -> bool {
        self.failed_at.lock().is_some_and(|at| at.elapsed() < AWAY)
    }
}

fn is_kept(resource: &GroupVersionResource) -> bool {
    !FLEETING.contains(&&*resource.resource)
}

fn members(scope: &str, items: &[Arc<Object>]) -> Vec<(String, bytes::Bytes)> {
    let member = |item: &Arc<Object>| (keys::object(scope, &item.head().namespace, &item.head().name), item.bytes().clone());
    items.iter().map(member).collect()
}

/// Under what a token for a pod is remembered; `None` for any other write.
fn token(request: &ApiRequest) -> Option<String> {
    let is_token =
        request.verb == Verb::Create && &*request.resource.resource == "serviceaccounts" && request.subresource == "token";
    let Body::Value(body) = &request.body else { return None };
    let uid = body.pointer("/spec/boundObjectRef/uid")?.as_str()?;
    is_token.then(|| keys::token(uid, &request.namespace, &request.name, &body["spec"].to_string()))
}

/// What a watch says, as a change of what is remembered.
fn change(scope: &str, event: &WatchEvent) -> Change {
    let member = |object: &Arc<Object>, is_there: bool| Change::Member {
        scope: scope.to_owned(),
        revision: object.revision(),
        key: keys::object(scope, &object.head().namespace, &object.head().name),
        bytes: is_there.then(|| object.bytes().clone()),
    };
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => member(object, true),
        WatchEvent::Deleted(object) => member(object, false),
        WatchEvent::Bookmark { revision, .. } => Change::Revision { scope: scope.to_owned(), revision: *revision },
    }
}

#[async_trait]
impl Client for Remembering {
    async fn get(&self, resource: &GroupVersionResource, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        if !is_kept(resource) {
            return self.inner.get(resource, namespace, name).await;
        }
        let key = keys::object(&keys::resource(resource), namespace, name);
        if self.was_away_just_now()
            && let Some(remembered) = self.memory.object(&key)
        {
            return Ok(Arc::new(remembered));
        }
        let answer = self.inner.get(resource, namespace, name).await;
        if self.is_away(&answer) {
            return self.memory.object(&key).map(Arc::new).map_or(answer, Ok);
        }
        match &answer {
            Ok(object) => self.memory.note(Change::Object { key, bytes: Some(object.bytes().clone()) }),
            Err(status) if status.is(Reason::NotFound) => self.memory.note(Change::Object { key, bytes: None }),
            Err(_) => {}
        }
        answer
    }

    async fn list(&self, resource: &GroupVersionResource, namespace: &str, options: &ListOptions) -> Result<ObjectList, Status> {
        let is_whole = options.limit == 0 && options.continue_token.is_empty() && options.resource_version.is_empty();
        if !is_whole || !is_kept(resource) {
            return self.inner.list(resource, namespace, options).await;
        }
        let scope = keys::scope(resource, namespace, &options.label_selector, &options.field_selector);
        let remembered = || {
            let list = |(revision, items)| ObjectList { items, revision, continue_token: None, remaining: None };
            let is_heard = self.heard.lock().contains(&scope);
            if is_heard { None } else { self.memory.list(&scope).map(list) }
        };
        if self.was_away_just_now()
            && let Some(list) = remembered()
        {
            return Ok(list);
        }
        let answer = self.inner.list(resource, namespace, options).await;
        if self.is_away(&answer) {
            return remembered().map_or(answer, Ok);
        }
        if let Ok(list) = &answer
            && list.continue_token.is_none()
        {
            let members = members(&scope, &list.items);
            self.heard.lock().insert(scope.clone());
            self.memory.note(Change::Listed { scope, revision: list.revision, members });
        }
        answer
    }

    async fn watch(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        let answer = self.inner.watch(resource, namespace, options).await;
        self.is_away(&answer);
        let stream = answer?;
        if !is_kept(resource) {
            return Ok(stream);
        }
        let scope = keys::scope(resource, namespace, &options.label_selector, &options.field_selector);
        self.heard.lock().insert(scope.clone());
        let memory = self.memory.clone();
        let noted = stream.inspect(move |event| {
            if let Ok(event) = event {
                memory.note(change(&scope, event));
            }
        });
        Ok(noted.boxed())
    }

    async fn write(&self, request: ApiRequest) -> Result<ApiResponse, Status> {
        let Some(key) = token(&request) else {
            let answer = self.inner.write(request).await;
            self.is_away(&answer);
            return answer;
        };
        let remembered = |key: &str| {
            let object = self.memory.token(key)?;
            Some(ApiResponse { code: ApiResponse::REMEMBERED, object: Arc::new(object), warnings: Vec::new() })
        };
        if self.was_away_just_now()
            && let Some(answer) = remembered(&key)
        {
            return Ok(answer);
        }
        let answer = self.inner.write(request).await;
        if self.is_away(&answer) {
            return remembered(&key).map_or(answer, Ok);
        }
        if let Ok(response) = &answer {
            self.memory.note(Change::Token { key, bytes: response.object.bytes().clone() });
        }
        answer
    }

    async fn discover(&self) -> Result<Arc<Discovery>, Status> {
        self.inner.discover().await
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::stream;
    use serde_json::{Value, json};

    use super::*;

    /// A server that has one pod, one secret and any token, until it is away.
    #[derive(Default)]
    struct Server {
        away: AtomicBool,
        empty: AtomicBool,
    }

    fn object(value: &Value) -> Arc<Object> {
        Arc::new(Object::new(value.to_string(), 7))
    }

    fn pod() -> Value {
        json!({"metadata": {"namespace": "n", "name": "p", "uid": "u", "resourceVersion": "7"},
            "spec": {"volumes": [{"secret": {"secretName": "s"}}]}})
    }

    impl Server {
        fn answer<T>(&self, answer: T) -> Result<T, Status> {
            match self.away.load(Ordering::Relaxed) {
                true => Err(Status::new(Reason::ServiceUnavailable, "away")),
                false => Ok(answer),
            }
        }
    }

    #[async_trait]
    impl Client for Server {
        async fn get(&self, _: &GroupVersionResource, _: &str, name: &str) -> Result<Arc<Object>, Status> {
            self.answer(())?;
            match name {
                "s" => Ok(object(&json!({"metadata": {"namespace": "n", "name": "s", "resourceVersion": "3"}}))),
                _ => Err(Status::new(Reason::NotFound, "none")),
            }
        }

        async fn list(&self, _: &GroupVersionResource, _: &str, _: &ListOptions) -> Result<ObjectList, Status> {
            let items = if self.empty.load(Ordering::Relaxed) { Vec::new() } else { vec![object(&pod())] };
            self.answer(ObjectList { items, revision: 9, continue_token: None, remaining: None })
        }

        async fn watch(&self, _: &GroupVersionResource, _: &str, _: &WatchOptions) -> Result<WatchStream, Status> {
            self.answer(stream::iter([Ok(WatchEvent::Deleted(object(&pod())))]).boxed())
        }

        async fn write(&self, _: ApiRequest) -> Result<ApiResponse, Status> {
            self.answer(ApiResponse { code: 201, object: object(&json!({"status": {"token": "t"}})), warnings: Vec::new() })
        }

        async fn discover(&self) -> Result<Arc<Discovery>, Status> {
            Err(Status::new(Reason::NotFound, "none"))
        }
    }

    fn gvr(resource: &'static str) -> GroupVersionResource {
        GroupVersionResource::new("", "v1", resource)
    }

    fn request() -> ApiRequest {
        let body = json!({"spec": {"boundObjectRef": {"uid": "u"}, "expirationSeconds": 3600}});
        let mut request = ApiRequest::create(&gvr("serviceaccounts"), "n", body).subresource("token");
        "default".clone_into(&mut request.name);
        request
    }

    fn started(path: &Path, server: &Arc<Server>) -> (Remembering, Arc<Memory>) {
        let memory = Memory::open(path).expect("opens");
        (Remembering::new(server.clone(), memory.clone()), memory)
    }

    async fn listed(client: &Remembering) -> Result<usize, Status> {
        client.list(&gvr("pods"), "", &ListOptions::default()).await.map(|list| list.items.len())
    }

    #[tokio::test]
    async fn what_was_heard_is_answered_after_a_restart_while_the_server_is_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, server) = (folder.path().join("state.redb"), Arc::new(Server::default()));
        let (client, memory) = started(&path, &server);
        assert!(!memory.knows_pods());
        assert_eq!(listed(&client).await, Ok(1));
        client.get(&gvr("secrets"), "n", "s").await.expect("is there");
        client.write(request()).await.expect("gets a token");
        drop((client, memory));

        server.away.store(true, Ordering::Relaxed);
        let (client, memory) = started(&path, &server);
        assert!(memory.knows_pods());
        let list = client.list(&gvr("pods"), "", &ListOptions::default()).await.expect("is remembered");
        assert_eq!((list.revision, list.items[0].revision(), list.items[0].head().name.as_str()), (9, 7, "p"));
        assert_eq!(client.get(&gvr("secrets"), "n", "s").await.expect("is remembered").revision(), 3);
        assert_eq!(client.get(&gvr("secrets"), "n", "other").await.expect_err("is not").code, 503);
        assert_eq!(client.list(&gvr("services"), "", &ListOptions::default()).await.expect_err("was never made").code, 503);
        let token = client.write(request()).await.expect("is remembered");
        assert_eq!(
            (token.code, token.object.value().expect("is JSON")["status"]["token"].clone()),
            (ApiResponse::REMEMBERED, json!("t"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_a_list_of_the_server_is_never_given_an_older_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Arc::new(Server::default());
        let (client, _memory) = started(&folder.path().join("state.redb"), &server);
        assert_eq!(listed(&client).await, Ok(1));
        server.away.store(true, Ordering::Relaxed);
        assert_eq!(listed(&client).await.expect_err("is away").code, 503);
        assert_eq!(listed(&client).await.expect_err("is still away").code, 503);
        server.away.store(false, Ordering::Relaxed);
        assert_eq!(listed(&client).await, Ok(1));
    }

    #[tokio::test]
    async fn with_the_last_pod_its_secrets_and_tokens_are_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, server) = (folder.path().join("state.redb"), Arc::new(Server::default()));
        let (client, memory) = started(&path, &server);
        listed(&client).await.expect("lists");
        client.get(&gvr("secrets"), "n", "s").await.expect("is there");
        client.write(request()).await.expect("gets a token");
        memory.flush();
        assert!(memory.get(&gvr("secrets"), "n", "s").is_some());
        let events = client.watch(&gvr("pods"), "", &WatchOptions::default()).await.expect("watches");
        assert_eq!(events.count().await, 1);
        memory.flush();
        assert!(memory.get(&gvr("secrets"), "n", "s").is_none());
        server.away.store(true, Ordering::Relaxed);
        assert_eq!(client.write(request()).await.expect_err("is forgotten").code, 503);
    }

    #[tokio::test]
    async fn a_state_that_cannot_be_read_is_begun_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.redb");
        std::fs::write(&path, "not a database").expect("writes");
        let memory = Memory::open(&path).expect("begins anew");
        assert!(!memory.knows_pods() && path.with_extension("unreadable").exists());
    }
}
