//! The decisions of the Deployment controller as tables: a world goes in, commands come out.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use mizzen_api::Object;
use serde_json::{Value, json};

use super::decide::{Command, Plan, decide};
use super::view::DeploymentView;
use super::world::{DESIRED, MAX, REVISION, World};
use crate::replicaset::RsView;

const NOW: i64 = 1_700_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn object(document: &Value) -> Arc<Object> {
    Arc::new(Object::new(document.to_string().into_bytes(), 1))
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": image}]}})
}

/// A Deployment whose present template has the image `new`.
fn deployment(replicas: i32, change: impl FnOnce(&mut Value)) -> DeploymentView {
    let mut document = json!({
        "metadata": {"name": "web", "namespace": "d", "uid": "u", "generation": 1, "annotations": {REVISION: "2"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template("new")},
        "status": {},
    });
    change(&mut document);
    DeploymentView::of(&object(&document)).expect("is a Deployment")
}

/// A ReplicaSet of the Deployment at revision 2 for the image `new`, else 1.
fn set(image: &str, replicas: i32, available: i32, desired: i32, max: i32) -> Arc<RsView> {
    let revision = if image == "new" { "2" } else { "1" };
    let document = json!({
        "metadata": {"name": format!("web-{image}"), "namespace": "d", "uid": image, "generation": 1,
            "annotations": {REVISION: revision, DESIRED: desired.to_string(), MAX: max.to_string()}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(image)},
        "status": {"replicas": replicas, "availableReplicas": available, "readyReplicas": available, "observedGeneration": 1},
    });
    Arc::new(RsView::of(&object(&document)).expect("is a ReplicaSet"))
}

fn plan(deployment: &DeploymentView, sets: Vec<Arc<RsView>>) -> Plan {
    decide(&World::new(deployment, sets, HashMap::new(), at(NOW)))
}

fn shown(plan: &Plan) -> Vec<String> {
    let show = |command: &Command| match command {
        Command::CreateReplicaSet { document, .. } => format!("create {}", document["spec"]["replicas"]),
        Command::Annotate { set, .. } => format!("annotate {}", set.owner.key.name),
        Command::Scale { set, replicas } => format!("{} {}->{replicas}", set.owner.key.name, set.replicas),
        Command::DeleteReplicaSet(set) => format!("delete {}", set.owner.key.name),
        Command::SetRevision(revision) => format!("revision {revision}"),
    };
    plan.commands.iter().map(show).collect()
}

#[test]
fn a_rollout_moves_within_surge_and_unavailability() {
    let bounds = |surge: i32, unavailable: i32| {
        move |document: &mut Value| {
            document["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        }
    };
    // (surge, unavailable), (old size, available), new (size, available) or none: what happens at 10 replicas.
    for ((surge, unavailable), (old, old_available), new, expected) in [
        ((2, 0), (10, 10), None, vec!["create 2"]),
        ((0, 2), (10, 10), None, vec!["create 0"]),
        ((0, 2), (10, 10), Some((0, 0)), vec!["web-old 10->8"]),
        ((0, 2), (8, 8), Some((0, 0)), vec!["web-new 0->2"]),
        ((2, 0), (10, 10), Some((2, 0)), vec![]),
        ((2, 0), (10, 10), Some((2, 1)), vec!["web-old 10->9"]),
        ((2, 0), (9, 9), Some((2, 1)), vec!["web-new 2->3"]),
        ((2, 2), (10, 4), Some((2, 0)), vec!["web-old 10->8"]),
        ((2, 2), (10, 4), Some((2, 2)), vec!["web-old 10->6"]),
        ((2, 0), (0, 0), Some((10, 10)), vec![]),
    ] {
        let deployment = deployment(10, bounds(surge, unavailable));
        let mut sets = vec![set("old", old, old_available, 10, 10 + surge)];
        sets.extend(new.map(|(size, available)| set("new", size, available, 10, 10 + surge)));
        let case = format!("surge {surge} unavailable {unavailable}, old {old}/{old_available}, new {new:?}");
        assert_eq!(shown(&plan(&deployment, sets)), expected, "{case}");
    }
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_shared_out_in_proportion() {
    let surge =
        |document: &mut Value| document["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}});
    for (replicas, sizes, expected) in [
        // The example of Kubernetes' documentation: 10 to 15 with 8 old and 5 new pods.
        (15, (8, 5), vec!["web-old 8->11", "web-new 5->7"]),
        (5, (8, 5), vec!["web-old 8->5", "web-new 5->3"]),
        (0, (8, 5), vec!["web-old 8->0", "web-new 5->0"]),
    ] {
        let deployment = deployment(replicas, surge);
        let sets = vec![set("old", sizes.0, sizes.0, 10, 13), set("new", sizes.1, 0, 10, 13)];
        assert_eq!(shown(&plan(&deployment, sets)), expected, "to {replicas}");
    }
}

#[test]
fn old_sets_are_recreated_away_before_the_new_one_comes() {
    let deployment = deployment(3, |document| document["spec"]["strategy"] = json!({"type": "Recreate"}));
    let old = set("old", 0, 0, 3, 3);
    assert_eq!(shown(&plan(&deployment, vec![set("old", 3, 3, 3, 3)])), ["web-old 3->0"]);
    let still_running = World::new(&deployment, vec![old.clone()], HashMap::from([("old".to_owned(), 1)]), at(NOW));
    assert_eq!(shown(&decide(&still_running)), Vec::<String>::new());
    assert_eq!(shown(&plan(&deployment, vec![old])), ["create 3"]);
}

#[test]
fn going_back_to_an_old_template_gives_its_set_the_next_revision() {
    let deployment = deployment(1, |_| ());
    let mut newer = RsView::clone(&set("other", 1, 1, 1, 2));
    newer.annotations.insert(REVISION.to_owned(), "7".to_owned());
    let plan = plan(&deployment, vec![set("new", 0, 0, 1, 2), Arc::new(newer)]);
    assert_eq!(shown(&plan), ["annotate web-new", "revision 8"]);
    let Command::Annotate { annotations, .. } = &plan.commands[0] else { panic!("annotates first") };
    assert!(annotations.contains(&(REVISION, "8".to_owned())));
    assert!(annotations.iter().any(|(key, value)| key.ends_with("revision-history") && value == "2"));
}

#[test]
fn the_deadline_counts_from_the_last_progress_and_not_while_paused() {
    let progressing = |reason: &str, seconds_ago: i64| {
        let reason = reason.to_owned();
        move |document: &mut Value| {
            document["spec"]["progressDeadlineSeconds"] = json!(60);
            document["status"] = json!({"replicas": 1, "updatedReplicas": 1, "observedGeneration": 1, "conditions": [{
                "type": "Progressing", "status": "True", "reason": reason,
                "lastUpdateTime": at(NOW - seconds_ago).to_string(), "lastTransitionTime": at(NOW - seconds_ago).to_string(),
            }]});
        }
    };
    let reason_after = |change: &dyn Fn(&mut Value)| {
        let deployment = deployment(1, change);
        let plan = plan(&deployment, vec![set("new", 1, 0, 1, 2)]);
        let status = plan.status.expect("has a status");
        let condition = status.conditions.into_iter().flatten().find(|c| c.type_ == "Progressing").expect("stands");
        (condition.reason.expect("has one"), plan.again.map(|again| again.as_secs()))
    };
    let updated = "ReplicaSetUpdated".to_owned();
    assert_eq!(reason_after(&progressing("ReplicaSetUpdated", 20)), (updated, Some(41)));
    assert_eq!(reason_after(&progressing("ReplicaSetUpdated", 60)), ("ProgressDeadlineExceeded".to_owned(), None));
    let paused = |document: &mut Value| {
        progressing("ReplicaSetUpdated", 60)(document);
        document["spec"]["paused"] = json!(true);
    };
    assert_eq!(reason_after(&paused), ("DeploymentPaused".to_owned(), None));
    // A finished rollout whose pod later fails is not a rollout that is stuck.
    let mut complete = deployment(1, progressing("NewReplicaSetAvailable", 9000));
    complete.status.available_replicas = Some(1);
    let status = plan(&complete, vec![set("new", 1, 0, 1, 2)]).status.expect("has a status");
    let reason = status.conditions.into_iter().flatten().find(|c| c.type_ == "Progressing").and_then(|c| c.reason);
    assert_eq!(reason.as_deref(), Some("NewReplicaSetAvailable"));
}
