//! Encryption at rest: which documents are written encrypted, and with which keys (`EncryptionConfiguration`).

mod aescbc;
mod aesgcm;
mod config;
mod key;
mod secretbox;

use crate::seal::{MARK, Seal, SealError};

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {why}")]
pub struct EncryptionError {
    pub field: String,
    pub why: String,
}

enum Provider {
    Identity,
    Keys(Vec<key::Key>),
}

/// Documents under any of the prefixes are written by the first provider, and read by whichever wrote them.
struct Rule {
    prefixes: Vec<String>,
    providers: Vec<Provider>,
}

/// A configuration. The first rule that a key falls under holds.
pub struct Encryption {
    rules: Vec<Rule>,
}

impl Encryption {
    fn rule(&self, key: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.prefixes.iter().any(|prefix| key.starts_with(prefix.as_str())))
    }
}

impl Seal for Encryption {
    fn seal(&self, key: &str, document: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let Some(Provider::Keys(keys)) = self.rule(key).and_then(|rule| rule.providers.first()) else { return Ok(None) };
        let sealed = keys.first().map(|first| first.seal(key, document)).transpose();
        sealed.map_err(|why| SealError { operation: "encrypt", key: key.to_owned(), why })
    }

    fn is_current(&self, key: &str, written: &[u8]) -> bool {
        match self.rule(key).and_then(|rule| rule.providers.first()) {
            Some(Provider::Keys(keys)) => keys.first().is_none_or(|first| written.starts_with(&first.mark)),
            Some(Provider::Identity) | None => !written.starts_with(MARK),
        }
    }

    fn open(&self, key: &str, written: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        if !written.starts_with(MARK) {
            return Ok(None);
        }
        let failed = |why: String| SealError { operation: "decrypt", key: key.to_owned(), why };
        // A resource may have been moved to another rule since: any rule's keys will do.
        let all = self.rule(key).into_iter().chain(&self.rules).flat_map(|rule| &rule.providers);
        for provider in all {
            let Provider::Keys(keys) = provider else { continue };
            for candidate in keys {
                if let Some(sealed) = written.strip_prefix(&candidate.mark[..]) {
                    return candidate.open(key, sealed).map(Some).map_err(failed);
                }
            }
        }
        let mut parts = written[MARK.len()..].splitn(4, |byte| *byte == b':').map(String::from_utf8_lossy);
        let (provider, _, name) = (parts.next(), parts.next(), parts.next());
        Err(failed(format!(
            "it was written by the provider {} with the key {:?}, which the configuration does not have",
            provider.unwrap_or_default(),
            name.unwrap_or_default()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "{name: new, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}";
    const OLD: &str = "{name: old, secret: ZmVkY2JhOTg3NjU0MzIxMA==}";
    const SECRET: &str = "/registry//secrets/default/s";

    fn file(resources: &str, providers: &str) -> String {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [{resources}]\n  \
             providers: [{providers}]\n"
        )
    }

    fn encryption(resources: &str, providers: &str) -> Encryption {
        Encryption::parse(&file(resources, providers)).expect("a configuration")
    }

    fn aesgcm(keys: &str) -> String {
        format!("{{aesgcm: {{keys: [{keys}]}}}}")
    }

    #[test]
    fn what_is_sealed_is_opened_and_shows_nothing() {
        let encryption = encryption("secrets", &aesgcm(NEW));
        let sealed = encryption.seal(SECRET, b"plain text").expect("seals").expect("is encrypted");
        assert!(sealed.starts_with(b"k8s:enc:aesgcm:v1:new:"));
        assert!(!sealed.windows(5).any(|part| part == b"plain"));
        assert_ne!(encryption.seal(SECRET, b"plain text").expect("seals").expect("is encrypted"), sealed);
        assert_eq!(encryption.open(SECRET, &sealed).expect("opens").as_deref(), Some(&b"plain text"[..]));
        // In another's place it is nothing.
        assert!(encryption.open("/registry//secrets/default/other", &sealed).is_err());
        let mut changed = sealed;
        *changed.last_mut().expect("is long") ^= 1;
        assert!(encryption.open(SECRET, &changed).is_err());
    }

    #[test]
    fn every_provider_marks_what_it_writes_and_reads_it_again() {
        let providers =
            |names: &[&str]| names.iter().map(|name| format!("{{{name}: {{keys: [{NEW}]}}}}")).collect::<Vec<_>>().join(", ");
        let all = ["aescbc", "secretbox", "aesgcm"];
        for name in all {
            let writes = encryption("secrets", &providers(&[name]));
            let sealed = writes.seal(SECRET, b"plain text").expect("seals").expect("is encrypted");
            assert!(sealed.starts_with(format!("k8s:enc:{name}:v1:new:").as_bytes()), "{name}");
            assert!(!sealed.windows(5).any(|part| part == b"plain"), "{name}");
            assert_ne!(writes.seal(SECRET, b"plain text").expect("seals").expect("is encrypted"), sealed, "{name}");
            // Who has the key further down reads it, and would write it in another way.
            let reads = encryption("secrets", &format!("{{identity: {{}}}}, {}", providers(&all)));
            assert_eq!(reads.open(SECRET, &sealed).expect("opens").as_deref(), Some(&b"plain text"[..]), "{name}");
            assert!(writes.is_current(SECRET, &sealed) && !reads.is_current(SECRET, &sealed), "{name}");
            for length in 0..sealed.len() {
                assert!(length < 20 || writes.open(SECRET, &sealed[..length]).is_err(), "{name}, {length} bytes");
            }
        }
        // Only what is authenticated is known to be changed.
        for name in ["secretbox", "aesgcm"] {
            let encryption = encryption("secrets", &providers(&[name]));
            let mut changed = encryption.seal(SECRET, b"plain text").expect("seals").expect("is encrypted");
            *changed.last_mut().expect("is long") ^= 1;
            assert!(encryption.open(SECRET, &changed).is_err(), "{name}");
        }
    }

    #[test]
    fn keys_are_rotated() {
        let (old, both) = (encryption("secrets", &aesgcm(OLD)), encryption("secrets", &aesgcm(&format!("{NEW}, {OLD}"))));
        let sealed = old.seal(SECRET, b"x").expect("seals").expect("is encrypted");
        assert_eq!(both.open(SECRET, &sealed).expect("opens").as_deref(), Some(&b"x"[..]));
        let again = both.seal(SECRET, b"x").expect("seals").expect("is encrypted");
        assert!(again.starts_with(b"k8s:enc:aesgcm:v1:new:"));
        assert!(both.is_current(SECRET, &again) && !both.is_current(SECRET, &sealed) && !both.is_current(SECRET, b"{}"));
        let error = old.open(SECRET, &again).expect_err("has no such key").to_string();
        assert!(error.contains(SECRET) && error.contains("\"new\""), "{error}");
        // Back to plain text: written as it is, what is encrypted stays readable.
        let identity = encryption("secrets", &format!("{{identity: {{}}}}, {}", aesgcm(NEW)));
        assert_eq!(identity.seal(SECRET, b"x").expect("writes"), None);
        assert_eq!(identity.open(SECRET, &again).expect("opens").as_deref(), Some(&b"x"[..]));
        assert_eq!(both.open(SECRET, b"{}").expect("is plain"), None);
    }

    #[test]
    fn resources_are_named_alone_by_group_and_all() {
        let rows = [
            ("secrets", "/registry//secrets/a/b", true),
            ("secrets", "/registry//configmaps/a/b", false),
            ("deployments.apps", "/registry/apps/deployments/a/b", true),
            ("deployments.apps", "/registry/apps/replicasets/a/b", false),
            ("'*.apps'", "/registry/apps/replicasets/a/b", true),
            ("'*.'", "/registry//pods/a/b", true),
            ("'*.'", "/registry/apps/replicasets/a/b", false),
            ("'*.*'", "/registry/apps/replicasets/a/b", true),
            ("bears.example.com", "/registry/example.com/bears/a/b", true),
        ];
        for (resources, key, encrypted) in rows {
            let sealed = encryption(resources, &aesgcm(NEW)).seal(key, b"x").expect("seals");
            assert_eq!(sealed.is_some(), encrypted, "{resources} {key}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let short = "{name: k, secret: YWJj}";
        let rows = [
            (file("secrets", ""), "resources[0].providers: must have"),
            (file("", &aesgcm(NEW)), "resources[0].resources: must name"),
            (file("'*'", &aesgcm(NEW)), "resources[0].resources[0]: \"*\""),
            (file("nonsense", &aesgcm(NEW)), "resources[0].resources[0]: \"nonsense\" is no resource"),
            (file("secrets, secrets", &aesgcm(NEW)), "resources[0].resources[1]: \"secrets\" is named before"),
            (file("secrets", &aesgcm("")), "resources[0].providers[0].aesgcm.keys: must have"),
            (file("secrets", &aesgcm(short)), "resources[0].providers[0].aesgcm.keys[0].secret: is of 3 bytes"),
            (
                file("secrets", &aesgcm("{name: k, secret: '?'}")),
                "resources[0].providers[0].aesgcm.keys[0].secret: must be base64",
            ),
            (
                file("secrets", &aesgcm(&format!("{NEW}, {NEW}"))),
                "resources[0].providers[0].aesgcm.keys[1].name: \"new\" is used",
            ),
            (file("secrets", "{aescbc: {keys: []}}"), "resources[0].providers[0].aescbc.keys: must have"),
            (
                file("secrets", &format!("{{secretbox: {{keys: [{OLD}]}}}}")),
                "resources[0].providers[0].secretbox.keys[0].secret: is of 16 bytes; 32 are needed",
            ),
            (file("secrets", "{kms: {apiVersion: v2}}"), "resources[0].providers[0].kms: is not supported"),
            (file("secrets", "{rot13: {}}"), "resources[0].providers[0].rot13: \"rot13\" is no provider"),
            ("apiVersion: v1\nkind: EncryptionConfiguration\n".to_owned(), "kind: "),
        ];
        for (text, says) in rows {
            let error = Encryption::parse(&text).err().expect("is wrong").to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
