//! Disruption budgets and evictions, with all controllers running.

mod support;

use mizzen_api::Status;
use mizzen_client::ApiRequest;
use serde_json::{Value, json};
use support::{World, condition, gvr};

const BUDGETS: (&str, &str) = ("policy", "poddisruptionbudgets");

fn deployment(replicas: u32) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "example.com/a:1"}]}}}})
}

async fn names(world: &World) -> Vec<String> {
    let pods = world.list("", "pods", "default").await;
    let staying = pods.iter().filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none());
    staying.map(|pod| pod["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
}

async fn evict(world: &World, name: &str, options: Value) -> Result<(), Status> {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}, "deleteOptions": options});
    let mut request = ApiRequest::create(&gvr("", "pods"), "default", eviction).subresource("eviction");
    name.clone_into(&mut request.name);
    world.client.write(request).await.map(drop)
}

async fn budget_of(world: &World, wanted: [i64; 4]) -> Value {
    world
        .until("the budget's status", || async {
            let budget = world.get(BUDGETS.0, BUDGETS.1, "default", "b").await?;
            let status = |field: &str| budget["status"][field].as_i64().unwrap_or(-1);
            let fields = ["expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"].map(status);
            (fields == wanted && status("observedGeneration") == budget["metadata"]["generation"]).then_some(budget)
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn as_many_pods_are_evicted_as_the_budget_allows_and_more_when_others_took_their_place() {
    let world = World::start().await;
    world.add_node("n1").await;
    let budget = json!({"metadata": {"name": "b"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    world.create(BUDGETS.0, BUDGETS.1, "default", budget).await;
    budget_of(&world, [0, 0, 0, 0]).await;
    world.create("apps", "deployments", "default", deployment(3)).await;
    let full = budget_of(&world, [3, 2, 3, 1]).await;
    let allowed = condition(&full, "DisruptionAllowed").expect("is told");
    assert_eq!((&allowed["status"], &allowed["reason"]), (&json!("True"), &json!("SufficientPods")));

    let pods = names(&world).await;
    evict(&world, &pods[0], json!({"dryRun": ["All"]})).await.expect("would be evicted");
    assert_eq!(names(&world).await.len(), 3, "a dry run takes nothing");
    evict(&world, &pods[0], Value::Null).await.expect("is evicted");
    let refused = evict(&world, &pods[1], Value::Null).await.expect_err("would be one too many");
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (429, "Cannot evict pod as it would violate the pod's disruption budget.")
    );
    assert_eq!(refused.details.causes[0].reason, "DisruptionBudget");

    budget_of(&world, [3, 2, 3, 1]).await;
    evict(&world, &pods[1], Value::Null).await.expect("another took the first one's place");
    assert!(!names(&world).await.contains(&pods[1]));
}

#[tokio::test(start_paused = true)]
async fn a_percentage_counts_what_the_deployment_is_to_have() {
    let world = World::start().await;
    world.add_node("n1").await;
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"app": "web"}}}});
    world.create(BUDGETS.0, BUDGETS.1, "default", budget).await;
    world.create("apps", "deployments", "default", deployment(5)).await;
    budget_of(&world, [5, 3, 5, 2]).await;
    world.patch(BUDGETS.0, BUDGETS.1, "default", "b", json!({"spec": {"minAvailable": 5}})).await;
    let tight = budget_of(&world, [5, 5, 5, 0]).await;
    assert_eq!(condition(&tight, "DisruptionAllowed").expect("is told")["reason"], "InsufficientPods");
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_budget_or_that_does_not_run_yet_goes_and_says_why_and_one_with_two_budgets_stays() {
    let world = World::start().await;
    let pod = |name: &str| {
        json!({"metadata": {"name": name, "labels": {"app": name}, "finalizers": ["example.com/look"]},
            "spec": {"containers": [{"name": "main", "image": "example.com/a:1"}]}})
    };
    for name in ["free", "pending"] {
        world.create("", "pods", "default", pod(name)).await;
    }
    let strict = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "pending"}}}});
    world.create(BUDGETS.0, BUDGETS.1, "default", strict).await;
    for name in ["free", "pending"] {
        let stale = json!({"preconditions": {"resourceVersion": "1"}});
        assert_eq!(evict(&world, name, stale).await.expect_err("has changed").code, 409);
        evict(&world, name, json!({"gracePeriodSeconds": 0})).await.expect("is evicted");
        let pod = world.get("", "pods", "default", name).await.expect("is held");
        assert!(pod.pointer("/metadata/deletionTimestamp").is_some());
        let why = condition(&pod, "DisruptionTarget").expect("says why");
        assert_eq!((&why["status"], &why["reason"]), (&json!("True"), &json!("EvictionByEvictionAPI")));
    }

    world.add_node("n1").await;
    world.create("", "pods", "default", pod("twice")).await;
    for name in ["one", "two"] {
        let budget = json!({"metadata": {"name": name}, "spec": {"minAvailable": 0, "selector": {}}});
        world.create(BUDGETS.0, BUDGETS.1, "default", budget).await;
    }
    world
        .until("a running pod", || async {
            world.get("", "pods", "default", "twice").await.filter(|pod| pod["status"]["phase"] == "Running")
        })
        .await;
    let refused = evict(&world, "twice", Value::Null).await.expect_err("has two budgets");
    assert!((refused.code, refused.message.contains("more than one PodDisruptionBudget")) == (500, true), "{refused:?}");
    assert_eq!(evict(&world, "nobody", Value::Null).await.expect_err("is not there").code, 404);
}
