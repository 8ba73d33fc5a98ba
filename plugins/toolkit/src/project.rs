//! A plugin's project: a folder with `plugin.yaml`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::component::component;
use crate::error::{ToolkitError, io};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Scheduler,
    Policy,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Policy => "policy",
        }
    }

    pub(crate) fn world(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler-plugin",
            Self::Policy => "admission-policy",
        }
    }
}

/// What `plugin.yaml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    kind: Kind,
    /// Run by `sh`, one after the other, in the project's folder.
    build: Vec<String>,
    /// The core module that they make; without it they make the component, `NAME.wasm`.
    module: Option<PathBuf>,
}

pub struct Project {
    folder: PathBuf,
    manifest: Manifest,
}

impl Project {
    /// # Errors
    /// When there is no `plugin.yaml`, or it says something else.
    pub fn open(folder: &Path) -> Result<Self, ToolkitError> {
        let path = folder.join("plugin.yaml");
        if !path.exists() {
            return Err(ToolkitError::NoProject { folder: folder.to_owned() });
        }
        let text = std::fs::read_to_string(&path).map_err(io("read", &path))?;
        let manifest = serde_yaml_ng::from_str(&text).map_err(|source| ToolkitError::Yaml { path, source })?;
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// Where the component is once it is built.
    pub fn component(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", self.manifest.name))
    }

    /// The table of questions and answers.
    pub fn cases(&self) -> PathBuf {
        self.folder.join("tests.yaml")
    }

    /// Runs the build; its output goes where ours does. Answers the component's path.
    ///
    /// # Errors
    /// When a command fails, or what it made is no plugin.
    pub fn build(&self) -> Result<PathBuf, ToolkitError> {
        for command in &self.manifest.build {
            let status = Command::new("sh").args(["-c", command]).current_dir(&self.folder).status();
            let status = status.map_err(io("run sh in", &self.folder))?;
            if !status.success() {
                return Err(ToolkitError::Build { command: command.clone(), status: status.to_string() });
            }
        }
        let built = self.component();
        let made = self.manifest.module.as_ref().map_or_else(|| built.clone(), |module| self.folder.join(module));
        let bytes = std::fs::read(&made).map_err(io("read", &made))?;
        let component =
            component(bytes, Some(self.manifest.kind)).map_err(|source| ToolkitError::Component { path: made, source })?;
        std::fs::write(&built, component).map_err(io("write", &built))?;
        Ok(built)
    }
}
