//! Preemption when something comes in between.

use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::{GroupVersionResource, Object, Status};
use mizzen_client::{ApiRequest, ApiResponse, Client, DeleteOptions, ListOptions, ObjectList, WatchOptions, WatchStream};

use crate::world::{World, gvr, important, no_victims, node, pod};

/// The API as it is when something comes in between: before a status of `pod` is written, `then` happens.
struct Between {
    scheduler: Arc<dyn Client>,
    admin: Arc<dyn Client>,
    pod: &'static str,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    /// The pod is deleted.
    Delete,
    /// The write fails.
    Fail,
}

#[async_trait]
impl Client for Between {
    async fn get(&self, resource: &GroupVersionResource, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        self.scheduler.get(resource, namespace, name).await
    }

    async fn list(&self, of: &GroupVersionResource, namespace: &str, options: &ListOptions) -> Result<ObjectList, Status> {
        self.scheduler.list(of, namespace, options).await
    }

    async fn watch(&self, of: &GroupVersionResource, namespace: &str, options: &WatchOptions) -> Result<WatchStream, Status> {
        self.scheduler.watch(of, namespace, options).await
    }

    async fn write(&self, request: ApiRequest) -> Result<ApiResponse, Status> {
        if request.name == self.pod && request.subresource == "status" {
            match self.then {
                Then::Fail => return Err(Status::internal("not today")),
                Then::Delete => {
                    let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
                    let _ = self.admin.write(ApiRequest::delete(&gvr("pods"), "default", self.pod, options)).await;
                }
            }
        }
        self.scheduler.write(request).await
    }

    async fn discover(&self) -> Result<Arc<mizzen_client::Discovery>, Status> {
        self.scheduler.discover().await
    }
}

impl World {
    /// Something comes in between whenever the scheduler writes the status of `pod`.
    async fn with_classes_between(pod: &'static str, then: Then) -> Self {
        let client_of = |scheduler, admin| -> Arc<dyn Client> { Arc::new(Between { scheduler, admin, pod, then }) };
        Self::with_client(Vec::new(), client_of).await.classes().await
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_ends_for_a_pod_that_is_gone() {
    let world = World::with_classes_between("high", Then::Delete).await;
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("low", "1")).await;
    world.node_of("low").await;
    world.create("pods", "default", important("high", "1", "high")).await;
    let pods = gvr("pods");
    let high = || world.client.get(&pods, "default", "high");
    world.until("high is gone", || async { high().await.is_err().then_some(()) }).await;
    // All that was done for it is done when another one was decided on; and nothing is kept for it.
    world.create("pods", "default", pod("late", "1")).await;
    world.unschedulable("late", &no_victims("0/1 nodes are available: 1 Insufficient cpu.", 1)).await;
    assert_eq!(world.pod("low").await.pointer("/metadata/deletionTimestamp"), None);
    world.delete("pods", "default", "low").await;
    assert_eq!(world.node_of("late").await, "n1");
}

#[tokio::test(start_paused = true)]
async fn nobody_ends_who_cannot_be_told_why() {
    let world = World::with_classes_between("low", Then::Fail).await;
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("low", "1")).await;
    world.node_of("low").await;
    world.create("pods", "default", important("high", "1", "high")).await;
    let tried = || async { world.pod("high").await["status"].get("conditions").cloned() };
    world.until("it was tried", || async { tried().await.map(drop) }).await;
    world
        .until("the nomination is taken back", || async {
            world.pod("high").await["status"].get("nominatedNodeName").is_none().then_some(())
        })
        .await;
    assert_eq!(world.pod("low").await.pointer("/metadata/deletionTimestamp"), None);
}
