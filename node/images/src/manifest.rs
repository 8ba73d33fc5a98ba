//! The documents of the OCI image specification, as far as they are used here.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::registry::Registry;
use crate::{Credentials, ImageConfig, ImageError, Settings, reference};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
pub(crate) const WASM_LAYER: &str = "application/wasm";
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

impl Manifest {
    pub(crate) fn size(&self) -> u64 {
        self.layers.iter().fold(self.config.size, |sum, layer| sum.saturating_add(layer.size))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
}

/// What a manifest document turned out to be.
#[derive(Debug)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// The manifest or index that a reference leads to, as it stands in its registry, and its digest.
///
/// # Errors
/// When it cannot be had.
pub async fn fetch(reference: &str, credentials: &Credentials) -> Result<(String, Bytes), ImageError> {
    let settings = Settings { attempts: 2, ..Settings::default() };
    let bytes = Registry::new(reference::parse(reference)?, credentials, &settings).manifest(None).await?;
    Ok((Digest::of(&bytes).to_string(), bytes))
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Document, String> {
    #[derive(Deserialize)]
    struct Head {
        manifests: Option<serde::de::IgnoredAny>,
    }
    let wrong = |e: serde_json::Error| format!("is no OCI manifest: {e}");
    let head: Head = serde_json::from_slice(bytes).map_err(wrong)?;
    match head.manifests {
        Some(_) => serde_json::from_slice(bytes).map(Document::Index).map_err(wrong),
        None => serde_json::from_slice(bytes).map(Document::Manifest).map_err(wrong),
    }
}

/// The architecture as OCI (Go) names this machine's.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// This machine's, else Wasm, else one that says nothing (as layout folders with one image have it).
pub(crate) fn choose(index: &Index) -> Option<&Descriptor> {
    let is = |d: &&Descriptor, os: &str, architecture: &str| {
        d.platform.as_ref().is_some_and(|p| p.os == os && p.architecture == architecture)
    };
    let find = |os, architecture| index.manifests.iter().find(|d| is(d, os, architecture));
    let silent = || match index.manifests.as_slice() {
        [only] => only.platform.is_none().then_some(only),
        _ => None,
    };
    find("linux", architecture()).or_else(|| find("wasi", "wasm")).or_else(|| find("wasip1", "wasm")).or_else(silent)
}

pub(crate) fn platforms(index: &Index) -> String {
    let name = |d: &Descriptor| d.platform.as_ref().map(|p| format!("{}/{}", p.os, p.architecture)).unwrap_or("unknown".into());
    index.manifests.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// The config of a container image.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) config: Option<Execution>,
    #[serde(default)]
    pub(crate) rootfs: RootFs,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) diff_ids: Vec<Digest>,
}

/// Absent and `null` are the same for every tool that writes these.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Execution {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) env: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) working_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

impl From<Execution> for ImageConfig {
    fn from(e: Execution) -> Self {
        Self {
            entrypoint: e.entrypoint.unwrap_or_default(),
            cmd: e.cmd.unwrap_or_default(),
            env: e.env.unwrap_or_default(),
            working_dir: e.working_dir.unwrap_or_default(),
            user: e.user.unwrap_or_default(),
            stop_signal: e.stop_signal.unwrap_or_default(),
            labels: e.labels.unwrap_or_default(),
        }
    }
}

impl From<&ImageConfig> for Execution {
    fn from(c: &ImageConfig) -> Self {
        let text = |s: &String| (!s.is_empty()).then(|| s.clone());
        let list = |v: &Vec<String>| (!v.is_empty()).then(|| v.clone());
        Self {
            entrypoint: list(&c.entrypoint),
            cmd: list(&c.cmd),
            env: list(&c.env),
            working_dir: text(&c.working_dir),
            user: text(&c.user),
            stop_signal: text(&c.stop_signal),
            labels: (!c.labels.is_empty()).then(|| c.labels.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[Option<(&str, &str)>]) -> Index {
        let descriptor = |(i, p): (usize, &Option<(&str, &str)>)| Descriptor {
            media_type: MANIFEST.into(),
            digest: Digest::of(&[i as u8]),
            size: 1,
            platform: p.map(|(os, architecture)| Platform { os: os.into(), architecture: architecture.into() }),
            annotations: None,
        };
        Index { schema_version: 2, media_type: None, manifests: platforms.iter().enumerate().map(descriptor).collect() }
    }

    fn chosen(platforms: &[Option<(&str, &str)>]) -> Option<usize> {
        let index = index(platforms);
        let digest = choose(&index)?.digest.clone();
        index.manifests.iter().position(|d| d.digest == digest)
    }

    #[test]
    fn this_machines_platform_is_chosen_before_wasm_and_wasm_before_nothing() {
        let here = Some(("linux", architecture()));
        assert_eq!(chosen(&[Some(("wasi", "wasm")), Some(("linux", "s390x")), here]), Some(2));
        assert_eq!(chosen(&[Some(("linux", "s390x")), Some(("wasi", "wasm"))]), Some(1));
        assert_eq!(chosen(&[Some(("linux", "s390x"))]), None);
        assert_eq!(chosen(&[None]), Some(0));
        assert_eq!(chosen(&[None, None]), None);
    }

    #[test]
    fn a_document_with_a_foreign_digest_algorithm_is_no_manifest() {
        let text = r#"{"schemaVersion":2,"config":{"digest":"sha512:00","size":1},"layers":[]}"#;
        assert!(parse(text.as_bytes()).unwrap_err().contains("sha512:00"));
    }
}
