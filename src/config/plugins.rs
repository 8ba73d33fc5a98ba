//! What of the configuration is about plugins: whose are put to work.

use std::path::Path;

use mizzen_images::signature::PublicKey;
use mizzen_plugin_loader::Trust;
use serde::Deserialize;

use super::ConfigError;

const KEYS: &str = "plugins.signatures.keys";

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Plugins {
    signatures: Signatures,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Signatures {
    /// Whether what none of the keys signed is refused; so it is when there are keys, unless this says `false`.
    required: Option<bool>,
    /// Public keys: files, or the text itself.
    keys: Vec<String>,
}

impl Plugins {
    /// # Errors
    /// Names the key that cannot be used.
    pub(super) fn trust(self) -> Result<Trust, ConfigError> {
        let Signatures { required, keys } = self.signatures;
        let keys = keys.iter().map(|key| read(key)).collect::<Result<Vec<_>, _>>()?.concat();
        let required = required.unwrap_or(!keys.is_empty());
        if required && keys.is_empty() {
            let why = "is empty: without a key no signature can be verified, and nothing would be loaded".to_owned();
            return Err(ConfigError::Invalid { field: KEYS, why });
        }
        Ok(Trust { keys, required })
    }
}

fn read(key: &str) -> Result<Vec<PublicKey>, ConfigError> {
    let invalid = |why: String| ConfigError::Invalid { field: KEYS, why };
    let (name, text) = if key.contains("-----BEGIN") {
        ("its text".to_owned(), key.to_owned())
    } else {
        let text = std::fs::read_to_string(Path::new(key)).map_err(|error| invalid(format!("read {key}: {error}")))?;
        (key.to_owned(), text)
    };
    PublicKey::all_from_pem(&text).map_err(|error| invalid(format!("{name}: {error}")))
}

#[cfg(test)]
mod tests {
    use mizzen_images::signature::SigningKey;

    use super::*;

    fn trust(text: &str) -> Result<Trust, String> {
        let plugins: Plugins = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        plugins.trust().map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_files_or_texts_and_make_signatures_required() {
        let key = SigningKey::generate().expect("makes").0.public();
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), key.to_pem()).expect("writes");
        let path = file.path().display();
        assert_eq!(trust("{}"), Ok(Trust::default()));
        assert_eq!(trust(&format!("signatures: {{keys: [{path}]}}")), Ok(Trust { keys: vec![key.clone()], required: true }));
        let text = key.to_pem().replace('\n', "\n    ");
        let inline = format!("signatures:\n  required: false\n  keys:\n  - |\n    {text}\n");
        assert_eq!(trust(&inline), Ok(Trust { keys: vec![key], required: false }));
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named() {
        for (text, wanted) in [
            ("signatures: {required: true}", "plugins.signatures.keys: is empty"),
            ("signatures: {keys: [/nowhere.pub]}", "plugins.signatures.keys: read /nowhere.pub"),
            ("signatures: {keys: ['-----BEGIN NOTHING-----']}", "plugins.signatures.keys: its text: no public key"),
            ("signatures: {policy: strict}", "unknown field `policy`"),
        ] {
            let error = trust(text).expect_err("is wrong");
            assert!(error.contains(wanted), "{error}");
        }
    }
}
