//! Secrets of type `kubernetes.io/service-account-token`: they are given a token of the account that they name, which is good
//! for as long as both are there, and they go with the account.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use mizzen_api::{Head, Object, ObjectRef, Reason};
use mizzen_client::{Client, DeleteOptions};
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec, typed};
use serde_json::{Value, json};

use crate::context::Context;

const NAME: &str = "service-account-token-controller";
/// Annotations of such a secret.
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// Seconds; the longest that a token is given for, longer than any cluster lives. The secret's deletion ends it.
const LIFETIME: i64 = 1 << 32;

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = Queue::default();
    let spec = WatchSpec::all(typed::gvr::<Secret>()).fields("type=kubernetes.io/service-account-token");
    let secrets = WatchCache::objects(spec).start(client.clone(), context.cancel.clone());
    secrets.enqueue(&queue);
    let accounts =
        WatchCache::heads(WatchSpec::all(typed::gvr::<ServiceAccount>())).start(client.clone(), context.cancel.clone());
    let known = secrets.clone();
    accounts.enqueue_mapped(&queue, move |account: &Head| {
        let named = |secret: &Arc<Object>| account_of(&secret.value().ok()?).filter(|name| *name == account.name).map(drop);
        let secrets = known.in_namespace(&account.namespace);
        let theirs = secrets.iter().filter(|secret| named(secret).is_some());
        theirs.map(|secret| ObjectRef::new(&*secret.head().namespace, &*secret.head().name)).collect()
    });
    let authority = STANDARD.encode(&context.root_ca_pem);
    context.run(Controller::new("service-account-tokens", queue, Arc::new(Tokens { client, secrets, authority })));
}

struct Tokens {
    client: Arc<dyn Client>,
    secrets: Arc<WatchCache>,
    /// `ca.crt`, as a secret has it.
    authority: String,
}

/// What is to become of a secret.
#[derive(Debug, PartialEq)]
enum Step {
    Leave,
    /// Its account is gone, or another one by now.
    Delete,
    /// It lacks something.
    Fill {
        token: bool,
    },
}

fn account_of(secret: &Value) -> Option<String> {
    secret["metadata"]["annotations"][ACCOUNT].as_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// `account` is the uid of the account that the secret names, if there is one.
fn step(secret: &Value, account: Option<&str>, authority: &str) -> Step {
    let Some(uid) = account else { return Step::Delete };
    let meant = secret["metadata"]["annotations"][ACCOUNT_UID].as_str().unwrap_or_default();
    if !meant.is_empty() && meant != uid {
        return Step::Delete;
    }
    let has = |key: &str| secret["data"][key].as_str().is_some_and(|value| !value.is_empty());
    let token = !has("token");
    match token || !has("namespace") || secret["data"]["ca.crt"] != authority || meant.is_empty() {
        true => Step::Fill { token },
        false => Step::Leave,
    }
}

impl Tokens {
    async fn token(&self, secret: &Object, account: &str) -> Result<String, Error> {
        let head = secret.head();
        let bound = json!({"kind": "Secret", "apiVersion": "v1", "name": head.name, "uid": head.uid});
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"boundObjectRef": bound, "expirationSeconds": LIFETIME},
        });
        let answer =
            typed::create_subresource::<ServiceAccount>(self.client.as_ref(), &head.namespace, account, "token", body).await?;
        let answer = answer.value().unwrap_or_default();
        Ok(answer["status"]["token"].as_str().unwrap_or_default().to_owned())
    }

    async fn fill(&self, secret: &Object, account: &str, uid: &str, token: bool) -> Result<(), Error> {
        let token = if token { Some(self.token(secret, account).await?) } else { None };
        let namespace = secret.head().namespace.clone();
        typed::update::<Secret>(self.client.as_ref(), secret, |document| {
            document["metadata"]["annotations"][ACCOUNT_UID] = json!(uid);
            if document["data"].is_null() {
                document["data"] = json!({});
            }
            document["data"]["ca.crt"] = json!(self.authority);
            document["data"]["namespace"] = json!(STANDARD.encode(&*namespace));
            if let Some(token) = token {
                document["data"]["token"] = json!(STANDARD.encode(token));
            }
        })
        .await
        .map(drop)
    }
}

#[async_trait]
impl Reconciler for Tokens {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(secret) = self.secrets.get(&key).filter(|secret| secret.head().deletion_timestamp.is_none()) else {
            return Ok(Action::Done);
        };
        let document = secret.value().unwrap_or_default();
        let Some(name) = account_of(&document) else { return Ok(Action::Done) };
        // The account as it is now: what is deleted for want of one does not come back.
        let account = typed::get_object::<ServiceAccount>(self.client.as_ref(), &key.namespace, &name).await?;
        let uid = account.as_ref().map(|account| account.head().uid.as_str());
        let outcome = match (step(&document, uid, &self.authority), uid) {
            (Step::Fill { token }, Some(uid)) => self.fill(&secret, &name, uid, token).await,
            (Step::Delete, _) => {
                let options = DeleteOptions { uid: Some(secret.head().uid.clone()), ..DeleteOptions::default() };
                typed::delete::<Secret>(self.client.as_ref(), &key.namespace, &key.name, options).await.map(drop)
            }
            _ => Ok(()),
        };
        match outcome {
            Err(error) if error.is(Reason::NotFound) => Ok(Action::Done),
            outcome => outcome.map(|()| Action::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_gets_what_it_lacks_and_goes_with_its_account() {
        let secret =
            |uid: &str, data: Value| json!({"metadata": {"annotations": {ACCOUNT: "a", ACCOUNT_UID: uid}}, "data": data});
        let whole = json!({"token": "dA==", "namespace": "bg==", "ca.crt": "Y2E="});
        let decide = |secret: Value, account: Option<&str>| step(&secret, account, "Y2E=");
        assert_eq!(decide(secret("u", whole.clone()), Some("u")), Step::Leave);
        assert_eq!(decide(secret("", Value::Null), Some("u")), Step::Fill { token: true });
        assert_eq!(decide(secret("u", json!({"token": "dA==", "namespace": "bg=="})), Some("u")), Step::Fill { token: false });
        assert_eq!(decide(secret("u", whole.clone()), Some("other")), Step::Delete);
        assert_eq!(decide(secret("u", whole), None), Step::Delete);
    }
}
