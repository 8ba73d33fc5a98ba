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
