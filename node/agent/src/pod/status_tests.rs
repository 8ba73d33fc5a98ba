use serde_json::{Value, json};

use super::super::fixtures::{World, failure};
use super::super::view::{Prepared, Resize, Resized};
use super::*;
use crate::node::room::Refusal;

fn shown(world: &World) -> Value {
    serde_json::to_value(world.look(status)).expect("encodes")
}

fn state(world: &World) -> Value {
    shown(world)["containerStatuses"][0]["state"].clone()
}

fn condition(status: &Value, kind: &str) -> (String, String, String) {
    let all = status["conditions"].as_array().expect("has conditions");
    let found = all.iter().find(|condition| condition["type"] == kind).expect("has the condition");
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

fn is(status: &str) -> (String, String, String) {
    (status.into(), String::new(), String::new())
}

#[test]
fn a_pod_begins_as_pending_and_waits() {
    let mut world = World::one("Always");
    world.prepared = Prepared::No;
    let status = shown(&world);
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["hostIP"], "192.0.2.1");
    assert_eq!(status["startTime"], "2026-01-01T00:00:00Z");
    assert_eq!(status["qosClass"], "BestEffort");
    let container = &status["containerStatuses"][0];
    assert_eq!(container["state"], json!({"waiting": {"reason": "ContainerCreating"}}));
    assert_eq!(
        (&container["image"], &container["imageID"], &container["started"], &container["ready"]),
        (&json!("i"), &json!(""), &json!(false), &json!(false))
    );
    assert_eq!(condition(&status, "PodReadyToStartContainers"), is("False"));
    assert_eq!(condition(&status, "Initialized"), is("True"));
    assert_eq!(
        condition(&status, "Ready"),
        ("False".into(), "ContainersNotReady".into(), "containers with unready status: [a]".into())
    );
}

#[test]
fn a_running_pod_is_ready_when_its_probes_pass() {
    let world = World::one("Always").running("a", 0).probes("a", true, false);
    let status = shown(&world);
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["podIPs"], json!([{"ip": "10.0.0.2"}]));
    let container = &status["containerStatuses"][0];
    assert_eq!(container["state"], json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}));
    assert_eq!((&container["started"], &container["ready"]), (&json!(true), &json!(false)));
    assert_eq!((&container["containerID"], &container["imageID"]), (&json!("mizzen://a-0"), &json!("i@sha256:1")));
    assert_eq!(condition(&status, "ContainersReady").0, "False");
    let status = shown(&world.probes("a", true, true));
    assert_eq!((condition(&status, "Ready"), condition(&status, "ContainersReady")), (is("True"), is("True")));
}

#[test]
fn a_readiness_gate_keeps_a_pod_unready() {
    let spec = json!({"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "example.com/up"}]});
    let world = World::new(spec).running("a", 0);
    assert_eq!(condition(&shown(&world), "Ready").1, "ReadinessGatesNotReady");
    let world = world.told(json!({"conditions": [{"type": "example.com/up", "status": "True"}]}));
    let status = shown(&world);
    assert_eq!(condition(&status, "Ready"), is("True"));
    assert_eq!(condition(&status, "example.com/up").0, "True", "others' conditions are kept");
}

#[test]
fn a_condition_that_stays_keeps_its_time() {
    let since = "2025-06-01T00:00:00Z";
    let told = json!({"conditions": [
        {"type": "Initialized", "status": "True", "lastTransitionTime": since},
        {"type": "Ready", "status": "False", "lastTransitionTime": since},
    ]});
    let status = shown(&World::one("Always").running("a", 0).told(told));
    let time = |kind: &str| {
        status["conditions"].as_array().expect("has some").iter().find(|c| c["type"] == kind).expect("is there")["lastTransitionTime"].clone()
    };
    assert_eq!(time("Initialized"), since);
    assert_eq!(time("Ready"), "2026-01-01T00:00:00Z");
}

#[test]
fn a_crashing_container_shows_its_back_off_and_its_last_state() {
    let world = World::one("Always").running("a", 2).exited("a", 3, 5, 20).now(6);
    let status = shown(&world);
    let container = &status["containerStatuses"][0];
    assert_eq!(container["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(container["state"]["waiting"]["message"], "back-off 20s restarting failed container=a pod=p_n(u)");
    let last = &container["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"], &last["containerID"]), (&json!(3), &json!("Error"), &json!("mizzen://a-2")));
    assert_eq!(container["restartCount"], 2);
    assert_eq!(status["phase"], "Running");
}

#[test]
fn a_restarted_container_shows_how_the_one_before_ended() {
    let world = World::one("Always").running("a", 0).exited("a", 0, 5, 0).running("a", 1);
    let container = shown(&world)["containerStatuses"][0].clone();
    assert!(container["state"]["running"].is_object());
    assert_eq!(container["lastState"]["terminated"]["reason"], "Completed");
    assert_eq!(container["restartCount"], 1);
}

#[test]
fn image_errors_show_first_as_errors_then_as_back_offs() {
    let failed = || ImageView::Failed(failure("ErrImagePull", 0, 10));
    let mut world = World::one("Always").image("a", failed());
    world.prepared = Prepared::Addressed;
    assert_eq!(state(&world)["waiting"], json!({"reason": "ErrImagePull", "message": "why"}));
    let status = shown(&world);
    assert_eq!(status["podIP"], "10.0.0.2", "the address is there before the image");
    assert_eq!(condition(&status, "PodReadyToStartContainers"), is("True"));
    let message = "Back-off pulling image \"i\": ErrImagePull: why";
    assert_eq!(state(&world.now(3))["waiting"], json!({"reason": "ImagePullBackOff", "message": message}));
    let world = World::one("Always").image("a", ImageView::Failed(failure("InvalidImageName", 0, 10))).now(5);
    assert_eq!(state(&world)["waiting"]["reason"], "InvalidImageName");
}

#[test]
fn a_container_that_cannot_be_made_says_why() {
    let world = World::one("Always").start_error("a", "CreateContainerConfigError", 3);
    assert_eq!(state(&world)["waiting"], json!({"reason": "CreateContainerConfigError", "message": "why"}));
}

#[test]
fn init_containers_show_their_progress() {
    let spec =
        json!({"initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]});
    let world = World::new(spec).running("i", 0);
    let status = shown(&world);
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    let (status_text, reason, message) = condition(&status, "Initialized");
    assert_eq!((status_text.as_str(), reason.as_str()), ("False", "ContainersNotInitialized"));
    assert_eq!(message, "containers with incomplete status: [i s]");

    let status = shown(&world.exited("i", 0, 1, 0).running("s", 0).running("a", 0));
    assert_eq!(status["initContainerStatuses"][0]["ready"], true);
    assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(
        (&status["initContainerStatuses"][1]["started"], &status["initContainerStatuses"][1]["ready"]),
        (&json!(true), &json!(true))
    );
    assert_eq!((condition(&status, "Initialized"), condition(&status, "Ready")), (is("True"), is("True")));
}

#[test]
fn a_pod_ends_as_its_containers_did() {
    for (policy, code, phase, reason) in [
        ("Never", 0, "Succeeded", "PodCompleted"),
        ("OnFailure", 0, "Succeeded", "PodCompleted"),
        ("Never", 9, "Failed", "PodFailed"),
    ] {
        let status = shown(&World::one(policy).running("a", 0).exited("a", code, 1, 0));
        assert_eq!(status["phase"], phase, "{policy} {code}");
        assert_eq!(condition(&status, "Ready").1, reason);
    }
}

#[test]
fn an_end_is_final_only_when_nothing_runs_any_more() {
    let spec = json!({"restartPolicy": "Never", "initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]});
    let world = World::new(spec).running("s", 0).running("a", 0).exited("a", 0, 1, 0);
    assert_eq!(shown(&world)["phase"], "Running");
    assert_eq!(shown(&world.exited("s", 0, 2, 0))["phase"], "Succeeded");
}

#[test]
fn a_pod_over_its_deadline_fails_with_a_reason() {
    let spec = json!({"activeDeadlineSeconds": 5, "containers": [{"name": "a"}]});
    let world = World::new(spec).running("a", 0).exited("a", 143, 6, 0).now(6);
    let status = shown(&world);
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("DeadlineExceeded")));
    assert!(status["containerStatuses"][0]["state"]["terminated"].is_object(), "{status}");
}

#[test]
fn a_pod_over_its_deadline_is_unready_at_once_and_failed_when_its_containers_have_ended() {
    for policy in ["Always", "Never"] {
        let spec = json!({"activeDeadlineSeconds": 5, "restartPolicy": policy, "containers": [{"name": "a"}]});
        let world = World::new(spec).running("a", 0).now(6);
        let status = shown(&world);
        assert_eq!((&status["phase"], &status["reason"], &status["message"]), (&json!("Running"), &json!(null), &json!(null)));
        assert_eq!(condition(&status, "Ready").1, "PodFailed");
        let status = shown(&world.exited("a", 137, 7, 10).now(8));
        assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("DeadlineExceeded")), "{policy}");
        assert_eq!(status["message"], "Pod was active on the node longer than the specified deadline");
    }
}

#[test]
fn a_pod_that_ended_before_its_deadline_ended_as_its_containers_did() {
    let spec = json!({"activeDeadlineSeconds": 5, "restartPolicy": "Never", "containers": [{"name": "a"}]});
    let status = shown(&World::new(spec).running("a", 0).exited("a", 0, 4, 0).now(60));
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Succeeded"), &json!(null)));
}

#[test]
fn a_deleted_pod_tells_its_last_word() {
    let world = World::one("Always").running("a", 0).deleted(30);
    assert_eq!(shown(&world)["phase"], "Running");
    let status = shown(&world.exited("a", 137, 3, 0));
    assert_eq!(status["phase"], "Failed");
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], 137);
}

#[test]
fn what_was_told_of_an_ended_container_stays_when_the_runtime_has_lost_it() {
    let told = json!({"phase": "Succeeded", "containerStatuses": [
        {"name": "a", "image": "i", "imageID": "", "ready": false, "restartCount": 4, "state": {"terminated": {"exitCode": 0}}}]});
    let status = shown(&World::one("Never").told(told));
    assert_eq!(status["phase"], "Succeeded");
    assert_eq!(status["containerStatuses"][0]["restartCount"], 4);
}

#[test]
fn an_ephemeral_container_has_a_status_of_its_own_and_does_not_make_the_pod_unready() {
    let spec = json!({
        "containers": [{"name": "a", "image": "i"}], "ephemeralContainers": [{"name": "debug", "image": "i"}],
    });
    let status = shown(&World::new(spec).running("a", 0).running("debug", 0).exited("debug", 3, 1, 0));
    assert_eq!(status["phase"], "Running");
    let debug = &status["ephemeralContainerStatuses"][0];
    assert_eq!(
        (&debug["name"], &debug["state"]["terminated"]["exitCode"], &debug["ready"]),
        (&json!("debug"), &json!(3), &json!(false))
    );
    assert_eq!(condition(&status, "Ready"), is("True"));
}

#[test]
fn a_resize_is_a_condition_until_it_is_done() {
    let told = |world: &World| -> Vec<(String, String, String)> {
        let conditions = world.look(status).conditions.expect("there are conditions");
        let resizes = conditions.into_iter().filter(|condition| condition.type_.starts_with("PodResize"));
        resizes.map(|c| (c.type_, c.reason.unwrap_or_default(), c.message.unwrap_or_default())).collect()
    };
    let of = |kind: &str, reason: &str, why: &str| vec![(kind.to_owned(), reason.to_owned(), why.to_owned())];
    let wanted = || json!({"requests": {"cpu": "2"}});
    let mut world = World::one("Always").running("a", 0).asking_for(wanted());
    assert_eq!(told(&world), []);
    for (refusal, reason) in [(Refusal::Infeasible("why".into()), "Infeasible"), (Refusal::Deferred("why".into()), "Deferred")] {
        world = world.refused(refusal);
        assert_eq!(told(&world), of("PodResizePending", reason, "why"));
    }
    world.pod.status = Some(world.look(status));
    let amounts = r#"{"requests":{"cpu":"2"}}"#.to_owned();
    world.containers.get_mut("a").expect("is there").granted.clone_from(&amounts);
    assert_eq!(told(&world), of("PodResizeInProgress", "", ""));
    let allocated = |world: &World| shown(world)["containerStatuses"][0]["allocatedResources"].clone();
    assert_eq!(allocated(&world), json!({"cpu": "2"}));
    assert_eq!(shown(&world)["containerStatuses"][0]["resources"], Value::Null, "it has what it had");
    let mut tried = |outcome: Resized| {
        let resize = Resize { id: "a-0".into(), amounts: amounts.clone(), outcome };
        world.containers.get_mut("a").expect("is there").resizes.tried(resize);
        told(&world)
    };
    assert_eq!(tried(Resized::Failed("busy".into())), of("PodResizeInProgress", "Error", "busy"));
    assert_eq!(tried(Resized::Done), [], "what is done is not told any more");
    assert_eq!(shown(&world)["containerStatuses"][0]["resources"], wanted());
}

#[test]
fn a_container_is_told_to_run_when_its_post_start_hook_is_done() {
    let spec = json!({"containers": [{"name": "a", "image": "i"}]});
    let coming_up = World::new(spec.clone()).running("a", 0).starting("a", 0);
    let status = shown(&coming_up);
    let container = &status["containerStatuses"][0];
    assert_eq!(container["state"]["waiting"]["reason"], "ContainerCreating");
    assert_eq!((&container["started"], &container["ready"]), (&json!(false), &json!(false)));
    assert_eq!((&status["phase"], condition(&status, "Ready").0), (&json!("Pending"), "False".to_owned()));
    assert_eq!(shown(&coming_up.deleted(5))["phase"], "Running", "all that runs is told when the pod ends");

    let again = World::new(spec).running("a", 0).exited("a", 3, 1, 0).running("a", 1).now(2);
    assert_eq!(shown(&again)["containerStatuses"][0]["restartCount"], 1);
    let container = &shown(&again.starting("a", 1))["containerStatuses"][0];
    assert_eq!((&container["restartCount"], &container["state"]["terminated"]["exitCode"]), (&json!(0), &json!(3)));
}
