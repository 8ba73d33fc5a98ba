//! The operations of a runtime (specification, section 4).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures::future::try_join_all;
use nix::sys::statfs::{FsType, statfs};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cache::{self, Kept};
use crate::config::{self, NetworkList, Plugin};
use crate::error::CniError;
use crate::invoke::{self, Call};
use crate::runtime_config::{RuntimeConfig, told};
use crate::version::{self, Version};

/// Where configurations, plugins and what is remembered of attachments are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dirs {
    /// `None` for a node that uses no plugins.
    pub conf: Option<PathBuf>,
    pub bin: Vec<PathBuf>,
    pub cache: PathBuf,
}

/// What an attachment is known by, beside its network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttachmentId {
    /// Begins with a letter or digit, and is letters, digits, `.`, `_` and `-`.
    pub container: String,
    pub interface: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub id: AttachmentId,
    /// Where the network namespace is pinned.
    pub namespace: PathBuf,
    /// `CNI_ARGS`.
    pub args: Vec<(String, String)>,
}

/// Runs plugins. Whoever calls sees to it that calls for one container come one after the other, and that nothing is added or
/// deleted during [`Cni::collect`].
#[derive(Debug)]
pub struct Cni {
    dirs: Dirs,
}

impl Cni {
    pub fn new(dirs: Dirs) -> Self {
        Self { dirs }
    }

    pub fn dirs(&self) -> &Dirs {
        &self.dirs
    }

    /// The node's configuration; `None` where it has none.
    ///
    /// # Errors
    /// When there are files and none can be used.
    pub fn configuration(&self) -> Result<Option<NetworkList>, CniError> {
        self.dirs.conf.as_deref().map_or(Ok(None), config::first)
    }

    /// The version that all plugins of the chain speak, which are asked for it.
    ///
    /// # Errors
    /// When a plugin is not there or there is no such version.
    pub async fn agree(&self, list: &NetworkList) -> Result<Version, CniError> {
        let asked = list.plugins.iter().map(|plugin| invoke::versions(&self.dirs.bin, &plugin.kind));
        let spoken = try_join_all(asked).await?;
        version::negotiate(&list.offered, &spoken).ok_or_else(|| {
            let said = list.plugins.iter().zip(&spoken).map(|(plugin, spoken)| format!("{:?}: {}", plugin.kind, listed(spoken)));
            let why = format!("not all plugins speak {} ({})", listed(&list.offered), said.collect::<Vec<_>>().join("; "));
            CniError::Result { network: list.name.clone(), why }
        })
    }

    /// Attaches a network namespace: the plugins run one after the other, each with the result of the one before. When one
    /// fails, what the others did is taken back. Answers the last result.
    ///
    /// # Errors
    /// What the plugin said that failed.
    pub async fn add(
        &self,
        (list, version): (&NetworkList, Version),
        attachment: Attachment,
        config: &RuntimeConfig,
    ) -> Result<Value, CniError> {
        if !config::is_plain(&attachment.id.container) {
            let why = format!("{:?} cannot name a container", attachment.id.container);
            return Err(CniError::Result { network: list.name.clone(), why });
        }
        let mut kept = Kept { list: list.clone(), version, attachment, told: config.arguments(), result: None };
        cache::keep(&self.dirs.cache, &kept)?;
        match self.add_chain(&kept).await {
            Ok(result) => {
                kept.result = Some(result.clone());
                cache::keep(&self.dirs.cache, &kept)?;
                Ok(result)
            }
            Err(error) => {
                if let Err(undo) = self.delete_kept(&kept).await {
                    tracing::warn!(error = %undo, container = kept.attachment.id.container, "a failed attachment is not taken back");
                }
                Err(error)
            }
        }
    }

    async fn add_chain(&self, kept: &Kept) -> Result<Value, CniError> {
        let mut result = Value::Null;
        for plugin in &kept.list.plugins {
            let further = further(told(&kept.told, plugin), (!result.is_null()).then_some(&result));
            let answer = self.run("ADD", kept, plugin, further).await?;
            if !answer.is_object() {
                let why = format!("plugin type={:?} answered (add) with no result", plugin.kind);
                return Err(CniError::Result { network: kept.list.name.clone(), why });
            }
            result = answer;
        }
        Ok(result)
    }

    /// Takes away all attachments of a container that are known; no error when there are none.
    ///
    /// # Errors
    /// What the plugin said that failed. What is left is still known: call again.
    pub async fn delete(&self, container: &str) -> Result<(), CniError> {
        for kept in cache::all(&self.dirs.cache)?.iter().filter(|kept| kept.attachment.id.container == container) {
            self.delete_kept(kept).await?;
        }
        Ok(())
    }

    async fn delete_kept(&self, kept: &Kept) -> Result<(), CniError> {
        let result = kept.result.as_ref().filter(|_| kept.version >= Version::CHECKS);
        for plugin in kept.list.plugins.iter().rev() {
            self.run("DEL", kept, plugin, further(told(&kept.told, plugin), result)).await?;
        }
        cache::forget(&self.dirs.cache, kept)
    }

    /// Asks the plugins whether a container's attachments are as they made them.
    ///
    /// # Errors
    /// What is wrong, in the words of the first plugin that finds something.
    pub async fn check(&self, container: &str) -> Result<(), CniError> {
        for kept in cache::all(&self.dirs.cache)?.iter().filter(|kept| kept.attachment.id.container == container) {
            let Some(result) = kept.result.as_ref().filter(|_| kept.version >= Version::CHECKS && !kept.list.disable_check)
            else {
                continue;
            };
            for plugin in &kept.list.plugins {
                self.run("CHECK", kept, plugin, further(told(&kept.told, plugin), Some(result))).await?;
            }
        }
        Ok(())
    }

    /// Takes away what belongs to none of the `valid` attachments: those that are still known here, and, from version 1.1
    /// on, whatever the plugins of `list` find themselves.
    ///
    /// # Errors
    /// The first failure, after all others were tried.
    pub async fn collect(&self, list: Option<(&NetworkList, Version)>, valid: &BTreeSet<AttachmentId>) -> Result<(), CniError> {
        let mut first = Ok(());
        for kept in cache::all(&self.dirs.cache)?.iter().filter(|kept| !valid.contains(&kept.attachment.id)) {
            tracing::info!(container = kept.attachment.id.container, network = kept.list.name, "taking away a left attachment");
            first = first.and(self.delete_kept(kept).await);
        }
        let Some((list, version)) = list.filter(|(list, version)| *version >= Version::COLLECTS && !list.disable_gc) else {
            return first;
        };
        let attachments: Vec<_> = valid.iter().map(|id| json!({"containerID": id.container, "ifname": id.interface})).collect();
        for plugin in &list.plugins {
            let further = Map::from_iter([("cni.dev/valid-attachments".to_owned(), json!(attachments))]);
            first = first.and(self.ask("GC", (list, version), plugin, further).await);
        }
        first
    }

    /// Asks the plugins whether they are ready to attach containers, which only those of version 1.1 know.
    ///
    /// # Errors
    /// What the first one says that is not.
    pub async fn status(&self, (list, version): (&NetworkList, Version)) -> Result<(), CniError> {
        if version >= Version::COLLECTS {
            for plugin in &list.plugins {
                self.ask("STATUS", (list, version), plugin, Map::new()).await?;
            }
        }
        Ok(())
    }

    /// Runs a plugin for no container.
    async fn ask(
        &self,
        command: &'static str,
        (list, version): (&NetworkList, Version),
        plugin: &Plugin,
        further: Map<String, Value>,
    ) -> Result<(), CniError> {
        let input = invoke::input(plugin, &list.name, version, further);
        let call = Call { command, ..Call::default() };
        invoke::invoke(&self.dirs.bin, &plugin.kind, &call, &input).await.map(drop)
    }

    async fn run(
        &self,
        command: &'static str,
        kept: &Kept,
        plugin: &Plugin,
        further: Map<String, Value>,
    ) -> Result<Value, CniError> {
        let Attachment { id, namespace, args } = &kept.attachment;
        let args = args.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(";");
        let namespace = if is_there(namespace) { namespace.to_string_lossy() } else { "".into() };
        let call = Call { command, container: &id.container, interface: &id.interface, namespace: &namespace, args: &args };
        let input = invoke::input(plugin, &kept.list.name, kept.version, further);
        invoke::invoke(&self.dirs.bin, &plugin.kind, &call, &input).await
    }
}

/// A file that outlived a reboot is no namespace: plugins would take it for a failure.
fn is_there(namespace: &Path) -> bool {
    statfs(namespace).is_ok_and(|fs| fs.filesystem_type() == FsType(libc::NSFS_MAGIC as _))
}

fn further(told: Option<Value>, result: Option<&Value>) -> Map<String, Value> {
    let told = told.map(|told| ("runtimeConfig".to_owned(), told));
    told.into_iter().chain(result.map(|result| ("prevResult".to_owned(), result.clone()))).collect()
}

fn listed(versions: &[Version]) -> String {
    versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "runtime_tests.rs"]
mod tests;
