//! `make demo` where there is a kubectl.

use mizzen_tests::demo::{INTERRUPTED, Place};
use mizzen_tests::leftovers;

#[test]
fn the_demo_shows_kubectl_and_leaves_nothing_after_ctrl_c() {
    let place = Place::new();
    let demo = place.start(&std::env::var("PATH").unwrap(), false);
    let said = demo.said();
    for part in
        ["kubectl apply -f examples/manifests", "deployment.apps/web created", "NOMINATED NODE", "->   Hello from a Wasm pod"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    let id = demo.id();
    let (status, said) = demo.interrupt();
    assert!(status.code() == Some(INTERRUPTED) && said.contains("Nothing is left of it"), "{status}: {said}");
    assert_eq!(leftovers::of(&id, &place.data()), Vec::<String>::new());
    assert!(!place.data().exists());
}
