//! The ConfigMap `extension-apiserver-authentication` of `kube-system`: whom API servers behind an APIService may believe,
//! and in which headers they are told of a user.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ConfigMap;
use mizzen_api::{ObjectRef, Reason};
use mizzen_client::{ApiRequest, Client};
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec, typed};
use serde_json::{Value, json};

use crate::context::Context;

const ACCOUNT: &str = "cluster-authentication-publisher";
const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// What proves that a request comes from this server.
#[derive(Clone, Debug)]
pub struct FrontProxyTrust {
    /// The root of the server's client certificate, PEM.
    pub root_pem: String,
    /// The common name of that certificate.
    pub name: String,
}

pub(crate) fn start(context: &Context) {
    let client = context.client(ACCOUNT);
    let queue = Queue::default();
    let spec = WatchSpec::all(typed::gvr::<ConfigMap>()).namespace(NAMESPACE).fields(&format!("metadata.name={NAME}"));
    let published = WatchCache::objects(spec).start(client.clone(), context.cancel.clone());
    published.enqueue(&queue);
    queue.add(ObjectRef::new(NAMESPACE, NAME));
    let wanted = data(&context.root_ca_pem, context.front_proxy.as_ref());
    context.run(Controller::new("cluster-authentication", queue, Arc::new(Publisher { client, published, wanted })));
}

/// What the map has to hold; keys that others put there stay.
fn data(client_ca: &str, front_proxy: Option<&FrontProxyTrust>) -> Value {
    let mut data = json!({"client-ca-file": client_ca});
    if let Some(FrontProxyTrust { root_pem, name }) = front_proxy {
        data["requestheader-client-ca-file"] = root_pem.as_str().into();
        // Each is a list, written as JSON.
        for (key, entry) in [
            ("requestheader-allowed-names", name.as_str()),
            ("requestheader-username-headers", "X-Remote-User"),
            ("requestheader-uid-headers", "X-Remote-Uid"),
            ("requestheader-group-headers", "X-Remote-Group"),
            ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        ] {
            data[key] = json!([entry]).to_string().into();
        }
    }
    data
}

/// The data with what it lacks; `None` when it lacks nothing.
fn completed(present: &Value, wanted: &Value) -> Option<Value> {
    let mut completed = if present.is_object() { present.clone() } else { json!({}) };
    for (key, value) in wanted.as_object().into_iter().flatten() {
        completed[key] = value.clone();
    }
    (completed != *present).then_some(completed)
}

struct Publisher {
    client: Arc<dyn Client>,
    published: Arc<WatchCache>,
    wanted: Value,
}

#[async_trait]
impl Reconciler for Publisher {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        self.published.synced().await;
        let written = match self.published.get(&key) {
            None => {
                let map = json!({"metadata": {"name": NAME, "namespace": NAMESPACE}, "data": self.wanted});
                let request = ApiRequest::create(&typed::gvr::<ConfigMap>(), NAMESPACE, map);
                self.client
                    .write(request)
                    .await
                    .map(drop)
                    .map_err(|status| Error::api(format!("create configmap {NAME}"), status))
            }
            Some(present) => {
                let value = present.value();
                let value = value.map_err(|source| Error::Decode { operation: format!("decode configmap {NAME}"), source })?;
                let Some(data) = completed(&value["data"], &self.wanted) else { return Ok(Action::Done) };
                typed::update::<ConfigMap>(self.client.as_ref(), &present, |document| document["data"] = data).await.map(drop)
            }
        };
        match written {
            // The cache tells of it.
            Err(error) if error.is(Reason::AlreadyExists) || error.is(Reason::NotFound) => Ok(Action::Done),
            written => written.map(|()| Action::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_written_as_json_and_foreign_keys_stay() {
        let trust = FrontProxyTrust { root_pem: "root".to_owned(), name: "front-proxy-client".to_owned() };
        let wanted = data("ca", Some(&trust));
        assert_eq!(wanted["requestheader-allowed-names"], "[\"front-proxy-client\"]");
        let completed_map = completed(&json!({"mine": "1", "client-ca-file": "old"}), &wanted).expect("lacks something");
        assert_eq!((&completed_map["mine"], &completed_map["client-ca-file"]), (&json!("1"), &json!("ca")));
        assert_eq!(completed(&completed_map, &wanted), None);
        assert_eq!(data("ca", None), json!({"client-ca-file": "ca"}));
    }
}
