//! A person who gets a client certificate, by kubectl.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mizzen_tests::command::run;
use mizzen_tests::{Cluster, Kubectl, eventually};
use rcgen::{CertificateParams, DnType, KeyPair};

#[test]
fn a_key_a_request_an_approval_and_jane_is_in() {
    let cluster = Cluster::server();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "devs");
    params.distinguished_name.push(DnType::CommonName, "jane");
    let key = KeyPair::generate().unwrap();
    let request = STANDARD.encode(params.serialize_request(&key).and_then(|request| request.pem()).unwrap());
    cluster.kubectl_apply(&format!(
        "apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {{name: jane}}
spec:
  request: {request}
  signerName: kubernetes.io/kube-apiserver-client
  expirationSeconds: 3600
  usages: [client auth]
"
    ));
    let listed = cluster.kubectl(&["get", "csr", "jane", "--no-headers"]).ok();
    assert!(listed.contains("kubernetes-admin") && listed.contains("60m") && listed.contains("Pending"), "{listed}");
    cluster.kubectl(&["certificate", "approve", "jane"]).ok();
    let certificate = eventually("the certificate is issued", || {
        let shown = cluster.kubectl(&["get", "csr", "jane", "-o", "jsonpath={.status.certificate}"]).ok();
        Some(shown).filter(|shown| !shown.is_empty())
    });
    assert!(cluster.kubectl(&["get", "csr", "jane"]).ok().contains("Approved,Issued"));

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let certificate = file("jane.crt", &STANDARD.decode(certificate).unwrap());
    let key = file("jane.key", key.serialize_pem().as_bytes());
    let authority = cluster.kubectl(&["get", "cm", "kube-root-ca.crt", "-o", "jsonpath={.data.ca\\.crt}"]).ok();
    let authority = file("ca.crt", authority.as_bytes());
    let as_jane = |arguments: &[&str]| {
        let mut kubectl = Command::new("kubectl");
        kubectl.args(["--kubeconfig", "/dev/null", "--server", &format!("https://{}", cluster.api())]);
        kubectl.arg("--client-certificate").arg(&certificate).arg("--client-key").arg(&key);
        run(kubectl.arg("--certificate-authority").arg(&authority).args(arguments))
    };
    let who = as_jane(&["auth", "whoami"]).ok();
    assert!(who.contains("jane") && who.contains("devs"), "{who}");
    assert!(as_jane(&["get", "pods"]).err().contains("User \"jane\" cannot list resource \"pods\""));
    cluster.kubectl(&["create", "rolebinding", "devs", "--clusterrole=view", "--group=devs"]).ok();
    eventually("the binding to a gathered role allows", || (as_jane(&["get", "pods"]).code == Some(0)).then_some(()));
}
