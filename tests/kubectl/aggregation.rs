//! A kind of another API server, as the users of kubectl see it.

use mizzen_tests::sample_server::{SampleServer, administrator};
use mizzen_tests::{Cluster, Kubectl, eventually};

#[test]
fn a_kind_of_another_api_server_is_used_like_any_other() {
    let cluster = Cluster::server();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _sample = runtime.block_on(async {
        let admin = administrator(&cluster).await;
        let sample = SampleServer::start(&cluster, &admin).await;
        sample.register(&admin).await;
        sample
    });
    eventually("kubectl knows the kind", || {
        cluster.kubectl(&["api-resources", "--api-group=wardle.example.com"]).stdout.contains("flunders").then_some(())
    });
    let services = cluster.kubectl(&["get", "apiservices"]).ok();
    let line = services.lines().find(|line| line.starts_with("v1alpha1.wardle.example.com")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[1..3], ["wardle/sample-api", "True"], "{services}");
    let flunder = "apiVersion: wardle.example.com/v1alpha1\nkind: Flunder\nmetadata: {name: one}\nspec: {reference: other}\n";
    let made = cluster.pipe(&["create", "--validate=false", "-f", "-"], flunder).ok();
    assert_eq!(made, "flunder.wardle.example.com/one created\n");
    let listed = cluster.kubectl(&["get", "fl"]).ok();
    assert!(listed.lines().nth(1).is_some_and(|line| line.starts_with("one ")), "{listed}");
    let reference = cluster.kubectl(&["get", "flunder", "one", "-o", "jsonpath={.spec.reference}"]).ok();
    assert_eq!(reference, "other");
    assert_eq!(cluster.kubectl(&["label", "flunder", "one", "a=b"]).ok(), "flunder.wardle.example.com/one labeled\n");
    let explained = cluster.kubectl(&["explain", "flunders"]).ok();
    assert!(explained.contains("A Flunder is what the sample is about."), "{explained}");
    let explained = cluster.kubectl(&["explain", "flunders.spec.reference"]).ok();
    assert!(explained.contains("The name of another flunder."), "{explained}");
    let waited = cluster.kubectl(&["wait", "--for=condition=Available", "apiservice/v1alpha1.wardle.example.com"]).ok();
    assert!(waited.contains("condition met"), "{waited}");
    let deleted = cluster.kubectl(&["delete", "flunder", "one"]).ok();
    assert!(deleted.starts_with("flunder.wardle.example.com \"one\" deleted"), "{deleted}");
}
