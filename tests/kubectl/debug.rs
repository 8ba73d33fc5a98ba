//! `kubectl debug`: a container added to a pod that runs.

use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};

#[test]
fn a_container_added_with_a_target_sees_the_targets_processes() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.run("web", &image);
    let look = "for p in /proc/[0-9]*; do cat $p/cmdline; echo; done";
    for (name, target) in [("beside", ""), ("within", "--target=web")] {
        let debug = ["debug", "web", "--image", &image, "-c", name, target, "--", "sh", "-c", look];
        let debug: Vec<&str> = debug.into_iter().filter(|word| !word.is_empty()).collect();
        cluster.kubectl(&debug).ok();
        let seen = eventually("it has looked", || {
            let pod = cluster.get(&["pod", "web"])?;
            let statuses = pod["status"]["ephemeralContainerStatuses"].as_array()?.clone();
            let status = statuses.into_iter().find(|status| status["name"] == name)?;
            status["state"]["terminated"].is_object().then(|| cluster.kubectl(&["logs", "web", "-c", name]).ok())
        });
        assert_eq!(seen.contains("/bin/httpd\0"), name == "within", "{seen:?}");
    }
}
