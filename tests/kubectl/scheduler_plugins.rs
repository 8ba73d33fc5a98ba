//! Scheduler plugins that are Wasm components: from a registry to decisions, through changes, mistakes and restarts.

use mizzen_tests::hollow::Hollow;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};
use serde_json::Value;

fn plugin(cluster: &Cluster, name: &str, image: &str, more: &str) {
    cluster.kubectl_apply(&format!(
        "apiVersion: mizzen.dev/v1alpha1\nkind: SchedulerPlugin\nmetadata: {{name: {name}}}\n\
         spec:\n  image: {image}\n  refreshSeconds: 1\n{more}"
    ));
}

fn of(cluster: &Cluster, name: &str) -> Value {
    let ran = cluster.kubectl(&["get", "schedulerplugin", name, "-o", "json"]);
    serde_json::from_str(&ran.ok()).expect("JSON")
}

/// Waits until the component at work is the one that the object, as it is now, asks for.
#[track_caller]
fn ready(cluster: &Cluster, name: &str) {
    eventually(&format!("{name} is at work as asked for"), || {
        let object = of(cluster, name);
        let conditions = object["status"]["conditions"].as_array()?;
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
        (ready["status"] == "True" && ready["observedGeneration"] == object["metadata"]["generation"]).then_some(())
    });
}

fn pod(cluster: &Cluster, name: &str, metadata: &str, spec: &str) {
    cluster.kubectl_apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}{metadata}}}\nspec:\n  containers: [{{name: main, image: none}}]\n{spec}"
    ));
}

fn node_of(cluster: &Cluster, pod: &str) -> String {
    cluster.kubectl_wait("condition=PodScheduled", &[&format!("pod/{pod}")]);
    cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"]).ok()
}

/// Waits until `kubectl describe` tells this of a pod.
#[track_caller]
fn told(cluster: &Cluster, pod: &str, what: &str) {
    eventually(&format!("{pod} is told: {what}"), || {
        cluster.kubectl(&["describe", "pod", pod]).stdout.contains(what).then_some(())
    });
}

fn nodes_of(cluster: &Cluster, selector: &str) -> Vec<String> {
    let nodes = cluster.kubectl(&["get", "pods", "-l", selector, "-o", "jsonpath={.items[*].spec.nodeName}"]).ok();
    nodes.split(' ').map(str::to_owned).collect()
}

fn explained(cluster: &Cluster, pod: &str) -> Value {
    serde_json::from_str(&cluster.mizzen(&["scheduler", "explain", pod, "-o", "json"]).ok()).expect("JSON")
}

fn on_node<'a>(review: &'a Value, node: &str, plugin: &str) -> &'a Value {
    let named = |list: &'a Value, name: &str| list.as_array()?.iter().find(|answer| answer["name"] == name);
    let found = named(&review["status"]["nodes"], node).and_then(|node| named(&node["plugins"], plugin));
    found.unwrap_or_else(|| panic!("{plugin} says nothing of {node}: {review}"))
}

#[test]
fn pods_go_where_a_plugin_wants_them_and_who_turned_down_which_node_is_told() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    let _spot = Hollow::start(&cluster, &["--nodes", "10", "--prefix", "spot"], "nodes: {labels: {mizzen.dev/capacity: spot}}\n");
    let _steady = Hollow::start(&cluster, &["--nodes", "30", "--prefix", "steady"], "nodes: {labels: {tier: steady}}\n");
    let image = images::sample(&registry, "spot-first", "spot-first:v1");
    plugin(&cluster, "spot", &image, "  extensionPoints: [{name: filter}, {name: score, weight: 100}]\n");
    ready(&cluster, "spot");

    cluster.kubectl(&["create", "deployment", "web", "--image=none", "--replicas=20"]).ok();
    cluster.kubectl(&["rollout", "status", "deployment/web"]).ok();
    let nodes = nodes_of(&cluster, "app=web");
    assert!(nodes.len() == 20 && nodes.iter().all(|node| node.starts_with("spot-")), "{nodes:?}");
    pod(&cluster, "careful", ", annotations: {mizzen.dev/spot: never}", "");
    assert!(node_of(&cluster, "careful").starts_with("steady-"));
    pod(&cluster, "stuck", ", annotations: {mizzen.dev/spot: only}", "  nodeSelector: {tier: steady}\n");
    told(
        &cluster,
        "stuck",
        "0/40 nodes are available: 10 node(s) didn't match Pod's node affinity/selector, 30 spot: node(s) were no spot capacity.",
    );

    // The whole decision, of a pod that waits and of one that has its node.
    let review = explained(&cluster, "stuck");
    assert_eq!(on_node(&review, "steady-7", "spot")["reasons"][0], "node(s) were no spot capacity");
    assert_eq!(on_node(&review, "spot-7", "spot")["verdict"], "Passed");
    assert_eq!(on_node(&review, "spot-7", "NodeAffinity")["verdict"], "Rejected");
    assert_eq!(review["status"]["best"].as_array().map(Vec::len), Some(0));
    let review = explained(&cluster, "careful");
    assert_eq!(review["status"]["node"], node_of(&cluster, "careful").as_str());
    assert_eq!(
        (&on_node(&review, "steady-3", "spot")["score"], &on_node(&review, "spot-3", "spot")["score"]),
        (&0.into(), &Value::Null)
    );
    let table = cluster.mizzen(&["scheduler", "explain", "pod/careful", "--node", "spot-3,steady-3"]).ok();
    for wanted in ["Profile:   default-scheduler", "NODERESOURCESFIT", "spot: node(s) may go at any time", "steady-3"] {
        assert!(table.contains(wanted), "{wanted}: {table}");
    }
    let missing = cluster.mizzen(&["scheduler", "explain", "nobody"]).err();
    assert!(missing.contains("pods \"nobody\" not found"), "{missing}");
    let question = "apiVersion: mizzen.dev/v1alpha1\nkind: SchedulingReview\nmetadata: {name: q}\nspec: {podName: careful}\n";
    let asked = cluster.pipe(&["create", "-f", "-", "-o", "jsonpath={.status.schedulerName}"], question).ok();
    assert_eq!(asked, "default-scheduler");
    let refused = cluster.pipe(&["create", "-f", "-", "--as", "jane", "--validate=false"], question).err();
    assert!(refused.contains("cannot create resource \"schedulingreviews\" in API group \"mizzen.dev\""), "{refused}");

    // What it did is counted, and without it pods go anywhere.
    eventually("calls are counted", || {
        let status = &of(&cluster, "spot")["status"];
        (status["calls"].as_u64()? > 20 && status["latency"]["p99Microseconds"].as_u64()? > 0).then_some(())
    });
    cluster.kubectl(&["delete", "schedulerplugin", "spot"]).ok();
    assert!(node_of(&cluster, "stuck").starts_with("steady-"), "it is tried again");

    // Who refuses a node that was chosen is told too, and what a component has nothing to say to.
    let image = images::sample(&registry, "gang", "gang:v1");
    plugin(&cluster, "gang", &image, "  settings: {waitSeconds: 1}\n");
    ready(&cluster, "gang");
    let gang = ", labels: {mizzen.dev/gang: two}, annotations: {mizzen.dev/gang-size: '2'}";
    pod(&cluster, "one", gang, "  nodeSelector: {kubernetes.io/hostname: spot-3}\n");
    told(&cluster, "one", "gang: no permission within 1000 ms (node spot-3)");
    plugin(&cluster, "gang", &image, "  extensionPoints: [{name: reserve}, {name: score}]\n");
    eventually("a point that it has not is told", || {
        let object = of(&cluster, "gang");
        let ready = object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "Ready")?;
        let said = "the component does nothing at spec.extensionPoints: score";
        (ready["reason"] == "UnknownExtensionPoint" && ready["message"] == said).then_some(())
    });
}

#[test]
fn a_plugin_is_swapped_by_its_tag_while_pods_are_placed_and_outlives_a_bad_one_and_its_registry() {
    let mut cluster = Cluster::server();
    let registry = Registry::start();
    let mut hollow = Hollow::start(&cluster, &["--nodes", "30"], "nodes: {zones: 3}\n");
    let image = images::wasm(&registry, "scheduler_v1", "choosy:stable");
    plugin(&cluster, "choosy", &image, "  settings: {only: zone-0}\n");
    ready(&cluster, "choosy");
    let elsewhere = "  nodeSelector: {topology.kubernetes.io/zone: zone-1}\n";
    pod(&cluster, "first", "", elsewhere);
    told(&cluster, "first", "choosy: node(s) were not in zone-0 (plugin 1.0.0)");

    // Another component under the same tag is put to work between two decisions.
    let before = of(&cluster, "choosy")["status"]["digest"].clone();
    cluster.kubectl(&["create", "deployment", "web", "--image=none", "--replicas=200"]).ok();
    images::wasm(&registry, "scheduler_v2", "choosy:stable");
    eventually("the new one is at work", || (of(&cluster, "choosy")["status"]["digest"] != before).then_some(()));
    told(&cluster, "first", "choosy: node(s) were not in zone-0 (plugin 2.0.0)");
    cluster.kubectl(&["rollout", "status", "deployment/web"]).ok();
    let zone: Vec<String> = (0..30).step_by(3).map(|number| format!("hollow-{number}")).collect();
    let nodes = nodes_of(&cluster, "app=web");
    assert!(nodes.len() == 200 && nodes.iter().all(|node| zone.contains(node)), "{nodes:?}");

    // One that cannot be loaded never replaces it, nor do settings that it does not take.
    images::not_wasm(&registry, "choosy:stable");
    let not_ready = |reason: &str| {
        eventually(reason, || {
            let object = of(&cluster, "choosy");
            let conditions = object["status"]["conditions"].as_array()?.clone();
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
            (ready["status"] == "False" && ready["message"].as_str()?.contains("stays at work")).then_some(())
        });
    };
    not_ready("it says that the new one is bad");
    images::wasm(&registry, "scheduler_v2", "choosy:stable");
    ready(&cluster, "choosy");
    plugin(&cluster, "choosy", &image, "  settings: {onyl: zone-1}\n");
    not_ready("it says that the settings are wrong");
    pod(&cluster, "second", "", elsewhere);
    told(&cluster, "second", "choosy: node(s) were not in zone-0 (plugin 2.0.0)");

    // A server that starts without the registry has it from its first decision on.
    drop(registry);
    hollow.abandon();
    cluster.stop();
    start_again(&mut cluster);
    let _hollow = Hollow::start(&cluster, &["--nodes", "30"], "nodes: {zones: 3}\n");
    told(&cluster, "third", "choosy: node(s) were not in zone-0 (plugin 2.0.0)");
    plugin(&cluster, "choosy", &image, "  settings: {only: zone-1}\n");
    for pod in ["first", "second", "third"] {
        let number: u32 = node_of(&cluster, pod).trim_start_matches("hollow-").parse().expect("a number");
        assert_eq!(number % 3, 1, "the settings are taken from what is kept");
    }
}

/// Starts the server again, and asks it for a decision as soon as it answers.
fn start_again(cluster: &mut Cluster) {
    cluster.start();
    pod(cluster, "third", "", "  nodeSelector: {topology.kubernetes.io/zone: zone-1}\n");
}

#[test]
fn a_shadow_changes_nothing_and_its_status_says_what_would_have_been_different() {
    let config = "scheduler:\n  profiles:\n  - {}\n  - schedulerName: other\n";
    let cluster = Cluster::server_configured(config);
    let registry = Registry::start();
    let _hollow = Hollow::start(&cluster, &["--nodes", "30"], "nodes: {zones: 3}\n");
    let image = images::wasm(&registry, "scheduler_v1", "choosy:v1");
    plugin(&cluster, "choosy", &image, "  settings: {only: zone-0}\n  mode: shadow\n  failurePolicy: Fail\n");
    plugin(&cluster, "elsewhere", &image, "  settings: {only: nowhere}\n  schedulerNames: [other]\n");
    plugin(&cluster, "nowhere", &image, "  settings: {only: nowhere}\n  schedulerNames: [typo]\n");
    ready(&cluster, "choosy");
    ready(&cluster, "elsewhere");
    eventually("a profile that there is not is told", || {
        let object = of(&cluster, "nowhere");
        let ready = object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "Ready")?;
        let said = "the scheduler has no profile for spec.schedulerNames: typo";
        (ready["reason"] == "UnknownProfile" && ready["message"] == said).then_some(())
    });
    cluster.kubectl(&["create", "deployment", "web", "--image=none", "--replicas=60"]).ok();
    cluster.kubectl(&["rollout", "status", "deployment/web"]).ok();
    let mut nodes = nodes_of(&cluster, "app=web");
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(nodes.len(), 30, "as evenly as without it");
    pod(&cluster, "alone", "", "  nodeSelector: {topology.kubernetes.io/zone: zone-2}\n");
    node_of(&cluster, "alone");
    let shadow = eventually("what it would have done is counted", || {
        let shadow = of(&cluster, "choosy")["status"]["shadow"].clone();
        (shadow["decisions"] == 61 && shadow["unplaced"] == 1).then_some(shadow)
    });
    assert_eq!(
        (shadow["nodes"].as_u64(), shadow["rejectedNodes"].as_u64()),
        (Some(60 * 30 + 10), Some(60 * 20 + 10)),
        "{shadow}"
    );
    // Two of three zones are not its own, and pods are spread over zones.
    assert_eq!(shadow["elsewhere"], 40, "{shadow}");
    let review = explained(&cluster, "alone");
    assert_eq!(on_node(&review, "hollow-2", "choosy")["verdict"], "Rejected", "it is heard, and does not count");
    assert_eq!(review["status"]["best"].as_array().map(Vec::is_empty), Some(false));

    // The other one is asked about pods of its profile only.
    pod(&cluster, "others", "", "  schedulerName: other\n");
    told(&cluster, "others", "0/30 nodes are available: 30 elsewhere: node(s) were not in nowhere (plugin 1.0.0).");

    // To enforce needs no other component, and holds from the next decision on.
    plugin(&cluster, "choosy", &image, "  settings: {only: zone-0}\n  mode: enforce\n");
    ready(&cluster, "choosy");
    pod(&cluster, "late", "", "  nodeSelector: {topology.kubernetes.io/zone: zone-2}\n");
    told(&cluster, "late", "choosy: node(s) were not in zone-0");
}

#[test]
fn a_plugin_that_misbehaves_is_left_out_or_keeps_its_pods_waiting_and_holds_up_nobody_else() {
    let cluster = Cluster::server_configured("scheduler:\n  profiles:\n  - {}\n  - schedulerName: other\n");
    let registry = Registry::start();
    let _hollow = Hollow::start(&cluster, &["--nodes", "20"], "nodes: {zones: 2}\n");
    let image = images::wasm(&registry, "scheduler_v1", "bad:v1");
    for badly in ["trap", "loop", "grow"] {
        let settings = format!("  settings: {{badly: {badly}}}\n  limits: {{memory: 16Mi, deadlineMilliseconds: 50}}\n");
        plugin(&cluster, "bad", &image, &settings);
        ready(&cluster, "bad");
        let name = |what: &str| format!("{badly}-{what}");
        pod(&cluster, &name("open"), "", "");
        assert!(node_of(&cluster, &name("open")).starts_with("hollow-"), "it is left out");
        plugin(&cluster, "bad", &image, &format!("{settings}  failurePolicy: Fail\n"));
        ready(&cluster, "bad");
        pod(&cluster, &name("closed"), "", "");
        told(&cluster, &name("closed"), "bad: the plugin failed (");
        for number in 0..5 {
            pod(&cluster, &name(&format!("other-{number}")), "", "  schedulerName: other\n");
            node_of(&cluster, &name(&format!("other-{number}")));
        }
        let errors =
            eventually("its failures are counted", || of(&cluster, "bad")["status"]["errors"].as_u64().filter(|n| *n > 0));
        assert!(errors < 1000, "it is left alone for a while: {errors}");
        // As soon as it behaves, its pods are placed by themselves.
        plugin(&cluster, "bad", &image, "  settings: {only: zone-1}\n  failurePolicy: Fail\n");
        let node = node_of(&cluster, &name("closed"));
        let number: u32 = node.trim_start_matches("hollow-").parse().expect("a number");
        assert_eq!(number % 2, 1, "{node}");
    }
}
