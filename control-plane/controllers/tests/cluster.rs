//! Namespaces, accounts and nodes through the real pipeline.

mod support;

use mizzen_client::Propagation;
use serde_json::{Value, json};
use support::{World, condition};

fn pod(name: &str, node: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "main", "image": "a:1"}]}})
}

#[tokio::test(start_paused = true)]
async fn every_namespace_gets_its_account_and_root_ca_also_after_someone_deletes_them() {
    let world = World::start().await;
    world.create("", "namespaces", "", json!({"metadata": {"name": "team"}})).await;
    for _ in 0..2 {
        let map = world
            .until("both are there", || async {
                world.get("", "serviceaccounts", "team", "default").await?;
                world.get("", "configmaps", "team", "kube-root-ca.crt").await
            })
            .await;
        assert_eq!(map["data"]["ca.crt"], "the root");
        world.delete("", "serviceaccounts", "team", "default", None).await;
        world.delete("", "configmaps", "team", "kube-root-ca.crt", None).await;
    }
    world.until("it is back", || world.get("", "configmaps", "team", "kube-root-ca.crt")).await;
    world.patch("", "configmaps", "team", "kube-root-ca.crt", json!({"data": {"ca.crt": "forged", "more": "x"}})).await;
    world
        .until("it is put right", || async {
            let map = world.get("", "configmaps", "team", "kube-root-ca.crt").await?;
            (map["data"] == json!({"ca.crt": "the root"})).then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_namespace_goes_with_all_it_holds_and_waits_for_finalizers() {
    let world = World::start().await;
    world.add_node("n1").await;
    world.create("", "namespaces", "", json!({"metadata": {"name": "team"}})).await;
    world.until("its account", || world.get("", "serviceaccounts", "team", "default")).await;
    world.create("", "pods", "team", pod("a", "n1")).await;
    world.create("", "configmaps", "team", json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})).await;
    world.create("", "configmaps", "default", json!({"metadata": {"name": "elsewhere"}})).await;
    world.delete("", "namespaces", "", "team", None).await;
    let namespace = world
        .until("it says what it waits for", || async {
            let namespace = world.get("", "namespaces", "", "team").await?;
            let remaining = condition(&namespace, "NamespaceFinalizersRemaining")?;
            (remaining["status"] == "True" && world.list("", "pods", "team").await.is_empty()).then_some(namespace)
        })
        .await;
    assert_eq!(namespace["status"]["phase"], "Terminating");
    let message = condition(&namespace, "NamespaceFinalizersRemaining").expect("stands")["message"].as_str().expect("is text");
    assert!(message.contains("example.com/hold in 1 resource instances"), "{message}");
    world.patch("", "configmaps", "team", "held", json!({"metadata": {"finalizers": null}})).await;
    world.until("it is gone", || async { world.get("", "namespaces", "", "team").await.is_none().then_some(()) }).await;
    assert!(world.get("", "configmaps", "default", "elsewhere").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_deleted_namespace_go_before_what_they_rely_on() {
    let world = World::start().await;
    world.add_node("n1").await;
    world.create("", "namespaces", "", json!({"metadata": {"name": "team"}})).await;
    world.until("its account", || world.get("", "serviceaccounts", "team", "default")).await;
    let mut held = pod("held", "n1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.create("", "pods", "team", held).await;
    world.create("", "configmaps", "team", json!({"metadata": {"name": "config"}})).await;
    world.delete("", "namespaces", "", "team", None).await;
    let message = world
        .until("it says that a pod remains", || async {
            let namespace = world.get("", "namespaces", "", "team").await?;
            let remaining = condition(&namespace, "NamespaceContentRemaining")?;
            (remaining["status"] == "True").then(|| remaining["message"].as_str().unwrap_or_default().to_owned())
        })
        .await;
    assert!(message.contains("pods. has 1 resource instances"), "{message}");
    let config = world.get("", "configmaps", "team", "config").await.expect("stays as long as the pod does");
    assert_eq!(config["metadata"].get("deletionTimestamp"), None);
    world.patch("", "pods", "team", "held", json!({"metadata": {"finalizers": null}})).await;
    world.until("it is gone", || async { world.get("", "namespaces", "", "team").await.is_none().then_some(()) }).await;
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_owners_ends_with_any_of_them() {
    let world = World::start().await;
    let mut uids = Vec::new();
    for name in ["a", "b", "c"] {
        let map = world.create("", "configmaps", "default", json!({"metadata": {"name": name}})).await;
        uids.push(map["metadata"]["uid"].clone());
    }
    for (name, owner, uid) in [("a", "c", &uids[2]), ("b", "a", &uids[0]), ("c", "b", &uids[1])] {
        let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid,
            "controller": true, "blockOwnerDeletion": true});
        world.patch("", "configmaps", "default", name, json!({"metadata": {"ownerReferences": [reference]}})).await;
    }
    world.delete("", "configmaps", "default", "a", Some(Propagation::Foreground)).await;
    world
        .until("all are gone", || async {
            let mut left = world.list("", "configmaps", "default").await;
            left.retain(|map| map["metadata"]["name"] != "kube-root-ca.crt");
            left.is_empty().then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_tainted_its_pods_leave_after_their_toleration_and_it_comes_back() {
    let world = World::start().await;
    world.add_node("n1").await;
    world.add_node("n2").await;
    world.create("", "pods", "default", pod("a", "n1")).await;
    world
        .until("it runs", || async {
            let pod = world.get("", "pods", "default", "a").await?;
            (condition(&pod, "Ready")?["status"] == "True").then_some(())
        })
        .await;
    let went_silent = world.clock.now();
    world.silent.lock().insert("n1".to_owned());
    let node = world
        .until("the node is unknown and tainted", || async {
            let node = world.get("", "nodes", "", "n1").await?;
            let tainted = node["spec"]["taints"].as_array().is_some_and(|taints| taints.len() == 2);
            (condition(&node, "Ready")?["status"] == "Unknown" && tainted).then_some(node)
        })
        .await;
    assert_eq!(condition(&node, "Ready").expect("stands")["reason"], "NodeStatusUnknown");
    let noticed = world.clock.now().duration_since(went_silent).as_secs();
    assert!((40..=50).contains(&noticed), "noticed after {noticed} s");
    world
        .until("its pod is not ready", || async {
            let pod = world.get("", "pods", "default", "a").await?;
            (condition(&pod, "Ready")?["status"] == "False").then_some(())
        })
        .await;
    world
        .until("its pod is told to go", || async {
            world.get("", "pods", "default", "a").await?["metadata"].get("deletionTimestamp").cloned()
        })
        .await;
    let evicted = world.clock.now().duration_since(went_silent).as_secs();
    assert!((340..=360).contains(&evicted), "evicted after {evicted} s; the default toleration is 300 s");
    world.silent.lock().clear();
    world
        .until("the node is back and the pod ended", || async {
            let node = world.get("", "nodes", "", "n1").await?;
            let free = node["spec"].get("taints").and_then(Value::as_array).is_none_or(Vec::is_empty);
            (free && world.get("", "pods", "default", "a").await.is_none()).then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_leaves_a_node_that_somebody_taints_when_it_has_borne_that_long_enough() {
    let world = World::start().await;
    world.add_node("n1").await;
    let mut bears = pod("bears", "n1");
    bears["spec"]["tolerations"] = json!([{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]);
    world.create("", "pods", "default", bears).await;
    let taint = json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoExecute"}]}});
    world.patch("", "nodes", "", "n1", taint).await;
    let tainted = world.clock.now();
    world.until("it is gone", || async { world.get("", "pods", "default", "bears").await.is_none().then_some(()) }).await;
    let stayed = world.clock.now().duration_since(tainted).as_secs();
    assert!((60..=70).contains(&stayed), "it stayed {stayed} s");
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_node_that_is_gone_are_collected() {
    let world = World::start().await;
    world.create("", "pods", "default", pod("a", "gone")).await;
    world.until("it is collected", || async { world.get("", "pods", "default", "a").await.is_none().then_some(()) }).await;
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_the_only_node_stay_when_it_falls_silent() {
    let world = World::start().await;
    world.add_node("n1").await;
    world.create("", "pods", "default", pod("a", "n1")).await;
    world.silent.lock().insert("n1".to_owned());
    world
        .until("the node is unknown and takes no more pods", || async {
            let node = world.get("", "nodes", "", "n1").await?;
            (node["spec"]["taints"][0]["key"] == "node.kubernetes.io/unreachable").then_some(())
        })
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
    let pod = world.get("", "pods", "default", "a").await.expect("is there");
    assert_eq!(pod["metadata"].get("deletionTimestamp"), None);
}

#[tokio::test(start_paused = true)]
async fn each_node_that_wishes_gets_a_block_of_its_own_and_the_others_learn_of_it() {
    let world = World::start().await;
    let node = |name: &str, wish: Value, address: &str| {
        json!({"metadata": {"name": name, "annotations": wish},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]}})
    };
    let wish = |block: &str| json!({"mizzen.dev/pod-cidr": block});
    let block = |name: &'static str| {
        let world = &world;
        async move { world.get("", "nodes", "", name).await?["spec"]["podCIDR"].as_str().map(str::to_owned) }
    };
    world.create("", "nodes", "", node("a", wish("10.70.0.0/24"), "192.0.2.1")).await;
    assert_eq!(world.until("a has its block", || block("a")).await, "10.70.0.0/24");
    world.create("", "nodes", "", node("b", wish("10.70.0.0/24"), "192.0.2.2")).await;
    assert_eq!(world.until("b has another", || block("b")).await, "10.64.0.0/24");
    world.create("", "nodes", "", node("simulated", json!({}), "192.0.2.3")).await;

    let slices = || async {
        let mut slices = world.list("discovery.k8s.io", "endpointslices", "kube-system").await;
        slices.retain(|slice| slice["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("node-")));
        slices
    };
    let told = |slice: &Value| {
        let endpoint = &slice["endpoints"][0];
        let block = slice["metadata"]["annotations"]["mizzen.dev/pod-cidr"].as_str().unwrap_or_default();
        format!(
            "{} {} {block}",
            endpoint["nodeName"].as_str().unwrap_or_default(),
            endpoint["addresses"][0].as_str().unwrap_or_default()
        )
    };
    const A: &str = "a 192.0.2.1 10.70.0.0/24";
    const B: &str = "b 192.0.2.2 10.64.0.0/24";
    let all = |expected: &'static [&'static str]| {
        let slices = &slices;
        move || async move { (slices().await.iter().map(told).collect::<Vec<_>>() == expected).then_some(()) }
    };
    world.until("both are told", all(&[A, B])).await;
    world.delete("discovery.k8s.io", "endpointslices", "kube-system", "node-a", None).await;
    world.until("it is put back", all(&[A, B])).await;
    world.delete("", "nodes", "", "a", None).await;
    world.until("who is gone is not told any more", all(&[B])).await;
    world.create("", "nodes", "", node("c", wish("10.70.0.0/24"), "192.0.2.4")).await;
    assert_eq!(world.until("its block is free again", || block("c")).await, "10.70.0.0/24");
    assert_eq!(block("simulated").await, None);
}
