//! The opaque token that resumes a list: the revision it is of, and the key it ended with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mizzen_api::Status;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContinueToken {
    #[serde(rename = "v")]
    version: String,
    /// Negative: whatever is newest, after the revision of an older token was forgotten.
    #[serde(rename = "rv")]
    revision: i64,
    /// The last key that was returned, below the collection's prefix.
    #[serde(rename = "start")]
    pub(crate) after: String,
}

const VERSION: &str = "meta.k8s.io/v1";

impl ContinueToken {
    pub(crate) fn new(revision: u64, after: &str) -> Self {
        Self { version: VERSION.to_owned(), revision: revision.cast_signed(), after: after.to_owned() }
    }

    /// Goes on after the same key at whatever revision is newest then.
    pub(crate) fn inconsistent(after: &str) -> Self {
        Self { version: VERSION.to_owned(), revision: -1, after: after.to_owned() }
    }

    /// `None`: the newest.
    pub(crate) fn revision(&self) -> Option<u64> {
        u64::try_from(self.revision).ok()
    }

    pub(crate) fn encode(&self) -> String {
        // A struct of strings and a number always encodes.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// # Errors
    /// `BadRequest` when the token is not one of ours.
    pub(crate) fn decode(token: &str) -> Result<Self, Status> {
        let invalid = |why: &dyn std::fmt::Display| {
            Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
        };
        let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|error| invalid(&error))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|error| invalid(&error))?;
        if token.version != VERSION {
            return Err(invalid(&format!("server does not recognize this encoded version {:?}", token.version)));
        }
        if token.revision == 0 {
            return Err(invalid(&format!("incorrect encoded start resourceVersion (version {VERSION})")));
        }
        if token.after.is_empty() {
            return Err(invalid(&format!("encoded start key empty (version {VERSION})")));
        }
        if token.after.starts_with('/') || token.after.split('/').any(|part| part == "..") {
            return Err(invalid(&format!("{:?} leaves the collection", token.after)));
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was() {
        let token = ContinueToken::new(7, "default/a");
        assert_eq!(ContinueToken::decode(&token.encode()), Ok(token));
        assert_eq!(ContinueToken::decode("%%%").map_err(|status| status.code), Err(400));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_token_of_ours_comes_back_and_stays_in_its_collection(revision in any::<u64>(), after in "[a-z./-]{0,12}") {
            let token = ContinueToken::new(revision, &after);
            let leaves = revision == 0 || after.is_empty() || after.starts_with('/') || after.split('/').any(|part| part == "..");
            match ContinueToken::decode(&token.encode()) {
                Ok(back) => prop_assert!(!leaves && back == token),
                Err(status) => prop_assert!(leaves && status.code == 400),
            }
        }

        #[test]
        fn no_text_makes_decoding_panic(text in "\\PC{0,40}", json in "[{}\":,a-z0-9.-]{0,60}") {
            let _ = ContinueToken::decode(&text);
            if let Ok(token) = ContinueToken::decode(&URL_SAFE_NO_PAD.encode(json)) {
                prop_assert_eq!(ContinueToken::decode(&token.encode()), Ok(token));
            }
        }
    }
}
