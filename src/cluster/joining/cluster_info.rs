//! The ConfigMap `cluster-info` in `kube-public`, which anybody may read: where the cluster is and which authority it has, in
//! a kubeconfig, as kubeadm has it ("Bootstrapping with bootstrap tokens" in the Kubernetes documents).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::ConfigMap;
use mizzen_client::{ApiRequest, Client, PatchKind};
use mizzen_reconcile::typed::{self, gvr};
use serde_json::{Value, json};

const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";
const KEY: &str = "kubeconfig";

/// Where it is read.
pub fn path() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}")
}

/// Writes it, where it says something else or is missing.
///
/// # Errors
/// Whatever the API answers.
pub async fn publish(client: &dyn Client, server: &str, root: &str) -> anyhow::Result<()> {
    let kubeconfig = serde_yaml_ng::to_string(&json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "", "contexts": [], "users": [],
        "clusters": [{"name": "", "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(root)}}],
    }))?;
    let Some(present) = typed::get::<ConfigMap>(client, NAMESPACE, NAME).await? else {
        let metadata = json!({"name": NAME, "namespace": NAMESPACE});
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {KEY: kubeconfig}});
        let made = client.write(ApiRequest::create(&gvr::<ConfigMap>(), NAMESPACE, map)).await;
        return made.map(drop).map_err(|status| anyhow::anyhow!("create configmap {NAMESPACE}/{NAME}: {status}"));
    };
    if present.data.as_ref().and_then(|data| data.get(KEY)) != Some(&kubeconfig) {
        typed::patch::<ConfigMap>(client, NAMESPACE, NAME, "", PatchKind::Merge, json!({"data": {KEY: kubeconfig}})).await?;
    }
    Ok(())
}

/// The authority's certificate, PEM, that the object names.
pub fn authority(object: &[u8]) -> Option<String> {
    let data = field(object, "certificate-authority-data")?;
    String::from_utf8(STANDARD.decode(data).ok()?).ok()
}

/// Where the server is, as it says itself.
pub fn server(object: &[u8]) -> Option<String> {
    field(object, "server")
}

fn field(object: &[u8], name: &str) -> Option<String> {
    let object: Value = serde_json::from_slice(object).ok()?;
    let kubeconfig: Value = serde_yaml_ng::from_str(object["data"][KEY].as_str()?).ok()?;
    Some(kubeconfig.pointer("/clusters/0/cluster")?.get(name)?.as_str()?.to_owned())
}
