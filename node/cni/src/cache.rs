//! What attachments were made with, a file for each: the layout of libcni, so that other tools read it.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::NetworkList;
use crate::error::{CniError, io};
use crate::runtime::{Attachment, AttachmentId};
use crate::version::Version;

const KIND: &str = "cniCacheV1";

/// An attachment, as it was made, or as it was to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) list: NetworkList,
    pub(crate) version: Version,
    pub(crate) attachment: Attachment,
    /// What the plugins are told of the pod.
    pub(crate) told: Map<String, Value>,
    /// `None` while plugins are at work, and after they were broken off.
    pub(crate) result: Option<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    kind: String,
    container_id: String,
    /// In base64.
    config: String,
    if_name: String,
    network_name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cni_args: Vec<[String; 2]>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    capability_args: Map<String, Value>,
    #[serde(default)]
    netns: String,
    result: Option<Value>,
}

fn path(dir: &Path, network: &str, id: &AttachmentId) -> PathBuf {
    dir.join("results").join(format!("{network}-{}-{}", id.container, id.interface))
}

/// Written aside and renamed: a reader finds all of it or nothing.
pub(crate) fn keep(dir: &Path, kept: &Kept) -> Result<(), CniError> {
    let path = path(dir, &kept.list.name, &kept.attachment.id);
    let folder = dir.join("results");
    std::fs::create_dir_all(&folder).map_err(io("create", &folder))?;
    let mut config = kept.list.raw.clone();
    // The one that was agreed on.
    config["cniVersion"] = kept.version.to_string().into();
    let stored = Stored {
        kind: KIND.to_owned(),
        container_id: kept.attachment.id.container.clone(),
        config: BASE64_STANDARD.encode(config.to_string()),
        if_name: kept.attachment.id.interface.clone(),
        network_name: kept.list.name.clone(),
        cni_args: kept.attachment.args.iter().map(|(key, value)| [key.clone(), value.clone()]).collect(),
        capability_args: kept.told.clone(),
        netns: kept.attachment.namespace.display().to_string(),
        result: kept.result.clone(),
    };
    let text = serde_json::to_vec(&stored).map_err(|source| CniError::Kept { path: path.clone(), source })?;
    // A name that is no container's: it would be read as one otherwise.
    let aside = folder.join(format!(".{}-{}.tmp", kept.attachment.id.container, kept.attachment.id.interface));
    std::fs::write(&aside, text).map_err(io("write", &aside))?;
    std::fs::rename(&aside, &path).map_err(io("replace", &path))
}

pub(crate) fn forget(dir: &Path, kept: &Kept) -> Result<(), CniError> {
    let path = path(dir, &kept.list.name, &kept.attachment.id);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Every attachment that is kept; what cannot be read is logged and left out.
pub(crate) fn all(dir: &Path) -> Result<Vec<Kept>, CniError> {
    let folder = dir.join("results");
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(io("read", &folder))?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(io("read", &folder))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        match read(&path) {
            Ok(kept) => all.push(kept),
            Err(error) => tracing::warn!(%error, "an attachment is left as it is"),
        }
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Kept, CniError> {
    let text = std::fs::read(path).map_err(io("read", path))?;
    let stored: Stored = serde_json::from_slice(&text).map_err(|source| CniError::Kept { path: path.to_owned(), source })?;
    let wrong = |why: String| CniError::Configuration { path: path.to_owned(), why };
    let config = BASE64_STANDARD.decode(&stored.config).map_err(|error| wrong(error.to_string()))?;
    let list = NetworkList::parse(&config).map_err(wrong)?;
    let version = list.offered.first().copied().unwrap_or(Version::NEWEST);
    Ok(Kept {
        version,
        attachment: Attachment {
            id: AttachmentId { container: stored.container_id, interface: stored.if_name },
            namespace: stored.netns.into(),
            args: stored.cni_args.into_iter().map(|[key, value]| (key, value)).collect(),
        },
        told: stored.capability_args,
        result: stored.result,
        list,
    })
}
