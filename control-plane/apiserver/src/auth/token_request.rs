//! TokenRequest (`authentication.k8s.io/v1`): a token for a service account, bound to a pod, node or secret.

use std::sync::Arc;

use mizzen_api::{GroupResource, Status};
use mizzen_store::Store;
use serde_json::{Value, json};

use super::Clock;
use super::tokens::{Bound, Claims, ISSUER, Kubernetes, Tokens};
use crate::lookup;

/// Seconds; what Kubernetes gives when the request does not say.
const DEFAULT_EXPIRY: i64 = 3600;
const SHORTEST_EXPIRY: i64 = 600;
const LONGEST_EXPIRY: i64 = 1 << 32;

pub struct TokenRequests {
    pub tokens: Arc<Tokens>,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
}

impl TokenRequests {
    /// Answers a create of `serviceaccounts/token`.
    ///
    /// # Errors
    /// `NotFound` when the account is gone, `Conflict` when the bound object is not the one meant, `Invalid` for an
    /// expiry out of bounds or a kind that tokens cannot be bound to.
    pub fn create(&self, namespace: &str, name: &str, mut request: Value) -> Result<Value, Status> {
        let account = self.uid("serviceaccounts", namespace, name)?;
        let spec = request.get("spec").cloned().unwrap_or_default();
        let seconds = spec.get("expirationSeconds").and_then(Value::as_i64).unwrap_or(DEFAULT_EXPIRY);
        if !(SHORTEST_EXPIRY..=LONGEST_EXPIRY).contains(&seconds) {
            let why = match seconds < SHORTEST_EXPIRY {
                true => "may not specify a duration less than 10 minutes",
                false => "may not specify a duration larger than 2^32 seconds",
            };
            let message = format!("Invalid value: {seconds}: {why}");
            let cause = crate::errors::cause("FieldValueInvalid", "spec.expirationSeconds", message);
            return Err(Status::invalid("TokenRequest.authentication.k8s.io", "", vec![cause]));
        }
        let mut audiences: Vec<String> =
            spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        if audiences.is_empty() {
            audiences.push(ISSUER.to_owned());
        }
        let mut bound = Kubernetes {
            namespace: namespace.to_owned(),
            serviceaccount: Bound { name: name.to_owned(), uid: account },
            ..Kubernetes::default()
        };
        if let Some(reference) = spec.get("boundObjectRef").filter(|reference| !reference.is_null()) {
            self.bind(&mut bound, reference)?;
        }
        let now = (self.clock)();
        let claims = Claims {
            aud: audiences.clone(),
            exp: now.as_second() + seconds,
            iat: now.as_second(),
            nbf: now.as_second(),
            iss: ISSUER.to_owned(),
            jti: crate::uid::new(),
            sub: format!("system:serviceaccount:{namespace}:{name}"),
            kubernetes: bound,
        };
        let token = self.tokens.issue(&claims).map_err(Status::internal)?;
        let expires = jiff::Timestamp::from_second(claims.exp).map_err(Status::internal)?;
        request["spec"]["audiences"] = json!(audiences);
        request["spec"]["expirationSeconds"] = json!(seconds);
        request["status"] = json!({"token": token, "expirationTimestamp": expires.to_string()});
        request["metadata"]["name"] = json!(name);
        request["metadata"]["namespace"] = json!(namespace);
        Ok(request)
    }

    fn bind(&self, bound: &mut Kubernetes, reference: &Value) -> Result<(), Status> {
        let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or_default();
        let (kind, name, wanted) = (text("kind"), text("name"), text("uid"));
        // They are in the group without a name, whatever the version says.
        let resource = match (kind, text("apiVersion").contains('/')) {
            ("Pod", false) => "pods",
            ("Secret", false) => "secrets",
            ("Node", false) => "nodes",
            _ => return Err(Status::bad_request(format!("cannot bind token for serviceaccount to object of type {kind:?}"))),
        };
        let namespace = if kind == "Node" { "" } else { &bound.namespace };
        let uid = self.uid(resource, namespace, name)?;
        if !wanted.is_empty() && wanted != uid {
            let why = format!(
                "the UID in the bound object reference ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
            );
            return Err(Status::conflict(&GroupResource::new("", resource), name, &why));
        }
        let binding = Some(Bound { name: name.to_owned(), uid });
        match kind {
            "Pod" => {
                self.expect_account(bound, name)?;
                bound.node = self.node_of(namespace, name);
                bound.pod = binding;
            }
            "Secret" => bound.secret = binding,
            _ => bound.node = binding,
        }
        Ok(())
    }

    /// A token for one account must not pass for a pod that runs as another.
    fn expect_account(&self, bound: &Kubernetes, pod: &str) -> Result<(), Status> {
        let account = &bound.serviceaccount.name;
        let object = lookup::core(&*self.store, "pods", &bound.namespace, pod);
        let value = object.and_then(|object| object.value().ok()).unwrap_or_default();
        if value.pointer("/spec/serviceAccountName").and_then(Value::as_str) == Some(account) {
            return Ok(());
        }
        let why = format!("cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name.");
        Err(Status::bad_request(why))
    }

    fn node_of(&self, namespace: &str, pod: &str) -> Option<Bound> {
        let pod = lookup::core(&*self.store, "pods", namespace, pod)?.value().ok()?;
        let name = pod.pointer("/spec/nodeName")?.as_str()?;
        Some(Bound { name: name.to_owned(), uid: self.uid("nodes", "", name).ok()? })
    }

    fn uid(&self, resource: &str, namespace: &str, name: &str) -> Result<String, Status> {
        match lookup::core(&*self.store, resource, namespace, name) {
            Some(object) => Ok(object.head().uid.clone()),
            None => Err(Status::not_found(&GroupResource::new("", resource), name)),
        }
    }
}
