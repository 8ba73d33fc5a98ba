//! The file (`apiserver.config.k8s.io/v1`, `EncryptionConfiguration`).

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mizzen_api::Registry;
use serde::Deserialize;

use super::key::{Cipher, Key};
use super::{Encryption, EncryptionError, Provider, Rule, aescbc, aesgcm, secretbox};

const VERSION: &str = "apiserver.config.k8s.io/v1";

/// A provider that has keys.
struct Kind {
    name: &'static str,
    /// `None` for a secret of a length that it does not have.
    cipher: fn(&[u8]) -> Option<Box<dyn Cipher>>,
    /// The lengths in bytes, in words.
    lengths: &'static str,
}

const KINDS: &[Kind] = &[
    Kind { name: "aesgcm", cipher: aesgcm::cipher, lengths: "16 or 32" },
    Kind { name: "aescbc", cipher: aescbc::cipher, lengths: "16, 24 or 32" },
    Kind { name: "secretbox", cipher: secretbox::cipher, lengths: "32" },
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    resources: Vec<Resources>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resources {
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    providers: Vec<serde_yaml_ng::Mapping>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    keys: Vec<NamedKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedKey {
    #[serde(default)]
    name: String,
    #[serde(default)]
    secret: String,
}

fn wrong<T>(field: String, why: impl Into<String>) -> Result<T, EncryptionError> {
    Err(EncryptionError { field, why: why.into() })
}

impl Encryption {
    /// # Errors
    /// Names the field that is missing or wrong.
    pub fn parse(text: &str) -> Result<Self, EncryptionError> {
        let file: File = serde_yaml_ng::from_str(text)
            .map_err(|error| EncryptionError { field: "file".to_owned(), why: error.to_string() })?;
        if file.api_version != VERSION || file.kind != "EncryptionConfiguration" {
            return wrong(
                "kind".to_owned(),
                format!("{} of {} is no EncryptionConfiguration of {VERSION}", file.kind, file.api_version),
            );
        }
        if file.resources.is_empty() {
            return wrong("resources".to_owned(), "must name at least one resource");
        }
        let registry = Registry::builtin();
        let mut seen = HashSet::new();
        let mut rules = Vec::new();
        for (index, entry) in file.resources.iter().enumerate() {
            let at = format!("resources[{index}]");
            if entry.resources.is_empty() {
                return wrong(format!("{at}.resources"), "must name at least one resource");
            }
            let mut prefixes = Vec::new();
            for (index, resource) in entry.resources.iter().enumerate() {
                let at = format!("{at}.resources[{index}]");
                if !seen.insert(resource.clone()) {
                    return wrong(at, format!("{resource:?} is named before"));
                }
                prefixes.extend(places(resource, &registry).map_or_else(|why| wrong(at, why), Ok)?);
            }
            rules.push(Rule { prefixes, providers: providers(&entry.providers, &format!("{at}.providers"))? });
        }
        Ok(Self { rules })
    }
}

/// Where in the store the objects of a resource are: `secrets`, `deployments.apps`, `*.apps`, `*.` (the core group), `*.*`.
fn places(resource: &str, registry: &Registry) -> Result<Vec<String>, String> {
    match resource.split_once('.') {
        Some(("*", "*")) => Ok(vec![String::new()]),
        Some(("*", "")) => Ok(registry.iter().filter(|kind| kind.group.is_empty()).map(|kind| kind.prefix()).collect()),
        Some(("*", group)) => Ok(vec![format!("/registry/{group}/")]),
        _ if resource.contains('*') => Err(format!("{resource:?}: use '*.' for the core group, '*.GROUP' or '*.*'")),
        _ if resource.contains('/') || resource.is_empty() => Err(format!("{resource:?} is no resource")),
        Some((name, group)) => {
            let known = registry.by_group_resource(group, name).map(|kind| kind.prefix());
            Ok(vec![known.unwrap_or_else(|| format!("/registry/{group}/{name}/"))])
        }
        None => match registry.by_group_resource("", resource) {
            Some(kind) => Ok(vec![kind.prefix()]),
            None => Err(format!("{resource:?} is no resource of the core group; others are named RESOURCE.GROUP")),
        },
    }
}

fn providers(entries: &[serde_yaml_ng::Mapping], at: &str) -> Result<Vec<Provider>, EncryptionError> {
    if entries.is_empty() {
        return wrong(at.to_owned(), "must have at least one provider");
    }
    let mut providers = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let mut fields = entry.iter();
        let (Some((kind, settings)), None) = (fields.next(), fields.next()) else {
            return wrong(at, "must have exactly one provider");
        };
        let kind = kind.as_str().unwrap_or_default();
        let at = format!("{at}.{kind}");
        match (kind, KINDS.iter().find(|known| known.name == kind)) {
            ("identity", _) => providers.push(Provider::Identity),
            (_, Some(kind)) => {
                let named: Keys = serde_yaml_ng::from_value(settings.clone())
                    .map_err(|error| EncryptionError { field: at.clone(), why: error.to_string() })?;
                providers.push(Provider::Keys(keys(kind, &named.keys, &format!("{at}.keys"))?));
            }
            ("kms", None) => return wrong(at, "is not supported; use aesgcm, aescbc or secretbox"),
            (other, None) => return wrong(at, format!("{other:?} is no provider")),
        }
    }
    Ok(providers)
}

fn keys(kind: &Kind, named: &[NamedKey], at: &str) -> Result<Vec<Key>, EncryptionError> {
    if named.is_empty() {
        return wrong(at.to_owned(), "must have at least one key");
    }
    let mut keys: Vec<Key> = Vec::new();
    for (index, NamedKey { name, secret }) in named.iter().enumerate() {
        let at = format!("{at}[{index}]");
        if name.is_empty() || name.contains(':') {
            return wrong(format!("{at}.name"), "must be given, and without a colon");
        }
        if keys.iter().any(|key| key.name == *name) {
            return wrong(format!("{at}.name"), format!("{name:?} is used before"));
        }
        // The secret is never repeated in an error.
        let Ok(secret) = STANDARD.decode(secret.trim()) else {
            return wrong(format!("{at}.secret"), "must be base64 of the key");
        };
        match (kind.cipher)(&secret) {
            Some(cipher) => keys.push(Key::new(kind.name, name, cipher)),
            None => {
                return wrong(format!("{at}.secret"), format!("is of {} bytes; {} are needed", secret.len(), kind.lengths));
            }
        }
    }
    Ok(keys)
}
