//! New projects. The files stand in `guest-sdk`, and within this executable.

use std::path::Path;

use serde::Deserialize;

use crate::error::{ToolkitError, io};
use crate::project::Kind;

mod files;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Rust,
    JavaScript,
    Python,
    Go,
    C,
}

/// A file of a project, and what stands in it.
pub(crate) type File = (&'static str, &'static str);

/// The contract of a kind: the packages that it is made of, the world's last.
pub(crate) fn wit(kind: Kind) -> [File; 2] {
    let own = match kind {
        Kind::Scheduler => ("scheduler.wit", include_str!("../../wit/scheduler/scheduler.wit")),
        Kind::Policy => ("policy.wit", include_str!("../../wit/policy/policy.wit")),
    };
    [("plugin.wit", include_str!("../../wit/plugin/plugin.wit")), own]
}

/// Begins a project in a new folder.
///
/// # Errors
/// When the name is none, the folder is there already or cannot be written.
pub fn new(folder: &Path, name: &str, kind: Kind, language: Language) -> Result<(), ToolkitError> {
    let proper = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(proper) || name.len() > 63 {
        return Err(ToolkitError::Name { name: name.to_owned() });
    }
    if folder.exists() {
        return Err(ToolkitError::Exists { path: folder.to_owned() });
    }
    let [plugin, own] = wit(kind);
    // Rust's macros read the contract in the crate of the SDK.
    let root = if language == Language::Rust { format!("sdk/{}/wit", kind.name()) } else { "wit".to_owned() };
    let cases = match kind {
        Kind::Policy => include_str!("../../../guest-sdk/template/policy.yaml"),
        Kind::Scheduler => include_str!("../../../guest-sdk/template/scheduler.yaml"),
    };
    let mut files = vec![
        (format!("{root}/deps/plugin/{}", plugin.0), plugin.1),
        (format!("{root}/{}", own.0), own.1),
        ("tests.yaml".to_owned(), cases),
    ];
    files.extend(files::of(kind, language).iter().map(|(path, text)| ((*path).to_owned(), *text)));
    for (path, text) in files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(io("create", parent))?;
        let text = text.replace("{{name}}", name).replace("{{snake}}", &name.replace('-', "_"));
        let text = text.replace("{{kind}}", kind.name()).replace("{{world}}", kind.world());
        std::fs::write(&path, text).map_err(io("write", &path))?;
    }
    Ok(())
}
