//! Deployments through kubectl: scale, new images, rollouts and the way back.

use mizzen_tests::cluster::http;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};

#[test]
fn kubectl_scales_updates_pauses_and_undoes_a_deployment() {
    let registry = Registry::start();
    let (first, second) = (images::busybox(&registry, "web:v1"), images::busybox(&registry, "web:v2"));
    let cluster = Cluster::up();
    let kubectl = |arguments: &[&str]| cluster.kubectl(arguments).ok();
    kubectl(&["create", "deployment", "web", "--image", &first, "--port=8080"]);
    // A controller that comes late sees only what became of it, and counts one revision less.
    eventually("the first revision is there", || {
        kubectl(&["get", "rs", "-l", "app=web", "-o", "name"]).starts_with("replicaset").then_some(())
    });
    kubectl(&[
        "patch",
        "deploy",
        "web",
        "-p",
        r#"{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"web","readinessProbe":{"httpGet":{"port":8080},"periodSeconds":1}}]}}}}"#,
    ]);
    let status = || kubectl(&["rollout", "status", "deploy/web", "--timeout=120s"]);
    assert!(status().ends_with("deployment \"web\" successfully rolled out\n"));

    assert_eq!(kubectl(&["scale", "deploy/web", "--replicas=3"]), "deployment.apps/web scaled\n");
    status();
    let table = kubectl(&["get", "deploy", "web"]);
    assert!(table.contains("web    3/3     3            3  "), "{table}");
    let said = cluster.kubectl(&["scale", "deploy/web", "--replicas=1", "--current-replicas=7"]).err();
    assert!(said.contains("7"), "{said}");

    let answers = || {
        let pods = cluster.get(&["pods", "-l", "app=web", "--field-selector", "status.phase=Running"]).unwrap_or_default();
        let living: Vec<_> = pods["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .cloned()
            .collect();
        living.iter().map(|pod| http(pod["status"]["podIP"].as_str().unwrap().parse().unwrap(), 8080).stdout).collect::<Vec<_>>()
    };
    kubectl(&["set", "image", "deploy/web", &format!("web={second}")]);
    status();
    eventually("only the new image answers", || (answers() == ["hello from web:v2\n"; 3]).then_some(()));
    let history = kubectl(&["rollout", "history", "deploy/web"]);
    let revisions: Vec<_> = history.lines().skip(2).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(revisions, ["1", "2", "3"], "{history}");
    assert!(kubectl(&["rollout", "history", "deploy/web", "--revision=3"]).contains(&second));

    assert_eq!(kubectl(&["rollout", "undo", "deploy/web"]), "deployment.apps/web rolled back\n");
    status();
    eventually("the old image answers again", || (answers() == ["hello from web:v1\n"; 3]).then_some(()));
    let history = kubectl(&["rollout", "history", "deploy/web"]);
    assert!(
        history.lines().any(|line| line.starts_with("4 ")) && !history.lines().any(|line| line.starts_with("2 ")),
        "{history}"
    );

    kubectl(&["rollout", "pause", "deploy/web"]);
    kubectl(&["set", "image", "deploy/web", &format!("web={second}")]);
    eventually("the controller has seen the change", || {
        let deployment = cluster.get(&["deploy", "web"]).unwrap();
        (deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"]).then_some(())
    });
    assert_eq!(answers(), ["hello from web:v1\n"; 3], "a paused rollout changes nothing");
    kubectl(&["rollout", "resume", "deploy/web"]);
    status();
    eventually("the new image answers", || (answers() == ["hello from web:v2\n"; 3]).then_some(()));

    kubectl(&["rollout", "restart", "deploy/web"]);
    status();
    let newest = cluster.get(&["rs", "-l", "app=web"]).unwrap();
    let running: Vec<_> = newest["items"].as_array().unwrap().iter().filter(|set| set["spec"]["replicas"] != 0).collect();
    assert!(!running[0]["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].is_null());
    kubectl(&["delete", "deploy", "web"]);
    // The first pod had 30 s to end: a later, shorter grace period counts.
    cluster.kubectl(&["delete", "pods", "-l", "app=web", "--grace-period=1"]);
    eventually("all pods are gone", || cluster.pods("app=web").is_empty().then_some(()));
}
