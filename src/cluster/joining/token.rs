//! What a machine joins with, in k3s' form: `K10<hash>::<id>.<secret>`. The hash is that of the cluster's root certificate
//! (SHA-256 of its DER, in hexadecimal digits), by which the machine knows the server; `<id>.<secret>` is a bootstrap token of
//! Kubernetes, by which the server knows the machine.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::cluster::tls::{self, TlsError};

const PREFIX: &str = "K10";

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTokenError {
    #[error("the token does not name the server's authority: take all of what `mizzen token create` prints on the server")]
    NoHash,
    #[error("the token is none of `mizzen token create`: it has the form K10<hash>::<id>.<secret>")]
    Form,
}

#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// 64 lower-case hexadecimal digits.
    authority: String,
    id: String,
    secret: String,
}

impl JoinToken {
    /// `id` has six characters and `secret` sixteen, lower-case letters and digits all.
    pub fn new(authority: String, id: String, secret: String) -> Self {
        Self { authority, id, secret }
    }

    /// Whom the machine is to trust, by its fingerprint.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub fn names(&self, fingerprint: &str) -> bool {
        self.authority == fingerprint
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The part that the server is shown.
    pub fn bearer(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}::{}.{}", self.authority, self.id, self.secret)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.id)
    }
}

impl FromStr for JoinToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let text = text.trim();
        if bootstrap_token(text).is_some() {
            return Err(ParseTokenError::NoHash);
        }
        let parts = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once("::"));
        let (authority, token) = parts.ok_or(ParseTokenError::Form)?;
        let (id, secret) = bootstrap_token(token).ok_or(ParseTokenError::Form)?;
        let is_hash = authority.len() == 64 && authority.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash {
            return Err(ParseTokenError::Form);
        }
        Ok(Self::new(authority.to_ascii_lowercase(), id.to_owned(), secret.to_owned()))
    }
}

/// Id and secret of a bootstrap token.
pub fn bootstrap_token(text: &str) -> Option<(&str, &str)> {
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let (id, secret) = text.split_once('.')?;
    (id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)).then_some((id, secret))
}

/// SHA-256 of the first certificate of a PEM text, as `openssl x509 -fingerprint -sha256` has it, without its colons and in
/// lower case.
///
/// # Errors
/// When there is no certificate.
pub fn fingerprint(pem: &str) -> Result<String, TlsError> {
    Ok(hex::encode(Sha256::digest(tls::certificate("the cluster's root", pem)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written() {
        let hash = "0123456789abcdef".repeat(4);
        let token = JoinToken::new(hash.clone(), "abcdef".into(), "0123456789abcdef".into());
        let text = token.to_string();
        assert_eq!(text, format!("K10{hash}::abcdef.0123456789abcdef"));
        assert_eq!(format!("{text}\n").parse(), Ok(token.clone()));
        assert_eq!(text.replace(&hash, &hash.to_uppercase()).parse(), Ok(token.clone()));
        assert_eq!((token.bearer().as_str(), format!("{token:?}").as_str()), ("abcdef.0123456789abcdef", "JoinToken(abcdef)"));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        assert_eq!("abcdef.0123456789abcdef".parse::<JoinToken>(), Err(ParseTokenError::NoHash));
        let hash = "0".repeat(64);
        for text in [
            "",
            "K10",
            &format!("K10{hash}::abcdef"),
            &format!("K10{hash}:abcdef.0123456789abcdef"),
            "K1000::abcdef.0123456789abcdef",
        ] {
            assert_eq!(text.parse::<JoinToken>(), Err(ParseTokenError::Form), "{text}");
        }
    }
}
