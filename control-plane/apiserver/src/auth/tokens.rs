//! Service account tokens: JWTs (RFC 7519) signed with the cluster's key, with the claims that Kubernetes puts in them.

use std::collections::HashMap;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use parking_lot::Mutex;
use rcgen::{KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What the API server calls itself in `iss`, and the audience of tokens meant for it.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{operation} the token signing key: {why}")]
    Key { operation: &'static str, why: String },
    #[error("sign a token: {0}")]
    Sign(#[source] jsonwebtoken::errors::Error),
    #[error("{0}")]
    Invalid(String),
}

/// The object a token is bound to: it is worth nothing once that object is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// The `kubernetes.io` claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kubernetes {
    pub namespace: String,
    pub serviceaccount: Bound,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Bound>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub aud: Vec<String>,
    /// Seconds since the epoch, as `iat` and `nbf`.
    pub exp: i64,
    pub iat: i64,
    pub nbf: i64,
    pub iss: String,
    pub jti: String,
    pub sub: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Kubernetes,
}

/// Signs and checks tokens. Whether the account still exists is for the caller to look up.
pub struct Tokens {
    signing: EncodingKey,
    verifying: DecodingKey,
    key_id: String,
    pem: String,
    public_point: Vec<u8>,
    /// What tokens say whose signatures were found good, so that a client's next request need not wait for that again.
    signed: Mutex<HashMap<Box<str>, Claims>>,
}

/// So many tokens are remembered.
const REMEMBERED: usize = 4096;

impl Tokens {
    /// A new P-256 key.
    ///
    /// # Errors
    /// When no key can be generated.
    pub fn generate() -> Result<Self, TokenError> {
        let key = KeyPair::generate().map_err(|error| TokenError::Key { operation: "generate", why: error.to_string() })?;
        Self::load(&key.serialize_pem())
    }

    /// The key that an earlier run saved (PKCS#8, PEM).
    ///
    /// # Errors
    /// When it is not a P-256 private key.
    pub fn load(pem: &str) -> Result<Self, TokenError> {
        let failed = |why: String| TokenError::Key { operation: "load", why };
        let key = KeyPair::from_pem(pem).map_err(|error| failed(error.to_string()))?;
        let signing = EncodingKey::from_ec_pem(pem.as_bytes()).map_err(|error| failed(error.to_string()))?;
        let verifying = DecodingKey::from_ec_pem(key.public_key_pem().as_bytes()).map_err(|error| failed(error.to_string()))?;
        let public_point = key.der_bytes().to_vec();
        if public_point.len() != 65 {
            return Err(failed("not a P-256 key".to_owned()));
        }
        let key_id = base64url(&Sha256::digest(key.subject_public_key_info()));
        Ok(Self { signing, verifying, key_id, pem: pem.to_owned(), public_point, signed: Mutex::default() })
    }

    /// The private key, to be kept readable by root only.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// # Errors
    /// When the signing library refuses, which it does not for keys that loaded.
    pub fn issue(&self, claims: &Claims) -> Result<String, TokenError> {
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &self.signing).map_err(TokenError::Sign)
    }

    /// Checks signature, issuer, times and that one of `audiences` is meant.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] with a reason.
    pub fn verify(&self, token: &str, audiences: &[&str], now: jiff::Timestamp) -> Result<Claims, TokenError> {
        let invalid = |why: &str| TokenError::Invalid(why.to_owned());
        let claims = self.signed(token)?;
        let now = now.as_second();
        if claims.exp <= now {
            return Err(invalid("service account token has expired"));
        }
        if claims.nbf > now + 60 {
            return Err(invalid("service account token is not valid yet"));
        }
        if !claims.aud.iter().any(|audience| audiences.contains(&audience.as_str())) {
            return Err(TokenError::Invalid(format!(
                "token audiences {:?} is invalid for the target audiences {audiences:?}",
                claims.aud
            )));
        }
        Ok(claims)
    }

    /// What a token that was signed here says, whether it still holds or not.
    fn signed(&self, token: &str) -> Result<Claims, TokenError> {
        if let Some(claims) = self.signed.lock().get(token) {
            return Ok(claims.clone());
        }
        let mut validation = Validation::new(Algorithm::ES256);
        // Times are checked by the caller against the injected clock, audiences against several.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        validation.set_issuer(&[ISSUER]);
        let claims = decode::<Claims>(token, &self.verifying, &validation)
            .map_err(|error| TokenError::Invalid(format!("invalid bearer token: {error}")))?
            .claims;
        let mut signed = self.signed.lock();
        if signed.len() >= REMEMBERED {
            signed.clear();
        }
        signed.insert(token.into(), claims.clone());
        Ok(claims)
    }

    /// The public key as a JSON Web Key Set (RFC 7517), served at `/openid/v1/jwks`.
    pub fn jwks(&self) -> serde_json::Value {
        serde_json::json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256",
            "x": base64url(&self.public_point[1..33]), "y": base64url(&self.public_point[33..65]),
        }]})
    }
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    fn claims(now: jiff::Timestamp) -> Claims {
        Claims {
            aud: vec![ISSUER.to_owned()],
            exp: now.as_second() + 600,
            iat: now.as_second(),
            nbf: now.as_second(),
            iss: ISSUER.to_owned(),
            jti: "1".to_owned(),
            sub: "system:serviceaccount:ns:sa".to_owned(),
            kubernetes: Kubernetes { namespace: "ns".to_owned(), ..Kubernetes::default() },
        }
    }

    #[test]
    fn a_token_is_accepted_until_it_expires_and_only_for_its_audience_and_key() {
        let now = jiff::Timestamp::from_second(1_800_000_000).expect("is a time");
        let tokens = Tokens::generate().expect("generates");
        let reloaded = Tokens::load(tokens.pem()).expect("loads");
        let token = tokens.issue(&claims(now)).expect("signs");
        assert_eq!(reloaded.verify(&token, &[ISSUER], now).expect("is valid"), claims(now));
        let later = jiff::Timestamp::from_second(1_800_000_600).expect("is a time");
        assert!(reloaded.verify(&token, &[ISSUER], later).is_err(), "expired");
        assert!(reloaded.verify(&token, &["vault"], now).is_err(), "other audience");
        assert!(Tokens::generate().expect("generates").verify(&token, &[ISSUER], now).is_err(), "other key");
        let mut forged = token.into_bytes();
        let last = forged.len() - 3;
        forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
        assert!(reloaded.verify(&String::from_utf8(forged).expect("ascii"), &[ISSUER], now).is_err(), "forged");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_verifying_panic_and_no_changed_token_holds(
            wild in "\\PC{0,60}",
            parts in prop::collection::vec("[A-Za-z0-9_=-]{0,24}", 0..5),
            place in any::<prop::sample::Index>(),
            other in "[A-Za-z0-9_.=-]",
        ) {
            static TOKENS: LazyLock<Tokens> = LazyLock::new(|| Tokens::generate().expect("generates"));
            let now = jiff::Timestamp::from_second(1_800_000_000).expect("is a time");
            let token = TOKENS.issue(&claims(now)).expect("signs");
            let at = place.index(token.len());
            let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            for text in [wild, parts.join("."), changed, token[..at].to_owned()] {
                let held = TOKENS.verify(&text, &[ISSUER], now).is_ok();
                prop_assert!(!held || text == token, "{text}");
            }
        }
    }
}
