//! The executables that stand beside `mizzen`.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ExecutableError {
    #[error("cannot tell where mizzen itself is: {0}")]
    Own(#[source] std::io::Error),
    #[error("{name} is not beside mizzen (looked for {})", path.display())]
    Missing { name: &'static str, path: PathBuf },
}

/// Where `name` stands, beside the running `mizzen`.
///
/// # Errors
/// When it is not there.
pub fn beside(name: &'static str) -> Result<PathBuf, ExecutableError> {
    let path = std::env::current_exe().map_err(ExecutableError::Own)?.with_file_name(name);
    if path.is_file() { Ok(path) } else { Err(ExecutableError::Missing { name, path }) }
}

/// What a person on this machine asks a cluster with: kubectl, or mizzen itself where there is none.
pub fn client() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_kubectl = std::env::split_paths(&path).any(|folder| folder.join("kubectl").is_file());
    let own = || std::env::current_exe().map_or_else(|_| "mizzen".to_owned(), |own| own.display().to_string());
    if has_kubectl { "kubectl".to_owned() } else { own() }
}
