//! Authentication: a client certificate signed by the cluster's root (checked by TLS), a service account token or a
//! bootstrap token.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use mizzen_api::{Reason, Status};
use mizzen_store::Store;

use super::certificates::certified;
use super::tokens::{Claims, ISSUER, Tokens};
use super::{Clock, Identity, bootstrap_tokens};
use crate::authenticate::Peer;

pub struct Authenticator {
    tokens: Arc<Tokens>,
    store: Arc<dyn Store>,
    clock: Clock,
}

impl Authenticator {
    pub fn new(tokens: Arc<Tokens>, store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { tokens, store, clock }
    }

    /// `None` when the request carries no credentials at all. A certificate goes before a token.
    ///
    /// # Errors
    /// `Unauthorized` when there are credentials that do not hold.
    pub fn identify(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Result<Option<Arc<Identity>>, Status> {
        if let Some(peer) = peer {
            let user = peer.user(|certificate| certified(certificate).map_err(unauthorized))?;
            if (self.clock)() > user.not_after {
                let name = &user.identity.username;
                return Err(unauthorized(format!("the client certificate of {name:?} expired at {}", user.not_after)));
            }
            return Ok(Some(user.identity));
        }
        let Some(header) = headers.get(AUTHORIZATION) else { return Ok(None) };
        let token = header
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| unauthorized("the authorization header holds no bearer token".to_owned()))?;
        self.bearer(token, &[ISSUER]).map(|(identity, _)| Some(Arc::new(identity))).map_err(unauthorized)
    }

    /// What others check the tokens with.
    pub fn jwks(&self) -> serde_json::Value {
        self.tokens.jwks()
    }

    /// Whom a token of any kind stands for, and which of the audiences it is meant for.
    ///
    /// # Errors
    /// The reason why it does not hold.
    pub fn bearer(&self, token: &str, audiences: &[&str]) -> Result<(Identity, Vec<String>), String> {
        if let Some(parts) = bootstrap_tokens::parse(token) {
            // Meant for this server alone, though it does not say so.
            if !audiences.contains(&ISSUER) {
                return Err(format!("token audiences {:?} is invalid for the target audiences {audiences:?}", [ISSUER]));
            }
            let identity = bootstrap_tokens::identify(&*self.store, parts, (self.clock)())?;
            return Ok((identity, vec![ISSUER.to_owned()]));
        }
        let (identity, claims) = self.token(token, audiences)?;
        let meant = audiences.iter().filter(|audience| claims.aud.iter().any(|own| own == *audience));
        Ok((identity, meant.map(|audience| (*audience).to_owned()).collect()))
    }

    /// The service account that a token stands for.
    ///
    /// # Errors
    /// The reason why it does not hold.
    pub fn token(&self, token: &str, audiences: &[&str]) -> Result<(Identity, Claims), String> {
        let claims = self.tokens.verify(token, audiences, (self.clock)()).map_err(|error| error.to_string())?;
        let bound = &claims.kubernetes;
        let namespace = &bound.namespace;
        self.expect("serviceaccounts", namespace, &bound.serviceaccount.name, &bound.serviceaccount.uid)?;
        let mut identity = service_account(namespace, &bound.serviceaccount.name, &bound.serviceaccount.uid);
        let mut extra =
            |key: &str, value: &str| identity.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        extra("credential-id", &format!("JTI={}", claims.jti));
        if let Some(pod) = &bound.pod {
            self.expect("pods", namespace, &pod.name, &pod.uid)?;
            extra("pod-name", &pod.name);
            extra("pod-uid", &pod.uid);
        }
        if let Some(secret) = &bound.secret {
            self.expect("secrets", namespace, &secret.name, &secret.uid)?;
        }
        if let Some(node) = &bound.node {
            // Of a token bound to a pod, the node only tells where the pod ran.
            if bound.pod.is_none() {
                self.expect("nodes", "", &node.name, &node.uid)?;
            }
            extra("node-name", &node.name);
            extra("node-uid", &node.uid);
        }
        Ok((identity, claims))
    }

    /// The object a token is bound to must still be the same one.
    fn expect(&self, resource: &str, namespace: &str, name: &str, uid: &str) -> Result<(), String> {
        match crate::lookup::core(&*self.store, resource, namespace, name) {
            Some(object) if object.head().uid == uid => Ok(()),
            Some(_) => Err(format!("the token is bound to {resource} {namespace}/{name} with uid {uid}, which was replaced")),
            None => Err(format!("the token is bound to {resource} {namespace}/{name}, which is gone")),
        }
    }
}

/// The user that a service account is.
pub fn service_account(namespace: &str, name: &str, uid: &str) -> Identity {
    let mut identity = Identity::component(
        &format!("system:serviceaccount:{namespace}:{name}"),
        &["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")],
    );
    identity.uid = uid.to_owned();
    identity
}

fn unauthorized(why: String) -> Status {
    tracing::info!(why, "request not authenticated");
    Status::new(Reason::Unauthorized, "Unauthorized")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use mizzen_store::MemoryStore;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::super::certificates::Authority;
    use super::*;

    #[test]
    fn a_client_certificate_does_not_outlive_its_expiry_on_an_open_connection() {
        let issued: jiff::Timestamp = "2026-02-28T12:00:00Z".parse().expect("is a time");
        let seconds = Arc::new(AtomicI64::new(issued.as_second()));
        let clock: Clock = {
            let seconds = seconds.clone();
            Arc::new(move || jiff::Timestamp::from_second(seconds.load(Ordering::Relaxed)).expect("is a time"))
        };
        let tokens = Arc::new(Tokens::generate().expect("a key"));
        let authenticator = Authenticator::new(tokens, Arc::new(MemoryStore::default()), clock);
        let pair = Authority::generate("test", issued).and_then(|root| root.client("alice", "devs", issued)).expect("signs");
        let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("is PEM");
        let not_after = certified(&certificate).expect("has a name").not_after;
        let peer = Peer::new(certificate);
        for (moment, accepted) in [(0, true), (1, false), (-1, true)] {
            seconds.store(not_after.as_second() + moment, Ordering::Relaxed);
            let answer = authenticator.identify(Some(&peer), &HeaderMap::new());
            assert_eq!(
                answer.as_ref().map(|user| user.is_some()).map_err(|status| status.code),
                if accepted { Ok(true) } else { Err(401) }
            );
        }
    }
}
