//! Certificates through the real pipeline: asked for, approved, signed and forgotten.

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mizzen_apiserver::auth::certificates::identity_of;
use mizzen_client::{ApiRequest, Client, PatchKind};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use support::{World, condition, gvr};

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET: &str = "kubernetes.io/kube-apiserver-client-kubelet";

fn request(name: &str, signer: &str, user: &str, group: &str, usages: &[&str]) -> Value {
    request_for(name, signer, user, group, usages, &[])
}

fn request_for(name: &str, signer: &str, user: &str, group: &str, usages: &[&str], names: &[&str]) -> Value {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.distinguished_name.push(DnType::CommonName, user);
    let key = KeyPair::generate().expect("a key");
    let pem = params.serialize_request(&key).and_then(|request| request.pem()).expect("a request");
    json!({"metadata": {"name": name}, "spec": {"request": STANDARD.encode(pem), "signerName": signer, "usages": usages}})
}

async fn approve(client: &dyn Client, name: &str) -> Result<(), mizzen_api::Status> {
    let approved = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "Test"}]}});
    let patch = ApiRequest::patch(&gvr(GROUP, REQUESTS), "", name, PatchKind::Merge, approved).subresource("approval");
    client.write(patch).await.map(drop)
}

async fn certificate(world: &World, name: &str) -> Vec<u8> {
    world
        .until("the certificate is issued", || async {
            let request = world.get(GROUP, REQUESTS, "", name).await?;
            STANDARD.decode(request["status"]["certificate"].as_str()?).ok()
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn who_may_approve_for_a_signer_gets_others_their_certificate() {
    let world = World::start().await;
    world.create(GROUP, REQUESTS, "", request("jane", CLIENT, "jane", "devs", &["client auth"])).await;
    let rbac = "rbac.authorization.k8s.io";
    let rules = |names: Value| {
        json!([{"apiGroups": [GROUP], "resources": [format!("{REQUESTS}/approval")], "verbs": ["update", "patch"]},
               {"apiGroups": [GROUP], "resources": ["signers"], "resourceNames": names, "verbs": ["approve"]}])
    };
    let role = json!({"metadata": {"name": "approver"}, "rules": rules(json!(["example.com/*"]))});
    world.create(rbac, "clusterroles", "", role).await;
    let binding = json!({"metadata": {"name": "approver"}, "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "approver"},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": "boss"}]});
    world.create(rbac, "clusterrolebindings", "", binding).await;
    let boss = world.client_of("boss", &[]);
    let refused = world
        .until("the role is known", || async {
            let refused = approve(boss.as_ref(), "jane").await.expect_err("has no right on the signer");
            (!refused.message.contains("cannot patch")).then_some(refused)
        })
        .await;
    let why = format!("user not permitted to approve requests with signerName {CLIENT:?}");
    assert!(refused.code == 403 && refused.message.ends_with(&why), "{}", refused.message);

    world.patch(rbac, "clusterroles", "", "approver", json!({"rules": rules(json!(["kubernetes.io/*"]))})).await;
    world.until("the right is known", || async { approve(boss.as_ref(), "jane").await.ok() }).await;
    let pem = certificate(&world, "jane").await;
    let der = CertificateDer::from_pem_slice(&pem).expect("is PEM");
    let identity = identity_of(&der).expect("names a user");
    assert_eq!((identity.username.as_str(), identity.groups[0].as_str()), ("jane", "devs"));

    world
        .until("nobody needs the request any more", || async {
            world.get(GROUP, REQUESTS, "", "jane").await.is_none().then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn no_request_makes_its_owner_a_master_and_none_is_signed_for_another_use() {
    let world = World::start().await;
    let masters = request("m", CLIENT, "m", "system:masters", &["client auth"]);
    let refused = world.client.write(ApiRequest::create(&gvr(GROUP, REQUESTS), "", masters)).await.expect_err("is refused");
    let why = format!("use of {CLIENT} signer with system:masters group is not allowed");
    assert!(refused.code == 403 && refused.message.ends_with(&why), "{}", refused.message);

    world.create(GROUP, REQUESTS, "", request("server", CLIENT, "jane", "devs", &["client auth", "server auth"])).await;
    approve(world.client.as_ref(), "server").await.expect("approves");
    let failed = world
        .until("the signer refuses", || async {
            let request = world.get(GROUP, REQUESTS, "", "server").await?;
            condition(&request, "Failed").cloned()
        })
        .await;
    assert_eq!(
        (&failed["reason"], &failed["message"]),
        (&json!("SignerValidationFailure"), &json!("invalid usage for client certificate: server auth"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_may_renews_its_own_certificate_unseen() {
    let world = World::start().await;
    let usages = ["client auth", "digital signature"];
    let node = world.client_of("system:node:n1", &["system:nodes"]);
    let rbac = "rbac.authorization.k8s.io";
    let bind = |name: &str, role: &str| {
        json!({"metadata": {"name": name}, "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": rbac, "kind": "Group", "name": "system:nodes"}]})
    };
    world.create(rbac, "clusterrolebindings", "", bind("ask", "system:node-bootstrapper")).await;
    let renews = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient";
    world.create(rbac, "clusterrolebindings", "", bind("renew", renews)).await;
    for (name, subject) in [("own", "system:node:n1"), ("other", "system:node:n2")] {
        let asked = request(name, KUBELET, subject, "system:nodes", &usages);
        world
            .until("the node may ask", || async {
                node.write(ApiRequest::create(&gvr(GROUP, REQUESTS), "", asked.clone())).await.ok()
            })
            .await;
    }
    certificate(&world, "own").await;
    let own = world.get(GROUP, REQUESTS, "", "own").await.expect("is there");
    assert_eq!(condition(&own, "Approved").expect("is approved")["reason"], "AutoApproved");
    let other = world.get(GROUP, REQUESTS, "", "other").await.expect("is there");
    assert!(condition(&other, "Approved").is_none(), "not for another node");
}

#[tokio::test(start_paused = true)]
async fn a_node_serves_under_its_own_name_unseen_and_under_no_other() {
    const SERVING: &str = "kubernetes.io/kubelet-serving";
    let world = World::start().await;
    let usages = ["server auth", "digital signature"];
    let ask = async |node: &str, name: &str, names: &[&str]| {
        let client = world.client_of(&format!("system:node:{node}"), &["system:nodes"]);
        let asked = request_for(name, SERVING, "system:node:n1", "system:nodes", &usages, names);
        let made = client.write(ApiRequest::create(&gvr(GROUP, REQUESTS), "", asked)).await;
        made.map(drop)
    };
    ask("n1", "address", &["n1", "192.0.2.1"]).await.expect("is a request");
    ask("n1", "another", &["n2"]).await.expect("is a request");
    ask("n2", "for-another", &["n1"]).await.expect("is a request");
    let reserved = world.client_of("system:node:kubernetes", &["system:nodes"]);
    let asked = request_for("api", SERVING, "system:node:kubernetes", "system:nodes", &usages, &["kubernetes"]);
    reserved.write(ApiRequest::create(&gvr(GROUP, REQUESTS), "", asked)).await.expect("is a request");
    ask("n1", "own", &["n1"]).await.expect("is a request");
    certificate(&world, "own").await;
    for name in ["address", "another", "for-another", "api"] {
        let request = world.get(GROUP, REQUESTS, "", name).await.expect("is there");
        assert!(condition(&request, "Approved").is_none(), "{name} waits for people");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_with_a_bootstrap_token_gets_the_certificate_of_a_node_unseen() {
    let world = World::start().await;
    let machine = world.client_of("system:bootstrap:abcdef", &["system:bootstrappers"]);
    let asked = request("join", KUBELET, "system:node:n1", "system:nodes", &["client auth", "digital signature"]);
    machine.write(ApiRequest::create(&gvr(GROUP, REQUESTS), "", asked)).await.expect("may ask");
    let pem = certificate(&world, "join").await;
    let der = CertificateDer::from_pem_slice(&pem).expect("is PEM");
    assert_eq!(identity_of(&der).expect("names a user").username, "system:node:n1");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_role_gathers_the_rules_of_those_that_are_labelled_for_it() {
    let world = World::start().await;
    let rbac = "rbac.authorization.k8s.io";
    let rules_of = |name: &'static str| {
        let world = &world;
        async move { world.get(rbac, "clusterroles", "", name).await?["rules"].as_array().cloned() }
    };
    let own = world.get(rbac, "clusterroles", "", "system:aggregate-to-view").await.expect("is there");
    let view = own["rules"].as_array().expect("has rules").len();
    world
        .until("admin holds the rules of edit and of view", || async {
            (rules_of("admin").await?.len() > rules_of("edit").await?.len() && rules_of("view").await?.len() == view)
                .then_some(())
        })
        .await;
    let rule = json!({"apiGroups": ["example.com"], "resources": ["crontabs"], "verbs": ["get"]});
    let labels = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
    let role = json!({"metadata": {"name": "crontabs", "labels": labels}, "rules": [rule]});
    world.create(rbac, "clusterroles", "", role).await;
    for name in ["view", "edit", "admin"] {
        world.until("the rule flows on", || async { rules_of(name).await?.contains(&rule).then_some(()) }).await;
    }
    world.delete(rbac, "clusterroles", "", "crontabs", None).await;
    for name in ["view", "edit", "admin"] {
        world.until("the rule is gone again", || async { (!rules_of(name).await?.contains(&rule)).then_some(()) }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_token_goes_when_it_has_expired() {
    let world = World::start().await;
    let until = (world.clock.now() + jiff::SignedDuration::from_mins(10)).to_string();
    for (name, data) in [("bootstrap-token-aaaaaa", json!({"expiration": until})), ("bootstrap-token-bbbbbb", json!({}))] {
        let secret = json!({"metadata": {"name": name}, "type": "bootstrap.kubernetes.io/token", "stringData": data});
        world.create("", "secrets", "kube-system", secret).await;
    }
    world
        .until("the token is gone", || async {
            world.get("", "secrets", "kube-system", "bootstrap-token-aaaaaa").await.is_none().then_some(())
        })
        .await;
    assert!(world.clock.now().to_string() >= until, "not before its time");
    world.get("", "secrets", "kube-system", "bootstrap-token-bbbbbb").await.expect("has no end");
}
