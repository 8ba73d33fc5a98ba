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

#[test]
fn a_secret_for_the_token_of_an_account_is_filled_and_goes_with_the_account() {
    let cluster = Cluster::server();
    cluster.kubectl(&["create", "serviceaccount", "robot"]).ok();
    let secret = |name: &str, account: &str| {
        cluster.kubectl_apply(&format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: {name}, annotations: {{kubernetes.io/service-account.name: {account}}}}}
type: kubernetes.io/service-account-token
"
        ));
    };
    secret("robot-token", "robot");
    let field = |path: &str| {
        let template = format!("--template={{{{{path} | base64decode}}}}");
        cluster.kubectl(&["get", "secret", "robot-token", &template]).stdout
    };
    let token = eventually("the secret has a token", || Some(field(".data.token")).filter(|token| token.starts_with("ey")));
    assert!(with_token(&cluster, &token, &["auth", "whoami"]).ok().contains("system:serviceaccount:default:robot"));
    assert_eq!(field(".data.namespace"), "default");
    assert!(field("index .data \"ca.crt\"").starts_with("-----BEGIN CERTIFICATE-----"));

    secret("nobodys", "nobody");
    let is_gone = |name: &str| cluster.kubectl(&["get", "secret", name]).stderr.contains("NotFound").then_some(());
    eventually("a secret of no account is removed", || is_gone("nobodys"));
    cluster.kubectl(&["delete", "serviceaccount", "robot"]).ok();
    eventually("the secret goes with its account", || is_gone("robot-token"));
    assert!(with_token(&cluster, &token, &["get", "pods"]).err().contains("Unauthorized"));
}

#[test]
fn a_machine_with_a_bootstrap_token_may_ask_to_become_a_node() {
    let cluster = Cluster::server();
    let until = "2999-01-01T00:00:00Z";
    cluster.kubectl_apply(&format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: bootstrap-token-abcdef, namespace: kube-system}}
type: bootstrap.kubernetes.io/token
stringData:
  token-id: abcdef
  token-secret: 0123456789abcdef
  usage-bootstrap-authentication: 'true'
  auth-extra-groups: system:bootstrappers:edge
  expiration: {until}
"
    ));
    let shows = |token: &str, arguments: &[&str]| with_token(&cluster, token, arguments);
    let who = shows("abcdef.0123456789abcdef", &["auth", "whoami"]).ok();
    assert!(who.contains("system:bootstrap:abcdef") && who.contains("system:bootstrappers:edge"), "{who}");
    assert!(shows("abcdef.0123456789abcdee", &["auth", "whoami"]).err().contains("Unauthorized"));
    shows("abcdef.0123456789abcdef", &["get", "csr"]).ok();
    assert!(shows("abcdef.0123456789abcdef", &["get", "pods"]).err().contains("forbidden"));
    cluster.kubectl(&["delete", "secret", "bootstrap-token-abcdef", "-n", "kube-system"]).ok();
    assert!(shows("abcdef.0123456789abcdef", &["get", "csr"]).err().contains("Unauthorized"));
}

#[test]
fn a_restricted_namespace_refuses_pods_and_warns_of_deployments() {
    let cluster = Cluster::server();
    cluster.kubectl(&["label", "namespace", "default", "pod-security.kubernetes.io/enforce=restricted"]).ok();
    let refused = cluster.kubectl(&["run", "plain", "--image=example.com/a"]).err();
    let why = "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"plain\" must set";
    assert!(refused.contains(why), "{refused}");
    let warned = cluster.kubectl(&["create", "deployment", "plain", "--image=example.com/a"]);
    assert_eq!(warned.code, Some(0), "{}", warned.stderr);
    assert!(warned.stderr.contains("Warning: would violate PodSecurity \"restricted:latest\""), "{}", warned.stderr);
    let refused =
        cluster.kubectl(&["label", "--overwrite", "namespace", "default", "pod-security.kubernetes.io/enforce=x"]).err();
    assert!(refused.contains("must be one of privileged, baseline, restricted"), "{refused}");
}

#[test]
fn a_nodes_credentials_show_nothing_of_other_nodes_pods() {
    let cluster = Cluster::server();
    cluster.kubectl(&["create", "secret", "generic", "other"]).ok();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("node");
    std::fs::write(&kubeconfig, cluster.node_kubeconfig("edge-1")).unwrap();
    let as_node = |arguments: &[&str]| run(Command::new("kubectl").arg("--kubeconfig").arg(&kubeconfig).args(arguments));
    let refused = as_node(&["get", "secret", "other"]).err();
    assert!(refused.contains("no relationship found between node 'edge-1' and this object"), "{refused}");
    assert!(as_node(&["get", "pods", "-A"]).err().contains("can only list/watch pods with spec.nodeName field selector"));
    as_node(&["get", "pods", "-A", "--field-selector=spec.nodeName=edge-1"]).ok();
    assert!(as_node(&["get", "nodes"]).err().contains("cannot read all nodes, only its own Node object"));
    assert_eq!(
        as_node(&["auth", "can-i", "get", "secret/other"]).stdout,
        "no - no relationship found between node 'edge-1' and this object\n"
    );
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
