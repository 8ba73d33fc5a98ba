//! Signatures of plugins: by openssl, by `mizzen plugin push --sign`, and none.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mizzen_tests::command::run;
use mizzen_tests::executables::{guest, mizzen};
use mizzen_tests::hostile::digest;
use mizzen_tests::images::{Layer, lay_out};
use mizzen_tests::{Cluster, Kubectl, Registry, eventually};
use serde_json::{Value, json};

use super::plugins::{condition, of, policy, ready, refused};

const SETTINGS: &str = "  settings: {labels: [team]}\n";

/// A key pair of openssl's, which nobody here wrote.
fn openssl_keys(folder: &Path) -> (PathBuf, PathBuf) {
    let (private, public) = (folder.join("openssl.key"), folder.join("openssl.pub"));
    run(Command::new("openssl")
        .args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"])
        .arg(&private))
    .ok();
    run(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&private).arg("-out").arg(&public)).ok();
    (private, public)
}

/// `mizzen plugin push`; answers the manifest's digest.
fn push(reference: &str, component: &str, key: Option<&Path>) -> String {
    let mut command = mizzen();
    command.args(["plugin", "push", reference, "--plugin"]).arg(guest(component));
    if let Some(key) = key {
        command.arg("--sign").arg(key);
    }
    run(&mut command).ok().lines().next().expect("a digest").to_owned()
}

/// Signs as cosign does, with openssl, and lays the signature beside the image.
fn sign_by_openssl(registry: &Registry, repository: &str, digest: &str, key: &Path, folder: &Path) {
    let payload = json!({"critical": {"identity": {"docker-reference": registry.reference(repository)},
        "image": {"docker-manifest-digest": digest}, "type": "cosign container image signature"}, "optional": null});
    let (file, signature) = (folder.join("payload"), folder.join("signature"));
    std::fs::write(&file, payload.to_string()).unwrap();
    run(Command::new("openssl").args(["dgst", "-sha256", "-sign"]).arg(key).arg("-out").arg(&signature).arg(&file)).ok();
    let signature = STANDARD.encode(std::fs::read(&signature).unwrap());
    let layer = Layer {
        bytes: payload.to_string().into_bytes(),
        media_type: "application/vnd.dev.cosign.simplesigning.v1+json",
        annotations: json!({"dev.cosignproject.cosign/signature": signature}),
    };
    let layout = folder.join("signature-layout");
    lay_out(&layout, ("{}", "application/vnd.oci.image.config.v1+json"), &layer, &json!({}));
    let reference = registry.reference(&format!("{repository}:{}.sig", digest.replace(':', "-")));
    run(mizzen().args(["image", "push"]).arg(layout).arg(reference)).ok();
}

fn curl(registry: &Registry, path: &str) -> String {
    let url = format!("http://{}/v2/{path}", registry.address());
    run(Command::new("curl").args(["-sSf", "-H", "Accept: application/vnd.oci.image.manifest.v1+json", &url])).ok()
}

/// Lays an index beside the image where signatures are looked for.
fn spoil(registry: &Registry, repository: &str, digest: &str) {
    let manifest = curl(registry, &format!("{repository}/manifests/{digest}"));
    let kind = "application/vnd.oci.image.index.v1+json";
    let entry =
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": manifest.trim_end().len()});
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [entry]}).to_string();
    let url = format!("http://{}/v2/{repository}/manifests/{}.sig", registry.address(), digest.replace(':', "-"));
    let put = ["-sSf", "-X", "PUT", "-H", &format!("Content-Type: {kind}"), "--data-binary", &index, &url];
    run(Command::new("curl").args(put)).ok();
}

#[test]
fn signatures_that_cannot_be_read_keep_a_plugin_out_where_they_are_required_and_nowhere_else() {
    let work = tempfile::tempdir().unwrap();
    let (_, public) = openssl_keys(work.path());
    let config = |required: bool| format!("plugins: {{signatures: {{required: {required}, keys: [{}]}}}}\n", public.display());
    let mut cluster = Cluster::server_configured(&config(false));
    let registry = Registry::start();
    let image = registry.reference("spoilt:stable");
    spoil(&registry, "spoilt", &push(&image, "policy_v1", None));
    policy(&cluster, "team", &image, SETTINGS);
    ready(&cluster, "team");
    refused(&cluster, "without", "label \"team\" is missing (policy 1.0.0)");

    cluster.stop();
    cluster.configure(&config(true));
    cluster.start();
    eventually("it is told that they cannot be read", || {
        let (status, reason, message) = condition(&of(&cluster, "team"), "Ready");
        (status == "False" && reason == "PullFailed" && message.contains("not signatures")).then_some(())
    });
    refused(&cluster, "without", "failed calling admission policy \"team\"");
}

/// Puts bytes into the registry, as any client does; answers their digest.
fn put(registry: &Registry, repository: &str, bytes: &[u8], folder: &Path) -> String {
    let its = digest(bytes);
    let file = folder.join("blob");
    std::fs::write(&file, bytes).unwrap();
    let uploads = format!("http://{}/v2/{repository}/blobs/uploads/", registry.address());
    let begun = run(Command::new("curl").args(["-sSf", "-X", "POST", "-D", "-", "-o", "/dev/null", &uploads])).ok();
    let location = begun.lines().find_map(|line| line.strip_prefix("Location: ")).expect("says where to").trim().to_owned();
    let with = if location.contains('?') { '&' } else { '?' };
    let file = format!("@{}", file.display());
    let binary = "Content-Type: application/octet-stream";
    let to = format!("{location}{with}digest={its}");
    run(Command::new("curl").args(["-sSf", "-X", "PUT", "-H", binary, "--data-binary", &file, &to])).ok();
    its
}

fn put_manifest(registry: &Registry, path: &str, manifest: &Value) {
    let kind = format!("Content-Type: {}", manifest["mediaType"].as_str().unwrap());
    let url = format!("http://{}/v2/{path}", registry.address());
    run(Command::new("curl").args(["-sSf", "-X", "PUT", "-H", &kind, "--data-binary", &manifest.to_string(), &url])).ok();
}

/// Signs as cosign does from version 3 on, with openssl: a bundle in an artifact that refers to the image, which this registry
/// does not list by itself, so that the list is kept under a tag.
fn sign_in_a_bundle(registry: &Registry, repository: &str, image: &str, key: &Path, folder: &Path) {
    const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const STATEMENT: &str = "application/vnd.in-toto+json";
    let hex = image.trim_start_matches("sha256:");
    let payload = json!({"_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": hex}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1", "predicate": {}})
    .to_string();
    let (file, signature) = (folder.join("encoded"), folder.join("encoded.sig"));
    std::fs::write(&file, format!("DSSEv1 {} {STATEMENT} {} {payload}", STATEMENT.len(), payload.len())).unwrap();
    run(Command::new("openssl").args(["dgst", "-sha256", "-sign"]).arg(key).arg("-out").arg(&signature).arg(&file)).ok();
    let signature = STANDARD.encode(std::fs::read(&signature).unwrap());
    let bundle = json!({"mediaType": BUNDLE, "verificationMaterial": {"publicKey": {"hint": "any"}}, "dsseEnvelope": {
        "payload": STANDARD.encode(&payload), "payloadType": STATEMENT, "signatures": [{"sig": signature}]}})
    .to_string();
    let layer = put(registry, repository, bundle.as_bytes(), folder);
    let empty = put(registry, repository, b"{}", folder);
    let artifact = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
        "layers": [{"mediaType": BUNDLE, "digest": layer, "size": bundle.len()}],
        "subject": {"mediaType": MANIFEST, "digest": image, "size": 1}});
    let bytes = artifact.to_string();
    let its = digest(bytes.as_bytes());
    put_manifest(registry, &format!("{repository}/manifests/{its}"), &artifact);
    let list = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": MANIFEST, "digest": its, "size": bytes.len(), "artifactType": BUNDLE}]});
    put_manifest(registry, &format!("{repository}/manifests/{}", image.replace(':', "-")), &list);
}

#[track_caller]
fn not_signed(cluster: &Cluster, why: &str) {
    let message = eventually(why, || {
        let (_, reason, message) = condition(&of(cluster, "team"), "Ready");
        (reason == "NotSigned" && message.contains(why)).then_some(message)
    });
    assert!(message.contains("is not taken"), "{message}");
}

#[test]
fn only_what_a_trusted_key_signed_is_put_to_work() {
    let work = tempfile::tempdir().unwrap();
    let (private, public) = openssl_keys(work.path());
    run(mizzen().args(["plugin", "keygen"]).arg(work.path().join("other"))).ok();
    let other = work.path().join("other.key");
    let config = format!("plugins: {{signatures: {{required: true, keys: [{}]}}}}\n", public.display());
    let mut cluster = Cluster::server_configured(&config);
    let registry = Registry::start();
    let image = registry.reference("signed:stable");

    let digest = push(&image, "policy_v1", None);
    policy(&cluster, "team", &image, SETTINGS);
    not_signed(&cluster, "it is not signed");
    assert_eq!(condition(&of(&cluster, "team"), "Loaded").0, "False");
    push(&image, "policy_v1", Some(&other));
    not_signed(&cluster, "its signature is by none of the keys that are trusted");
    sign_by_openssl(&registry, "signed", &digest, &private, work.path());
    ready(&cluster, "team");
    refused(&cluster, "without", "label \"team\" is missing (policy 1.0.0)");

    // What is at work stays when the tag leads to what nobody signed, and goes when that is signed, too.
    push(&image, "policy_v2", None);
    not_signed(&cluster, "stays at work");
    refused(&cluster, "without", "is missing (policy 1.0.0)");
    let digest = push(&image, "policy_v2", Some(&private));
    ready(&cluster, "team");
    refused(&cluster, "without", "is missing (policy 2.0.0)");
    let events = cluster.kubectl(&["describe", "clusteradmissionpolicy", "team"]).ok();
    assert!(events.contains("signed by the key sha256:"), "{events}");

    // openssl finds our signature good.
    let manifest: Value = serde_json::from_str(&curl(&registry, &format!("signed/manifests/{}.sig", digest.replace(':', "-"))))
        .expect("a manifest");
    let layer = &manifest["layers"][0];
    let payload = curl(&registry, &format!("signed/blobs/{}", layer["digest"].as_str().unwrap()));
    assert!(payload.contains(&digest), "{payload}");
    let (file, signature) = (work.path().join("ours"), work.path().join("ours.sig"));
    std::fs::write(&file, payload).unwrap();
    let text = layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap();
    std::fs::write(&signature, STANDARD.decode(text).unwrap()).unwrap();
    let verified = run(Command::new("openssl")
        .args(["dgst", "-sha256", "-verify"])
        .arg(&public)
        .arg("-signature")
        .arg(&signature)
        .arg(&file));
    assert!(verified.ok().contains("Verified OK"));

    // A restarted server needs no registry for what it has verified.
    drop(registry);
    cluster.stop();
    cluster.start();
    refused(&cluster, "without", "is missing (policy 2.0.0)");

    // With another key it is not taken up again; a policy that was at work and is lost refuses.
    cluster.stop();
    let config = format!("plugins: {{signatures: {{keys: [{}]}}}}\n", work.path().join("other.pub").display());
    cluster.configure(&config);
    cluster.start();
    refused(&cluster, "without", "failed calling admission policy \"team\"");
}

#[test]
fn a_signature_that_refers_to_the_image_is_as_good() {
    let work = tempfile::tempdir().unwrap();
    let (private, public) = openssl_keys(work.path());
    run(mizzen().args(["plugin", "keygen"]).arg(work.path().join("other"))).ok();
    let config = format!("plugins: {{signatures: {{required: true, keys: [{}]}}}}\n", public.display());
    let mut cluster = Cluster::server_configured(&config);
    let registry = Registry::start();
    let image = registry.reference("bundled:stable");
    let digest = push(&image, "policy_v1", None);
    policy(&cluster, "team", &image, SETTINGS);
    not_signed(&cluster, "it is not signed");
    sign_in_a_bundle(&registry, "bundled", &digest, &work.path().join("other.key"), work.path());
    not_signed(&cluster, "its signature is by none of the keys that are trusted");
    sign_in_a_bundle(&registry, "bundled", &digest, &private, work.path());
    ready(&cluster, "team");
    refused(&cluster, "without", "label \"team\" is missing");

    // It is kept as others are.
    drop(registry);
    cluster.stop();
    cluster.start();
    refused(&cluster, "without", "label \"team\" is missing");
}
