//! `mizzen get|apply|describe|logs|exec|delete` for machines without kubectl, and `mizzen image`.

use std::io::Write as _;
use std::process::Stdio;

use mizzen_tests::command::run;
use mizzen_tests::executables::mizzen;
use mizzen_tests::{Cluster, Registry, eventually, images};

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
    let said = cluster.mizzen(&["apply", "-f", path]).ok();
    assert!(said.contains("web"), "{said}");
    eventually("the pod runs", || cluster.mizzen(&["get", "pods", "-l", "app=web"]).ok().contains("Running").then_some(()));
    let wide = cluster.mizzen(&["get", "pod", "web", "-o", "wide"]).ok();
    assert!(wide.contains("test-node") && wide.contains(&cluster.pod_address("web").to_string()), "{wide}");
    assert!(cluster.mizzen(&["get", "nodes"]).ok().contains("Ready"));
    assert!(cluster.mizzen(&["get", "pod", "web", "-o", "yaml"]).ok().contains("kind: Pod"));
    eventually("its events are told", || {
        let described = cluster.mizzen(&["describe", "pod", "web"]).ok();
        (described.contains("Scheduled") && described.contains("Started")).then_some(())
    });
    eventually("the log is there", || (cluster.mizzen(&["logs", "web"]).ok() == "started\n").then_some(()));
    let said = cluster.mizzen(&["exec", "web", "--", "sh", "-c", "echo inside; exit 4"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(4), "inside\n"), "{}", said.stderr);
    let mut cat = cluster.mizzen_command(&["exec", "-i", "web", "--", "cat"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    cat.stdin.take().unwrap().write_all(b"passed on").unwrap();
    assert_eq!(cat.wait_with_output().unwrap().stdout, b"passed on", "it ends with its input");
    assert_eq!(cluster.mizzen(&["get", "pod", "none"]).err(), "Error from server (NotFound): pods \"none\" not found\n");
    let everywhere = cluster.mizzen(&["delete", "pod", "web", "-A"]).err();
    assert_eq!(everywhere, "error: a resource cannot be retrieved by name across all namespaces\n");
    cluster.mizzen(&["delete", "pod", "web"]).ok();
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
