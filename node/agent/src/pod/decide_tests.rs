use serde_json::json;

use super::super::fixtures::{World, at, failure};
use super::super::view::{Resize, Resized};
use super::*;
use crate::node::room::Refusal;

fn start(container: &str, attempt: u32) -> Command {
    Command::Start { container: container.into(), attempt }
}

fn pull(container: &str, image: &str) -> Command {
    Command::Pull { container: container.into(), image: image.into() }
}

fn prepare(wasm: Option<bool>) -> Command {
    Command::Prepare { wasm }
}

fn stop(container: &str, grace: i64) -> Command {
    Command::Stop { container: container.into(), id: format!("{container}-0"), grace, why: Why::PodEnds }
}

fn two() -> World {
    World::new(json!({"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}))
}

/// The first has a postStart hook.
fn hooked() -> World {
    let hook = json!({"postStart": {"sleep": {"seconds": 1}}});
    World::new(json!({"containers": [{"name": "a", "image": "x", "lifecycle": hook}, {"name": "b", "image": "y"}]}))
}

fn with_init() -> World {
    World::new(json!({
        "initContainers": [{"name": "i1", "image": "x"}, {"name": "side", "restartPolicy": "Always"}, {"name": "i2"}],
        "containers": [{"name": "a"}, {"name": "b"}]
    }))
}

#[test]
fn volumes_and_an_address_come_before_images() {
    let mut world = two().image("a", ImageView::Unknown).image("b", ImageView::Unknown);
    world.prepared = Prepared::No;
    assert_eq!(world.commands(), [prepare(None)]);
    for prepared in [Prepared::Addressed, Prepared::Yes] {
        world.prepared = prepared;
        assert_eq!(world.commands(), [pull("a", "x"), pull("b", "y")]);
    }
}

#[test]
fn the_network_is_made_as_soon_as_it_is_known_of_which_kind() {
    let failed = || ImageView::Failed(failure("ErrImagePull", 0, 10));
    for (a, b, wanted) in [
        (ImageView::Ready { wasm: false }, ImageView::Unknown, Some(false)),
        (ImageView::Ready { wasm: true }, ImageView::Unknown, None),
        (ImageView::Ready { wasm: true }, failed(), Some(true)),
        (failed(), failed(), None),
        (ImageView::Ready { wasm: true }, ImageView::Ready { wasm: true }, Some(true)),
        (ImageView::Ready { wasm: true }, ImageView::Ready { wasm: false }, Some(false)),
    ] {
        let mut world = two().image("a", a.clone()).image("b", b.clone());
        world.prepared = Prepared::Addressed;
        let commands = world.commands();
        let begun = commands.iter().find(|command| matches!(command, Command::Prepare { .. }));
        assert_eq!(begun, wanted.map(|wasm| prepare(Some(wasm))).as_ref(), "{a:?} {b:?}");
        assert!(!commands.iter().any(|command| matches!(command, Command::Start { .. })), "{commands:?}");
    }
}

#[test]
fn an_image_is_asked_for_when_its_container_is_about_to_start() {
    let world = with_init().image("i1", ImageView::Unknown).image("i2", ImageView::Unknown).image("a", ImageView::Unknown);
    assert_eq!(world.commands(), [pull("i1", "x")]);
    let world = world.image("i1", ImageView::Ready { wasm: false }).running("i1", 0);
    assert!(world.commands().is_empty());
    let world = world.exited("i1", 0, 1, 0).running("side", 0);
    assert_eq!(world.commands(), [pull("i2", "")]);
    let world = world.running("i2", 0).exited("i2", 0, 2, 0);
    assert_eq!(world.commands(), [pull("a", ""), start("b", 0)]);
}

#[test]
fn what_is_added_for_debugging_does_not_choose_the_network() {
    for debug in [ImageView::Unknown, ImageView::Ready { wasm: false }] {
        let world = World::new(json!({"containers": [{"name": "a"}], "ephemeralContainers": [{"name": "debug"}]}));
        let mut world = world.image("a", ImageView::Ready { wasm: true }).image("debug", debug);
        world.prepared = Prepared::No;
        assert_eq!(world.commands(), [prepare(Some(true))]);
    }
}

#[test]
fn a_preparation_that_failed_waits() {
    let mut world = World::one("Always");
    world.prepared = Prepared::Failed { retry_at: at(5) };
    assert_eq!(world.decide(), Decision { commands: vec![], wake_at: Some(at(5)) });
    assert_eq!(world.now(5).commands(), [prepare(Some(false))]);
}

#[test]
fn main_containers_start_in_their_order_and_wait_for_the_hooks_of_those_before_them() {
    assert_eq!(two().commands(), [start("a", 0), start("b", 0)], "nothing tells them of each other");
    assert_eq!(hooked().commands(), [start("a", 0)]);
    assert!(hooked().running("a", 0).starting("a", 0).commands().is_empty(), "the hook is not done");
    assert_eq!(hooked().running("a", 0).commands(), [start("b", 0)]);
    assert!(hooked().running("a", 0).running("b", 0).commands().is_empty());
    // It ended beside its hook, or the hook failed and it was ended.
    assert!(hooked().running("a", 0).starting("a", 0).exited("a", 1, 1, 9).commands().is_empty());
    assert_eq!(hooked().running("a", 0).exited("a", 137, 1, 9).now(1).commands(), [start("b", 0)]);
}

#[test]
fn a_hook_that_is_yet_to_come_holds_up_starts_but_no_pulls() {
    let pulling = || hooked().image("a", ImageView::Unknown);
    assert_eq!(pulling().commands(), [pull("a", "x")]);
    assert_eq!(pulling().image("b", ImageView::Unknown).commands(), [pull("a", "x"), pull("b", "y")]);
    let failed = hooked().image("a", ImageView::Failed(failure("ErrImagePull", 0, 10)));
    assert_eq!(failed.commands(), [start("b", 0)], "one that cannot start holds up nobody");
    assert_eq!(hooked().start_error("a", "CreateContainerConfigError", 3).commands(), [start("b", 0)]);
}

#[test]
fn a_restart_waits_for_nobody_and_nobody_for_it() {
    let both = || hooked().running("a", 0).running("b", 0).exited("a", 1, 1, 0).now(1);
    assert_eq!(both().commands(), [start("a", 1)]);
    let again = || hooked().exited("a", 1, 1, 0).running("a", 1).starting("a", 1);
    assert_eq!(again().running("b", 0).exited("b", 1, 1, 0).now(1).commands(), [start("b", 1)]);
    assert_eq!(again().start_error("b", "RunContainerError", 1).now(1).commands(), [start("b", 0)]);
    let retried = hooked().start_error("a", "RunContainerError", 1).starting("a", 0).now(1);
    assert_eq!(retried.commands(), [start("a", 0), start("b", 0)], "what is tried again, too");
}

#[test]
fn a_container_that_is_coming_up_is_left_alone_until_the_pod_ends() {
    let world = || hooked().running("a", 0).starting("a", 0).unhealthy("a");
    assert!(world().commands().is_empty());
    assert_eq!(world().deleted(5).commands(), [stop("a", 5)]);
}

#[test]
fn what_comes_after_a_sidecar_waits_for_its_hook() {
    let world = with_init().running("i1", 0).exited("i1", 0, 1, 0).running("side", 0).starting("side", 0);
    assert!(world.commands().is_empty());
}

#[test]
fn init_containers_run_one_after_the_other_and_a_sidecar_only_has_to_be_up() {
    let world = with_init();
    assert_eq!(world.commands(), [start("i1", 0)]);
    let world = world.running("i1", 0);
    assert!(world.commands().is_empty());
    let world = world.exited("i1", 0, 1, 0);
    assert_eq!(world.commands(), [start("side", 0)]);
    let world = world.running("side", 0).probes("side", false, false);
    assert!(world.commands().is_empty(), "its startup probe has not passed");
    let world = world.probes("side", true, false);
    assert_eq!(world.commands(), [start("i2", 0)]);
    let world = world.running("i2", 0).exited("i2", 0, 2, 0);
    assert_eq!(world.commands(), [start("a", 0), start("b", 0)]);
    let world = world.running("a", 0).running("b", 0).exited("side", 1, 3, 0).now(3);
    assert_eq!(world.commands(), [start("side", 1)], "a sidecar is kept up beside the others");
}

#[test]
fn an_init_container_that_fails_is_tried_again_unless_the_policy_is_never() {
    for (policy, commands) in
        [("Always", vec![start("i", 1)]), ("OnFailure", vec![start("i", 1)]), ("Never", vec![Command::Release])]
    {
        let spec = json!({"restartPolicy": policy, "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
        let world = World::new(spec).running("i", 0).exited("i", 1, 1, 0).now(1);
        assert_eq!(world.commands(), commands, "{policy}");
    }
}

#[test]
fn containers_restart_as_the_policy_says() {
    for (policy, code, restarts) in
        [("Always", 0, true), ("Always", 1, true), ("OnFailure", 0, false), ("OnFailure", 1, true), ("Never", 1, false)]
    {
        let commands = World::one(policy).running("a", 0).exited("a", code, 1, 0).now(1).commands();
        let expected = if restarts { vec![start("a", 1)] } else { vec![Command::Release] };
        assert_eq!(commands, expected, "{policy} {code}");
    }
}

#[test]
fn a_restart_waits_for_its_back_off_and_asks_for_the_image_again() {
    let world = World::one("Always").running("a", 3).exited("a", 1, 5, 10).image("a", ImageView::Unknown).now(14);
    assert_eq!(world.decide(), Decision { commands: vec![], wake_at: Some(at(15)) });
    assert_eq!(world.now(15).commands(), [pull("a", "i")]);
}

#[test]
fn a_pull_that_failed_waits_and_shows_as_a_back_off_on_the_way() {
    let failed = ImageView::Failed(failure("ErrImagePull", 0, 10));
    let mut world = World::one("Always").image("a", failed).now(1);
    world.prepared = Prepared::Addressed;
    assert_eq!(world.decide(), Decision { commands: vec![], wake_at: Some(at(3)) });
    let world = world.now(4);
    assert_eq!(world.decide().wake_at, Some(at(10)));
    assert_eq!(world.now(10).commands(), [pull("a", "i")]);
}

#[test]
fn a_start_that_failed_waits() {
    let world = World::one("Always").start_error("a", "CreateContainerConfigError", 3);
    assert_eq!(world.decide(), Decision { commands: vec![], wake_at: Some(at(3)) });
    assert_eq!(world.now(3).commands(), [start("a", 0)]);
}

#[test]
fn an_unhealthy_container_is_stopped_with_the_pods_grace() {
    let commands = World::one("Always").running("a", 0).unhealthy("a").commands();
    let why = Why::Unhealthy("liveness probe".into());
    assert_eq!(commands, [Command::Stop { container: "a".into(), id: "a-0".into(), grace: 30, why }]);
}

#[test]
fn a_container_of_another_image_than_the_manifest_names_is_started_anew() {
    let asked = |policy: &str, image: &str| {
        let spec = json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "i:2"}]});
        let mut world = World::new(spec).running("a", 0);
        let state = world.containers.get_mut("a").expect("is there");
        state.current.as_mut().expect("runs").asked_image = image.into();
        world.commands()
    };
    let stop = Command::Stop { container: "a".into(), id: "a-0".into(), grace: 30, why: Why::Changed };
    for policy in ["Always", "OnFailure", "Never"] {
        assert_eq!(asked(policy, "i:1"), std::slice::from_ref(&stop));
        assert_eq!(asked(policy, "i:2"), []);
        assert_eq!(asked(policy, ""), [], "an older agent did not note it");
    }
}

#[test]
fn what_was_ended_for_another_image_comes_again_whatever_the_policy_is() {
    for (policy, code) in [("Never", 143), ("OnFailure", 0)] {
        let mut world = World::one(policy).running("a", 0).exited("a", code, 1, 0).now(1);
        assert_eq!(world.commands(), [Command::Release]);
        world.containers.get_mut("a").expect("is there").replaced = true;
        assert_eq!(world.commands(), [start("a", 1)]);
        assert_eq!(world.look(super::phase::of_containers), Phase::Running);
    }
}

#[test]
fn news_wait_for_another_image_until_something_keeps_it_from_coming() {
    let replaced = |world: World| {
        let mut world = world;
        let container = world.containers.get_mut("a").expect("is there");
        container.replaced = true;
        container.is_being_replaced()
    };
    let ended = || World::one("Always").running("a", 0).exited("a", 143, 1, 0);
    assert!(!replaced(World::one("Always").running("a", 0)), "it is being stopped");
    assert!(replaced(ended()) && replaced(ended().image("a", ImageView::Unknown)));
    assert!(!replaced(ended().image("a", ImageView::Failed(failure("ErrImagePull", 1, 11)))));
    assert!(!replaced(ended().start_error("a", "CreateContainerError", 11)));
}

#[test]
fn another_image_does_not_wait_for_the_back_off_of_the_one_before() {
    let spec = json!({"restartPolicy": "Always", "containers": [{"name": "a", "image": "i:2"}]});
    let mut world = World::new(spec).running("a", 0).exited("a", 1, 1, 300).now(2);
    assert_eq!(world.commands(), []);
    world.containers.get_mut("a").expect("is there").current.as_mut().expect("ended").asked_image = "i:1".into();
    assert_eq!(world.commands(), [start("a", 1)]);
}

#[test]
fn an_init_container_of_another_image_runs_to_its_end() {
    let init = json!([{"name": "i", "image": "i:2"}]);
    let mut world = World::new(json!({"initContainers": init, "containers": [{"name": "a"}]})).running("i", 0);
    world.containers.get_mut("i").expect("is there").current.as_mut().expect("runs").asked_image = "i:1".into();
    assert_eq!(world.commands(), []);
}

#[test]
fn the_active_deadline_ends_the_pod() {
    let spec = json!({"activeDeadlineSeconds": 60, "restartPolicy": "Always", "containers": [{"name": "a"}]});
    let world = World::new(spec).running("a", 0).now(59);
    assert_eq!(world.decide(), Decision { commands: vec![], wake_at: Some(at(60)) });
    let world = world.now(60);
    assert_eq!(world.commands(), [stop("a", 30)]);
    assert_eq!(world.exited("a", 137, 61, 0).now(62).commands(), [Command::Release]);
}

#[test]
fn a_pod_that_is_over_keeps_its_containers_until_it_is_deleted() {
    let mut world = World::one("Never").running("a", 0).exited("a", 0, 1, 0).told(json!({"phase": "Succeeded"}));
    world.released = true;
    assert!(world.commands().is_empty());
    assert_eq!(world.deleted(30).commands(), [Command::Remove { id: "a-0".into() }]);
}

#[test]
fn a_refused_pod_starts_nothing() {
    let mut world = World::one("Always");
    world.rejected = Some(("OutOfcpu".into(), "why".into()));
    world.released = true;
    assert!(world.commands().is_empty());
}

#[test]
fn a_deleted_pod_ends_step_by_step_sidecars_last() {
    let mut world =
        with_init().exited("i1", 0, 1, 0).running("side", 0).exited("i2", 0, 1, 0).running("a", 0).running("b", 0).deleted(7);
    assert_eq!(world.commands(), [stop("a", 7), stop("b", 7)]);
    world = world.exited("a", 0, 2, 0);
    assert_eq!(world.commands(), [stop("b", 7)]);
    world = world.exited("b", 0, 2, 0);
    assert_eq!(world.commands(), [stop("side", 7)]);
    world = world.exited("side", 0, 3, 0);
    let removed = ["a-0", "b-0", "i1-0", "i2-0", "side-0"].map(|id| Command::Remove { id: id.into() });
    assert_eq!(world.commands(), removed);
    for view in world.containers.values_mut() {
        view.current = None;
    }
    assert_eq!(world.commands(), [Command::Teardown]);
    world.torn_down = true;
    assert_eq!(world.commands(), [Command::Delete]);
    world.gone = true;
    assert_eq!(world.commands(), [Command::Forget]);
}

#[test]
fn a_pod_that_vanished_from_the_api_is_ended_too() {
    let mut world = World::one("Always").running("a", 0);
    world.gone = true;
    assert_eq!(world.commands(), [stop("a", 30)]);
}

#[test]
fn attempts_before_the_previous_one_are_removed() {
    let mut world = World::one("Always").running("a", 5);
    world.containers.get_mut("a").expect("is there").older = vec!["a-3".into()];
    assert_eq!(world.commands(), [Command::Remove { id: "a-3".into() }]);
}

#[test]
fn volumes_are_refreshed_when_it_is_time() {
    let commands = World::one("Always").running("a", 0).now(1_000_000).commands();
    assert_eq!(commands, [Command::Refresh]);
}

#[test]
fn an_ephemeral_container_runs_once_beside_the_others_and_ends_with_them() {
    let spec = json!({
        "restartPolicy": "Always", "containers": [{"name": "a", "image": "i"}],
        "ephemeralContainers": [{"name": "debug", "image": "i", "targetContainerName": "a"}],
    });
    let world = World::new(spec).running("a", 0);
    assert_eq!(world.commands(), [start("debug", 0)]);
    let world = world.running("debug", 0);
    assert!(world.commands().is_empty());
    let ended = World::new(serde_json::to_value(&world.pod.spec).expect("is JSON")).running("a", 0);
    assert!(ended.running("debug", 0).exited("debug", 1, 1, 0).now(9).commands().is_empty(), "it is not started again");
    let stopped = world.deleted(5).commands();
    assert_eq!(stopped.len(), 2, "{stopped:?}");
}

#[test]
fn a_container_that_runs_is_given_what_it_was_granted() {
    let spec = json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": "2"}}}]});
    let mut world = World::new(spec).running("a", 0);
    let amounts = r#"{"requests":{"cpu":"2"}}"#.to_owned();
    let resize = Command::Resize { container: "a".into(), id: "a-0".into(), amounts: amounts.clone() };
    assert_eq!(world.commands(), std::slice::from_ref(&resize));
    for (outcome, commands) in [(Resized::Failed("busy".into()), vec![resize]), (Resized::Done, vec![])] {
        let told = Resize { id: "a-0".into(), amounts: amounts.clone(), outcome };
        world.containers.get_mut("a").expect("is there").resizes.tried(told);
        assert_eq!(world.commands(), commands);
    }
    // What it has is not forgotten when it could not have more.
    let more = Resize { id: "a-0".into(), amounts: "more".into(), outcome: Resized::Failed("no".into()) };
    world.containers.get_mut("a").expect("is there").resizes.tried(more);
    assert_eq!(world.commands(), vec![]);
    world.containers.get_mut("a").expect("is there").granted = "{}".into();
    let back = Command::Resize { container: "a".into(), id: "a-0".into(), amounts: "{}".into() };
    assert_eq!(world.asking_for(json!({})).commands(), vec![back]);
}

#[test]
fn a_container_that_cannot_be_resized_while_it_runs_is_started_anew() {
    let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
    let spec = json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": "2"}}, "resizePolicy": policy}]});
    let world = World::new(spec).running("a", 0);
    let stop = Command::Stop { container: "a".into(), id: "a-0".into(), grace: 30, why: Why::Resized };
    assert_eq!(world.commands(), [stop]);
    assert_eq!(world.exited("a", 143, 1, 0).now(1).commands(), [start("a", 1)]);
}

#[test]
fn the_node_is_asked_once_for_what_the_manifest_asks_for_now_and_again_when_room_has_appeared() {
    let world = || World::one("Always").running("a", 0).asking_for(json!({"requests": {"cpu": "2"}}));
    assert_eq!(world().commands(), [Command::Allocate]);
    let mut world = world().refused(Refusal::Deferred("full".into()));
    assert!(world.commands().is_empty());
    world.pending.as_mut().expect("is there").again = true;
    assert_eq!(world.commands(), [Command::Allocate]);
    let world = world.refused(Refusal::Infeasible("never".into()));
    assert!(world.commands().is_empty());
    assert_eq!(world.asking_for(json!({"requests": {"cpu": "1"}})).commands(), [Command::Allocate], "less, say");
    let back = World::one("Always").running("a", 0).asking_for(json!({})).refused(Refusal::Deferred("full".into()));
    assert!(back.commands().is_empty());
}
