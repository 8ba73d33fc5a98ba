//! `mizzen get|apply|describe|logs|exec|delete` for machines without kubectl, and `mizzen image`.

use std::process::Command;

use mizzen_tests::command::{Ran, run};
use mizzen_tests::executables::mizzen;
use mizzen_tests::{Cluster, Registry, eventually, images};

fn client(cluster: &Cluster, arguments: &[&str]) -> Ran {
    run(mizzen().args(arguments).arg("--kubeconfig").arg(cluster.kubeconfig()))
}

#[test]
fn mizzens_own_client_does_without_kubectl() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, labels: {{app: web}}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers: [{{name: web, image: '{image}', command: [sh, -c, 'echo started; exec httpd -f -p 8080 -h /www']}}]\n"
    );
    std::fs::write(folder.path().join("pod.yaml"), manifest).unwrap();
    let path = folder.path().to_str().unwrap();
    let said = client(&cluster, &["apply", "-f", path]).ok();
    assert!(said.contains("web"), "{said}");
    eventually("the pod runs", || client(&cluster, &["get", "pods", "-l", "app=web"]).ok().contains("Running").then_some(()));
    let wide = client(&cluster, &["get", "pod", "web", "-o", "wide"]).ok();
    assert!(wide.contains("test-node") && wide.contains(&cluster.pod_address("web").to_string()), "{wide}");
    assert!(client(&cluster, &["get", "nodes"]).ok().contains("Ready"));
    assert!(client(&cluster, &["get", "pod", "web", "-o", "yaml"]).ok().contains("kind: Pod"));
    let described = client(&cluster, &["describe", "pod", "web"]).ok();
    assert!(described.contains("Scheduled") && described.contains("Started"), "{described}");
    eventually("the log is there", || (client(&cluster, &["logs", "web"]).ok() == "started\n").then_some(()));
    let said = run(mizzen().arg("exec").arg("--kubeconfig").arg(cluster.kubeconfig()).args([
        "web",
        "--",
        "sh",
        "-c",
        "echo inside; exit 4",
    ]));
    assert_eq!((said.code, said.stdout.as_str()), (Some(4), "inside\n"), "{}", said.stderr);
    let said = client(&cluster, &["get", "pod", "none"]).err();
    assert!(said.contains("pods \"none\" not found"), "{said}");
    client(&cluster, &["delete", "pod", "web"]).ok();
    eventually("the pod is gone", || cluster.get(&["pod", "web"]).is_none().then_some(()));
}

#[test]
fn images_are_listed_pulled_and_imported() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let dir = tempfile::tempdir().unwrap();
    let command = |arguments: &[&str]| run(mizzen().arg("image").args(arguments).arg("--data-dir").arg(dir.path()));
    assert_eq!(command(&["ls"]).ok(), "");
    assert!(command(&["pull", &image]).ok().contains(&image));
    assert!(command(&["ls"]).ok().contains(&image));
    let said = command(&["pull", &registry.reference("none:v1")]).err();
    assert!(said.contains("none:v1"), "{said}");

    let (root, layout) = (dir.path().join("root"), dir.path().join("layout"));
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("file"), "content").unwrap();
    run(mizzen().args(["image", "build"]).arg(&layout).arg("--root").arg(&root)).ok();
    command(&["import", layout.to_str().unwrap(), "example.test/imported:v1"]).ok();
    assert!(command(&["ls"]).ok().contains("example.test/imported:v1"));
    let wrong = command(&["import", root.to_str().unwrap()]).err();
    assert!(wrong.contains("root"), "{wrong}");
}

#[test]
fn a_private_registry_is_pulled_from_with_the_pods_secret_only() {
    let registry = Registry::with_login("robot", "secret");
    let image = registry.reference("private:v1");
    let work = tempfile::tempdir().unwrap();
    let (root, layout) = (work.path().join("root"), work.path().join("layout"));
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let mut build = mizzen();
    build.args(["image", "build"]).arg(&layout).arg("--root").arg(&root);
    run(build.args(["--entrypoint", "/bin/busybox", "--cmd", "sleep", "--cmd", "3600"])).ok();
    let push = |password: &str| {
        run(Command::new(mizzen().get_program()).args(["image", "push"]).arg(&layout).args([
            &image,
            "--username",
            "robot",
            "--password",
            password,
        ]))
    };
    push("wrong").err();
    push("secret").ok();

    let cluster = Cluster::up();
    for (name, password) in [("right", "secret"), ("wrong", "guess")] {
        let server = format!("--docker-server={}", registry.address());
        cluster
            .kubectl(&[
                "create",
                "secret",
                "docker-registry",
                name,
                &server,
                "--docker-username=robot",
                &format!("--docker-password={password}"),
            ])
            .ok();
    }
    let pod = |name: &str, secrets: &str| {
        cluster.apply(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  imagePullSecrets: [{secrets}]\n  containers: [{{name: main, image: '{image}', imagePullPolicy: Always}}]\n"));
    };
    pod("anonymous", "");
    pod("mistaken", "{name: wrong}");
    for name in ["anonymous", "mistaken"] {
        let said = eventually("the pod says why", || {
            let pod = cluster.get(&["pod", name])?;
            let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
            ["ErrImagePull", "ImagePullBackOff"]
                .contains(&waiting["reason"].as_str()?)
                .then(|| cluster.kubectl(&["describe", "pod", name]).ok())
        });
        let failed = said.lines().find(|line| line.contains("Failed to pull image")).unwrap_or_else(|| panic!("{said}"));
        assert!(failed.contains("refused the credentials") && failed.contains("imagePullSecrets"), "{failed}");
    }
    pod("allowed", "{name: right}");
    cluster.wait_for("condition=Ready", &["pod/allowed"]);
}
