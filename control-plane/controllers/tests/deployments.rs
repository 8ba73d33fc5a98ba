//! Deployments through the real pipeline, as `kubectl rollout` sees them.

mod support;

use std::cell::Cell;
use std::time::Duration;

use mizzen_client::Propagation;
use serde_json::{Value, json};
use support::{World, condition};

const REVISION: &str = "deployment.kubernetes.io/revision";

fn deployment(name: &str, replicas: i32, image: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    })
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
}

impl World {
    async fn deployment(&self, name: &str) -> Value {
        self.get("apps", "deployments", "default", name).await.expect("the deployment is there")
    }

    /// What `kubectl rollout status` waits for.
    async fn rolled_out(&self, name: &str) -> Value {
        let rolled_out = || async {
            let deployment = self.deployment(name).await;
            let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
            let count = |field: &str| deployment["status"][field].as_i64().unwrap_or(0);
            let reason = condition(&deployment, "Progressing").and_then(|condition| condition["reason"].as_str());
            (count("observedGeneration") >= deployment["metadata"]["generation"].as_i64().unwrap_or(0)
                && ["replicas", "updatedReplicas", "availableReplicas", "readyReplicas"]
                    .iter()
                    .all(|field| count(field) == wanted)
                && reason == Some("NewReplicaSetAvailable"))
            .then_some(deployment)
        };
        self.until("the rollout is complete", rolled_out).await
    }

    /// Revision and size of each ReplicaSet, by revision.
    async fn revisions(&self) -> Vec<(String, i64)> {
        let sets = self.list("apps", "replicasets", "default").await;
        let of = |set: &Value| {
            (
                set["metadata"]["annotations"][REVISION].as_str().unwrap_or("").to_owned(),
                set["spec"]["replicas"].as_i64().unwrap_or(-1),
            )
        };
        let mut revisions: Vec<_> = sets.iter().map(of).collect();
        revisions.sort();
        revisions
    }
}

fn revisions(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected.iter().map(|(revision, size)| ((*revision).to_owned(), *size)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_deployment_rolls_out_updates_without_losing_availability_and_is_undone() {
    let world = World::start().await;
    world.add_node("n1").await;
    world.create("apps", "deployments", "default", deployment("web", 4, "a:1")).await;
    let first = world.rolled_out("web").await;
    assert_eq!(first["metadata"]["annotations"][REVISION], "1");
    assert_eq!(condition(&first, "Available").expect("stands")["reason"], "MinimumReplicasAvailable");
    let set = &world.list("apps", "replicasets", "default").await[0];
    let hash = set["metadata"]["labels"]["pod-template-hash"].as_str().expect("has a hash");
    assert_eq!(set["metadata"]["name"], format!("web-{hash}"));
    for pod in world.list("", "pods", "default").await {
        let name = pod["metadata"]["name"].as_str().expect("has a name");
        assert!(name.starts_with(&format!("web-{hash}-")), "{name}");
    }

    world.patch("apps", "deployments", "default", "web", image("a:2")).await;
    let least = Cell::new(i64::MAX);
    let most = Cell::new(0);
    world
        .until("the second revision is out", || async {
            let pods = world.list("", "pods", "default").await;
            let active = pods.iter().filter(|pod| pod["metadata"].get("deletionTimestamp").is_none());
            let ready = active.clone().filter(|pod| condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True"));
            least.set(least.get().min(i64::try_from(ready.count()).expect("few")));
            most.set(most.get().max(active.count()));
            (world.revisions().await == revisions(&[("1", 0), ("2", 4)])).then_some(())
        })
        .await;
    let second = world.rolled_out("web").await;
    assert_eq!(second["metadata"]["annotations"][REVISION], "2");
    assert!(least.get() >= 3, "maxUnavailable 25% of 4 is one, yet only {} were available", least.get());
    assert!(most.get() <= 5, "maxSurge 25% of 4 is one, yet there were {}", most.get());

    // `kubectl rollout undo` puts the old template back.
    let sets = world.list("apps", "replicasets", "default").await;
    let old = sets.iter().find(|set| set["metadata"]["annotations"][REVISION] == "1").expect("is kept");
    let mut template = old["spec"]["template"].clone();
    template["metadata"]["labels"]["pod-template-hash"] = Value::Null;
    template["metadata"]["creationTimestamp"] = Value::Null;
    world.patch("apps", "deployments", "default", "web", json!({"spec": {"template": template}})).await;
    world
        .until("the first ReplicaSet is back", || async {
            (world.revisions().await == revisions(&[("2", 0), ("3", 4)])).then_some(())
        })
        .await;
    world.rolled_out("web").await;
}

#[tokio::test(start_paused = true)]
async fn scaling_reaches_the_pods_both_ways() {
    let world = World::start().await;
    world.add_node("n1").await;
    world.create("apps", "deployments", "default", deployment("web", 1, "a:1")).await;
    world.rolled_out("web").await;
    for replicas in [7, 2, 0] {
        world.patch("apps", "deployments", "default", "web", json!({"spec": {"replicas": replicas}})).await;
        world
            .until("there are as many pods as asked for", || async {
                (world.list("", "pods", "default").await.len() == replicas).then_some(())
            })
            .await;
    }
    world.rolled_out("web").await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_deployment_scales_but_does_not_roll_out() {
    let world = World::start().await;
    world.add_node("n1").await;
    world.create("apps", "deployments", "default", deployment("web", 2, "a:1")).await;
    world.rolled_out("web").await;
    world.patch("apps", "deployments", "default", "web", json!({"spec": {"paused": true}})).await;
    world.patch("apps", "deployments", "default", "web", image("a:2")).await;
    world.patch("apps", "deployments", "default", "web", json!({"spec": {"replicas": 3}})).await;
    world.until("it scaled", || async { (world.revisions().await == revisions(&[("1", 3)])).then_some(()) }).await;
    let paused = || async {
        let deployment = world.deployment("web").await;
        (condition(&deployment, "Progressing")?["reason"] == "DeploymentPaused").then_some(())
    };
    world.until("it says that it is paused", paused).await;
    assert_eq!(world.revisions().await, revisions(&[("1", 3)]));
    world.patch("apps", "deployments", "default", "web", json!({"spec": {"paused": false}})).await;
    world.rolled_out("web").await;
    assert_eq!(world.revisions().await, revisions(&[("1", 0), ("2", 3)]));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_gets_stuck_says_so_and_keeps_the_old_pods() {
    let world = World::start().await;
    world.add_node("n1").await;
    let mut stuck = deployment("web", 4, "a:1");
    stuck["spec"]["progressDeadlineSeconds"] = json!(60);
    world.create("apps", "deployments", "default", stuck).await;
    world.rolled_out("web").await;
    world.broken.lock().insert("a:broken".to_owned());
    world.patch("apps", "deployments", "default", "web", image("a:broken")).await;
    let exceeded = || async {
        let deployment = world.deployment("web").await;
        let progressing = condition(&deployment, "Progressing")?;
        (progressing["reason"] == "ProgressDeadlineExceeded" && progressing["status"] == "False").then_some(deployment.clone())
    };
    let deployment = world.until("the deadline is exceeded", exceeded).await;
    assert_eq!(deployment["status"]["availableReplicas"], 3);
    assert_eq!(condition(&deployment, "Available").expect("stands")["status"], "True");
    world.patch("apps", "deployments", "default", "web", image("a:3")).await;
    world.rolled_out("web").await;
}

#[tokio::test(start_paused = true)]
async fn recreate_ends_all_old_pods_before_the_first_new_one() {
    let world = World::start().await;
    world.add_node("n1").await;
    let mut recreate = deployment("web", 3, "a:1");
    recreate["spec"]["strategy"] = json!({"type": "Recreate"});
    world.create("apps", "deployments", "default", recreate).await;
    world.rolled_out("web").await;
    world.patch("apps", "deployments", "default", "web", image("a:2")).await;
    world
        .until("the new pods are there", || async {
            let pods = world.list("", "pods", "default").await;
            let images: std::collections::HashSet<_> =
                pods.iter().map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap_or("").to_owned()).collect();
            assert!(images.len() <= 1, "old and new at the same time: {images:?}");
            (images.contains("a:2") && pods.len() == 3).then_some(())
        })
        .await;
    world.rolled_out("web").await;
}

#[tokio::test(start_paused = true)]
async fn history_is_kept_up_to_the_limit() {
    let world = World::start().await;
    world.add_node("n1").await;
    let mut short = deployment("web", 1, "a:1");
    short["spec"]["revisionHistoryLimit"] = json!(1);
    world.create("apps", "deployments", "default", short).await;
    world.rolled_out("web").await;
    for number in 2..=4 {
        world.patch("apps", "deployments", "default", "web", image(&format!("a:{number}"))).await;
        world.rolled_out("web").await;
    }
    world
        .until("older revisions are gone", || async {
            (world.revisions().await == revisions(&[("3", 0), ("4", 1)])).then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn deleting_a_deployment_takes_its_pods_along_as_asked() {
    for propagation in [None, Some(Propagation::Background), Some(Propagation::Foreground)] {
        let world = World::start().await;
        world.add_node("n1").await;
        world.create("apps", "deployments", "default", deployment("web", 2, "a:1")).await;
        world.rolled_out("web").await;
        world.delete("apps", "deployments", "default", "web", propagation).await;
        world
            .until("everything is gone", || async {
                let deployment = world.get("apps", "deployments", "default", "web").await;
                let sets = world.list("apps", "replicasets", "default").await;
                let pods = world.list("", "pods", "default").await;
                if propagation == Some(Propagation::Foreground) {
                    assert!(deployment.is_some() || sets.is_empty(), "the owner goes last");
                    assert!(!sets.is_empty() || pods.is_empty(), "the owner goes last");
                }
                (deployment.is_none() && sets.is_empty() && pods.is_empty()).then_some(())
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn orphaned_replica_sets_live_on_and_are_adopted_by_the_next_deployment() {
    let world = World::start().await;
    world.add_node("n1").await;
    world.create("apps", "deployments", "default", deployment("web", 2, "a:1")).await;
    world.rolled_out("web").await;
    let before: Vec<_> = world.list("", "pods", "default").await.iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
    world.delete("apps", "deployments", "default", "web", Some(Propagation::Orphan)).await;
    world
        .until("the deployment is gone", || async {
            world.get("apps", "deployments", "default", "web").await.is_none().then_some(())
        })
        .await;
    let sets = world.list("apps", "replicasets", "default").await;
    assert_eq!(sets.len(), 1);
    assert_eq!(sets[0]["metadata"].get("ownerReferences").filter(|owners| **owners != json!([])), None);
    let again = world.create("apps", "deployments", "default", deployment("web", 2, "a:1")).await;
    world.rolled_out("web").await;
    let sets = world.list("apps", "replicasets", "default").await;
    assert_eq!(sets.len(), 1);
    assert_eq!(sets[0]["metadata"]["ownerReferences"][0]["uid"], again["metadata"]["uid"]);
    let after: Vec<_> = world.list("", "pods", "default").await.iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
    assert_eq!(before, after, "the pods never stopped");
}

#[tokio::test(start_paused = true)]
async fn a_replica_set_replaces_a_pod_whose_label_was_changed() {
    let world = World::start().await;
    world.add_node("n1").await;
    world.create("apps", "deployments", "default", deployment("web", 2, "a:1")).await;
    world.rolled_out("web").await;
    let pods = world.list("", "pods", "default").await;
    let name = pods[0]["metadata"]["name"].as_str().expect("has a name").to_owned();
    world.patch("", "pods", "default", &name, json!({"metadata": {"labels": {"app": "debug"}}})).await;
    world
        .until("it is released and replaced", || async {
            let pods = world.list("", "pods", "default").await;
            let released = pods.iter().find(|pod| pod["metadata"]["name"] == name.as_str())?;
            let owners = released["metadata"].get("ownerReferences").filter(|owners| **owners != json!([]));
            (pods.len() == 3 && owners.is_none()).then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn controllers_whose_caches_lag_never_create_or_delete_too_many() {
    let world = World::start_with_lag(Duration::from_millis(700)).await;
    world.add_node("n1").await;
    world.create("apps", "deployments", "default", deployment("web", 20, "a:1")).await;
    let most = Cell::new(0);
    let count = |wanted: usize| {
        let (world, most) = (&world, &most);
        move || async move {
            for set in world.list("apps", "replicasets", "default").await {
                // Every look makes the controllers look, too, at pods they know too little of.
                let name = set["metadata"]["name"].as_str().expect("has a name");
                let touch = json!({"metadata": {"annotations": {"touched": world.clock.now().to_string()}}});
                world.patch("apps", "replicasets", "default", name, touch).await;
            }
            let pods = world.list("", "pods", "default").await;
            most.set(most.get().max(pods.len()));
            (pods.len() == wanted).then_some(())
        }
    };
    world.until("all are created", count(20)).await;
    world.rolled_out("web").await;
    count(20)().await;
    assert_eq!(most.get(), 20);
    world.patch("apps", "deployments", "default", "web", json!({"spec": {"replicas": 8}})).await;
    world.until("it shrank", count(8)).await;
    world.rolled_out("web").await;
    world
        .until("none came back and none too many went", || async {
            let pods = world.list("", "pods", "default").await;
            assert_eq!(pods.len(), 8);
            Some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn controllers_that_are_restarted_all_the_time_still_finish_a_rollout_within_its_bounds() {
    let world = World::start().await;
    world.add_node("n1").await;
    world.create("apps", "deployments", "default", deployment("web", 8, "a:1")).await;
    world.rolled_out("web").await;
    world.patch("apps", "deployments", "default", "web", image("a:2")).await;
    for round in 0..40 {
        tokio::time::sleep(Duration::from_millis(37 + round * 11)).await;
        world.restart_controllers();
        let pods = world.list("", "pods", "default").await;
        let active = pods.iter().filter(|pod| pod["metadata"].get("deletionTimestamp").is_none());
        let ready = active.clone().filter(|pod| condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")).count();
        assert!(ready >= 6 && active.count() <= 10, "{ready} ready in round {round}");
    }
    world.rolled_out("web").await;
    assert_eq!(world.revisions().await, revisions(&[("1", 0), ("2", 8)]));
}
