//! A watch cache against a server whose every answer is scripted, so that lost and expired watches can be told apart.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use mizzen_api::{GroupVersionResource, Object, ObjectRef, Reason, Status};
use mizzen_client::{ApiRequest, ApiResponse, Client, Discovery, ListOptions, ObjectList, WatchEvent, WatchOptions, WatchStream};
use mizzen_reconcile::{Queue, WatchCache, WatchSpec};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

type Event = Result<WatchEvent, Status>;

#[derive(Default)]
struct Server {
    lists: Mutex<Vec<Result<ObjectList, Status>>>,
    watches: Mutex<Vec<mpsc::UnboundedReceiver<Event>>>,
    watched_from: Mutex<Vec<String>>,
}

#[async_trait]
impl Client for Server {
    async fn get(&self, _: &GroupVersionResource, _: &str, _: &str) -> Result<Arc<Object>, Status> {
        Err(Status::internal("not scripted"))
    }

    async fn list(&self, _: &GroupVersionResource, _: &str, _: &ListOptions) -> Result<ObjectList, Status> {
        let mut lists = self.lists.lock();
        if lists.is_empty() { Err(Status::internal("not scripted")) } else { lists.remove(0) }
    }

    async fn watch(&self, _: &GroupVersionResource, _: &str, options: &WatchOptions) -> Result<WatchStream, Status> {
        self.watched_from.lock().push(options.resource_version.clone());
        let next = {
            let mut watches = self.watches.lock();
            (!watches.is_empty()).then(|| watches.remove(0))
        };
        match next {
            Some(receiver) => Ok(tokio_stream_of(receiver)),
            None => Ok(futures::stream::pending().boxed()),
        }
    }

    async fn write(&self, _: ApiRequest) -> Result<ApiResponse, Status> {
        Err(Status::internal("not scripted"))
    }

    async fn discover(&self) -> Result<Arc<Discovery>, Status> {
        Err(Status::internal("not scripted"))
    }
}

fn tokio_stream_of(receiver: mpsc::UnboundedReceiver<Event>) -> WatchStream {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|event| (event, receiver)) }).boxed()
}

fn pod(name: &str, node: &str, revision: u64) -> Arc<Object> {
    let value = json!({"metadata": {"namespace": "default", "name": name, "resourceVersion": revision.to_string()},
        "spec": {"nodeName": node}});
    Arc::new(Object::new(value.to_string().into_bytes(), revision))
}

#[allow(clippy::result_large_err, reason = "a Status is what a client answers")]
fn listed(items: Vec<Arc<Object>>, revision: u64) -> Result<ObjectList, Status> {
    Ok(ObjectList { items, revision, continue_token: None, remaining: None })
}

fn start(server: &Arc<Server>) -> Arc<WatchCache<Object>> {
    WatchCache::objects(WatchSpec::all(GroupVersionResource::new("", "v1", "pods")))
        .index("node", |object: &Object| {
            vec![object.value().expect("is JSON")["spec"]["nodeName"].as_str().unwrap_or("").to_owned()]
        })
        .start(server.clone(), CancellationToken::new())
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("not within the deadline: {what}"));
}

fn names(objects: &[Arc<Object>]) -> Vec<String> {
    objects.iter().map(|object| object.head().name.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_object_moves_between_index_keys_and_leaves_them_when_deleted() {
    let server = Arc::new(Server::default());
    server.lists.lock().push(listed(vec![pod("a", "n1", 1), pod("b", "n1", 2)], 2));
    let (events, receiver) = mpsc::unbounded_channel();
    server.watches.lock().push(receiver);
    let cache = start(&server);
    cache.synced().await;
    assert_eq!(names(&cache.by("node", "n1")), ["a", "b"]);
    events.send(Ok(WatchEvent::Modified(pod("a", "n2", 3)))).expect("watched");
    events.send(Ok(WatchEvent::Deleted(pod("b", "n1", 4)))).expect("watched");
    eventually("b is gone", || cache.len() == 1).await;
    assert_eq!(names(&cache.by("node", "n1")), Vec::<String>::new());
    assert_eq!(names(&cache.by("node", "n2")), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_watch_is_answered_by_a_new_list_that_also_tells_what_vanished() {
    let server = Arc::new(Server::default());
    server.lists.lock().push(listed(vec![pod("a", "n1", 1), pod("b", "n1", 2)], 2));
    server.lists.lock().push(listed(vec![pod("b", "n1", 2), pod("c", "n1", 8)], 9));
    let (events, receiver) = mpsc::unbounded_channel();
    server.watches.lock().push(receiver);
    let cache = start(&server);
    cache.synced().await;
    let mut changes = cache.subscribe();
    events.send(Err(Status::new(Reason::Expired, "too old resource version"))).expect("watched");
    eventually("the second list is in", || names(&cache.list()) == ["b", "c"]).await;
    let mut told = Vec::new();
    while let Ok(key) = changes.try_recv() {
        told.push(key.name);
    }
    assert_eq!(told[..2], ["a", "b"], "what was there when subscribing");
    assert!(told[2..].contains(&"a".to_owned()) && told[2..].contains(&"c".to_owned()), "{told:?}");
    eventually("it watches from the new list", || *server.watched_from.lock() == ["2", "9"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_is_resumed_after_the_last_revision_without_listing() {
    let server = Arc::new(Server::default());
    server.lists.lock().push(listed(vec![pod("a", "n1", 1)], 1));
    let (events, receiver) = mpsc::unbounded_channel();
    server.watches.lock().push(receiver);
    let cache = start(&server);
    events.send(Ok(WatchEvent::Bookmark { revision: 7, initial_events_end: false })).expect("watched");
    drop(events);
    eventually("it watches again", || *server.watched_from.lock() == ["1", "7"]).await;
    assert_eq!(cache.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_asked_again_until_it_answers() {
    let server = Arc::new(Server::default());
    for _ in 0..5 {
        server.lists.lock().push(Err(Status::new(Reason::ServiceUnavailable, "starting")));
    }
    server.lists.lock().push(listed(vec![pod("a", "n1", 1)], 1));
    let cache = start(&server);
    assert!(!cache.is_synced());
    tokio::time::timeout(Duration::from_secs(60), cache.synced()).await.expect("syncs in the end");
    assert_eq!(cache.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_former_owner_of_an_object_hears_of_its_change_too() {
    let server = Arc::new(Server::default());
    server.lists.lock().push(listed(vec![pod("a", "n1", 1)], 1));
    let (events, receiver) = mpsc::unbounded_channel();
    server.watches.lock().push(receiver);
    let cache = start(&server);
    cache.synced().await;
    let queue = Queue::default();
    cache.enqueue_mapped(&queue, |object| {
        vec![ObjectRef::cluster(object.value().expect("is JSON")["spec"]["nodeName"].as_str().unwrap_or(""))]
    });
    assert_eq!(queue.next().await, Some(ObjectRef::cluster("n1")));
    queue.done(&ObjectRef::cluster("n1"));
    events.send(Ok(WatchEvent::Modified(pod("a", "n2", 3)))).expect("watched");
    let told = [queue.next().await, queue.next().await];
    assert_eq!(told, [Some(ObjectRef::cluster("n1")), Some(ObjectRef::cluster("n2"))]);
}
