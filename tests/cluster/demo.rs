//! `make demo` where there is no kubectl.

use mizzen_tests::command::run;
use mizzen_tests::demo::{INTERRUPTED, Place, path_without_kubectl};
use mizzen_tests::executables::mizzen;
use mizzen_tests::leftovers;

#[test]
fn the_demo_does_without_kubectl_keeps_its_data_if_told_to_and_leaves_nothing_after_ctrl_c() {
    let programs = tempfile::tempdir().unwrap();
    let path = path_without_kubectl(programs.path());
    let place = Place::new();

    let demo = place.start(&path, true);
    let said = demo.said();
    for part in ["/mizzen apply -f examples/manifests", "->   Hello from a container", "->   Hello from a Wasm pod at /"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let id = demo.id();
    assert!(leftovers::of(&id, &place.data()).len() >= 3, "what runs can be seen");
    let client = |arguments: &[&str]| run(mizzen().args(arguments).env("KUBECONFIG", place.data().join("kubeconfig")));
    let note = programs.path().join("note.yaml");
    std::fs::write(&note, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: note}\n").unwrap();
    client(&["apply", "-f", note.to_str().unwrap()]).ok();
    let second = place.refused(&path);
    assert!(second.code != Some(0) && second.stdout.contains("A cluster runs from"), "{second:?}");
    client(&["get", "pods"]).ok();
    let (status, said) = demo.interrupt();
    assert!(status.code() == Some(INTERRUPTED) && said.contains("The data stays in"), "{status}: {said}");
    assert_eq!(leftovers::of(&id, &place.data()), Vec::<String>::new());
    assert!(place.data().join("cluster.json").exists());

    let demo = place.start(&path, false);
    assert!(demo.said().contains("Starting from the data in"), "{}", demo.said());
    assert_eq!(demo.id(), id, "it is the same cluster");
    assert_eq!(client(&["get", "configmap", "note", "-o", "name"]).ok(), "configmap/note\n");
    let (status, said) = demo.interrupt();
    assert!(status.code() == Some(INTERRUPTED) && said.contains("Nothing is left of it"), "{status}: {said}");
    assert_eq!(leftovers::of(&id, &place.data()), Vec::<String>::new());
    assert!(!place.data().exists());
    assert_eq!(place.temporary(), Vec::<std::path::PathBuf>::new());
}
