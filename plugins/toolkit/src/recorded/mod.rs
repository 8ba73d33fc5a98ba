//! What was recorded: requests and clusters, as they stand in test tables.

mod cluster;
mod columns;
mod context;
mod pod;
mod request;

pub(crate) use cluster::Cluster;
pub(crate) use context::Objects;
pub(crate) use pod::pod;
pub(crate) use request::{Recorded, request};

use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::{ToolkitError, io};

/// Something that stands in the table, or in a file beside it (YAML or JSON).
#[derive(Clone, Debug)]
pub(crate) enum Source<T> {
    File(PathBuf),
    Inline(T),
}

/// A text names a file. What is anything else must be the thing itself, and an error says in what it is not.
impl<'de, T: DeserializeOwned> Deserialize<'de> for Source<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Value::deserialize(from)? {
            Value::String(path) => Ok(Self::File(path.into())),
            inline => T::deserialize(inline).map(Self::Inline).map_err(D::Error::custom),
        }
    }
}

impl<T: DeserializeOwned + Clone> Source<T> {
    /// # Errors
    /// When the file cannot be read, or holds something else.
    pub fn read(&self, folder: &Path) -> Result<T, ToolkitError> {
        match self {
            Self::Inline(inline) => Ok(inline.clone()),
            Self::File(path) => yaml(&folder.join(path)),
        }
    }
}

/// # Errors
/// When the file cannot be read, or holds something else.
pub(crate) fn yaml<T: DeserializeOwned>(path: &Path) -> Result<T, ToolkitError> {
    let text = std::fs::read_to_string(path).map_err(io("read", path))?;
    serde_yaml_ng::from_str(&text).map_err(|source| ToolkitError::Yaml { path: path.to_owned(), source })
}

/// Objects as a list, or as the `List` that kubectl writes.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "neither a list of objects, nor a List with items as kubectl writes it, nor the name of a file")]
pub(crate) enum Many {
    Plain(Vec<Value>),
    List { items: Vec<Value> },
}

impl Many {
    pub fn into_objects(self) -> Vec<Value> {
        match self {
            Self::Plain(objects) | Self::List { items: objects } => objects,
        }
    }
}

/// A text within an object, empty where it is not there.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The texts of a map, such as labels.
pub(crate) fn pairs(object: &Value, pointer: &str) -> Vec<(String, String)> {
    let map = object.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
    map.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
