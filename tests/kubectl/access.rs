//! Who may do what: RBAC, service accounts and their tokens, through kubectl.

use std::process::Command;

use mizzen_tests::command::{Ran, run};
use mizzen_tests::{Cluster, Kubectl, eventually};

#[test]
fn a_service_accounts_token_may_do_what_its_role_says_and_nothing_else() {
    let cluster = Cluster::up();
    cluster.kubectl(&["create", "serviceaccount", "reader"]).ok();
    let account = "--as=system:serviceaccount:default:reader";
    let can = |arguments: &[&str]| cluster.kubectl(&[&["auth", "can-i"], arguments].concat()).stdout;
    assert_eq!(can(&["create", "deployments"]), "yes\n");
    assert_eq!(can(&["list", "pods", account]), "no\n");

    let token = cluster.kubectl(&["create", "token", "reader", "--duration=10m"]).ok();
    assert_eq!(token.split('.').count(), 3, "a token is a JWT");
    let as_reader = |arguments: &[&str]| with_token(&cluster, token.trim(), arguments);
    let said = as_reader(&["get", "pods"]).err();
    let refusal = "pods is forbidden: User \"system:serviceaccount:default:reader\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"";
    assert!(said.contains(refusal), "{said}");

    cluster.kubectl(&["create", "role", "reader", "--verb=get,list,watch", "--resource=pods"]).ok();
    cluster.kubectl(&["create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:reader"]).ok();
    eventually("the binding allows", || (can(&["list", "pods", account]) == "yes\n").then_some(()));
    assert_eq!(can(&["list", "pods", account, "-n", "kube-system"]), "no\n", "a role is for its namespace");
    assert_eq!(can(&["delete", "pods", account]), "no\n");
    as_reader(&["get", "pods"]).ok();
    assert!(as_reader(&["create", "configmap", "mine"]).err().contains("forbidden"));
    assert!(as_reader(&["auth", "whoami"]).ok().contains("system:serviceaccount:default:reader"));
    let allowed = can(&["--list", account]);
    assert!(allowed.lines().any(|line| line.starts_with("pods ") && line.contains("[get list watch]")), "{allowed}");

    let wrong = format!("{}x", token.trim());
    assert!(with_token(&cluster, &wrong, &["get", "pods"]).err().contains("Unauthorized"));
    cluster.kubectl(&["delete", "serviceaccount", "reader"]).ok();
    eventually("the token of a deleted account is refused", || {
        as_reader(&["get", "pods"]).stderr.contains("Unauthorized").then_some(())
    });
}

/// kubectl with a token and nothing else to show for itself.
fn with_token(cluster: &Cluster, token: &str, arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.crt");
    let path = "jsonpath={.data.ca\\.crt}";
    std::fs::write(&authority, cluster.kubectl(&["get", "cm", "kube-root-ca.crt", "-o", path]).ok()).unwrap();
    let mut kubectl = Command::new("kubectl");
    kubectl.args(["--kubeconfig", "/dev/null", "--server", &format!("https://{}", cluster.api()), "--token", token]);
    run(kubectl.arg("--certificate-authority").arg(&authority).args(arguments))
}
