//! A pod is resized while it runs: the `kube` crate asks, the kernel's bounds tell.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use mizzen_tests::sample_server::administrator;
use mizzen_tests::wait::eventually;
use mizzen_tests::{Cluster, Registry, images};
use serde_json::{Value, json};

/// What the kernel gives a cgroup of CPU time in a tenth of a second, in microseconds.
fn quota(cgroup: &str) -> Option<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_cgroup = |line: &&str| line.split(" - ").nth(1).is_some_and(|end| end.starts_with("cgroup"));
    let roots = table.lines().filter(is_cgroup).filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let files = roots.flat_map(|root| ["cpu.cfs_quota_us", "cpu.max"].map(|file| root.join(cgroup).join(file)));
    let text = files.into_iter().find_map(|file| std::fs::read_to_string(file).ok())?;
    Some(text.split_whitespace().next()?.to_owned())
}

#[test]
fn a_pod_that_runs_gets_other_amounts_without_a_restart() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  containers:\n  - name: web\n    image: {image}\n    \
         resources: {{requests: {{cpu: 100m}}, limits: {{cpu: 500m}}}}\n"
    ));
    let shown = || cluster.get(&["pod", "web"]).unwrap();
    let running = |pod: Value| (pod["status"]["containerStatuses"][0]["ready"] == true).then_some(pod);
    let pod = eventually("the pod runs", || running(shown()));
    let first = &pod["status"]["containerStatuses"][0];
    assert_eq!(first["resources"], json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}}));
    let id = first["containerID"].as_str().unwrap().strip_prefix("mizzen://").unwrap().to_owned();
    let cgroup = format!("mizzen-{}/burstable/pod{}", cluster.id(), pod["metadata"]["uid"].as_str().unwrap());
    assert_eq!(quota(&format!("{cgroup}/{id}")).as_deref(), Some("50000"));

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let resize = |limit: &str, request: &str| {
        runtime.block_on(async {
            let pods: Api<Pod> = Api::default_namespaced(administrator(&cluster).await);
            let resources = json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
            let patch = json!({"spec": {"containers": [{"name": "web", "resources": resources}]}});
            pods.patch_subresource("resize", "web", &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
        });
    };
    // Greater, and then smaller than before: the pod's own cgroup is around the container's both times.
    for (limit, micros) in [("800m", "80000"), ("300m", "30000")] {
        resize(limit, "200m");
        let wanted = json!({"requests": {"cpu": "200m"}, "limits": {"cpu": limit}});
        let pod = eventually("the resize is done", || {
            Some(shown()).filter(|pod| pod["status"]["containerStatuses"][0]["resources"] == wanted)
        });
        assert_eq!(quota(&format!("{cgroup}/{id}")).as_deref(), Some(micros));
        assert_eq!(quota(&cgroup).as_deref(), Some(micros));
        let now = &pod["status"]["containerStatuses"][0];
        assert_eq!((&now["restartCount"], &now["containerID"]), (&json!(0), &json!(format!("mizzen://{id}"))));
    }

    resize("2000", "1000");
    let condition = eventually("the node says that it cannot", || {
        let pod = shown();
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == "PodResizePending")
    });
    assert_eq!(condition["reason"], "Infeasible");
    assert!(condition["message"].as_str().unwrap().starts_with("Node didn't have enough capacity: cpu, requested: 1000000"));
    assert_eq!(quota(&cgroup).as_deref(), Some("30000"), "what runs stays as it was");
}
