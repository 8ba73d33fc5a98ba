//! Keys that sign plugins.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mizzen_images::signature::SigningKey;

use crate::cluster::data_dir::write_private;

pub(super) fn read(path: &Path) -> anyhow::Result<SigningKey> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    SigningKey::from_pem(&text).with_context(|| path.display().to_string())
}

/// Writes a new pair, and says where.
pub(super) fn generate(name: &str) -> anyhow::Result<()> {
    let (private, public) = (PathBuf::from(format!("{name}.key")), PathBuf::from(format!("{name}.pub")));
    for path in [&private, &public] {
        anyhow::ensure!(!path.exists(), "{} is there already", path.display());
    }
    let (key, text) = SigningKey::generate()?;
    write_private(&private, text.as_bytes())?;
    std::fs::write(&public, key.public().to_pem()).with_context(|| format!("write {}", public.display()))?;
    println!("{}\n{}", private.display(), public.display());
    Ok(())
}
