//! Whose components are put to work, and the signatures that were found.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mizzen_images::signature::{PublicKey, Signed, Unverified, verify};

use crate::fetch::Component;

/// What the cluster's configuration says of signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    pub keys: Vec<PublicKey>,
    /// Whether what none of the keys signed is left out.
    pub required: bool,
}

/// Signatures on disk, by the manifests that they are of: they are verified anew whenever a component is taken up, so that a
/// key that is not trusted any more counts for nothing, and no registry is needed.
pub(crate) struct Signatures {
    folder: PathBuf,
    trust: Trust,
}

impl Signatures {
    pub(crate) fn open(folder: PathBuf, trust: Trust) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, trust })
    }

    /// Whether anybody wants to know.
    pub(crate) fn matter(&self) -> bool {
        !self.trust.keys.is_empty()
    }

    /// Whether nothing is taken that nobody signed.
    pub(crate) fn are_required(&self) -> bool {
        self.trust.required
    }

    /// The component with its signer.
    ///
    /// # Errors
    /// When nobody who is trusted signed it, and somebody must have.
    pub(crate) fn judge(&self, component: Component) -> Result<Component, Unverified> {
        if !self.matter() && !self.trust.required {
            return Ok(component);
        }
        match verify(&self.read(&component.manifest), &component.manifest, &self.trust.keys) {
            Ok(key) => Ok(Component { signer: Some(key.id()), ..component }),
            Err(why) if self.trust.required => Err(why),
            Err(_) => Ok(component),
        }
    }

    fn path(&self, manifest: &str) -> PathBuf {
        self.folder.join(format!("{}.json", manifest.replace([':', '/'], "-")))
    }

    fn read(&self, manifest: &str) -> Vec<Signed> {
        let read = || serde_json::from_slice(&std::fs::read(self.path(manifest)).ok()?).ok();
        read().unwrap_or_default()
    }

    /// In place of those that were found before.
    pub(crate) fn write(&self, manifest: &str, signed: &[Signed]) -> std::io::Result<()> {
        let path = self.path(manifest);
        let aside = path.with_extension("new");
        std::fs::write(&aside, serde_json::to_vec(signed)?)?;
        std::fs::rename(&aside, &path)
    }

    /// Forgets what was found before a moment, save of these manifests.
    pub(crate) fn keep_only(&self, manifests: &[String], before: SystemTime) {
        let kept: Vec<PathBuf> = manifests.iter().map(|manifest| self.path(manifest)).collect();
        let is_old = |path: &Path| path.metadata().and_then(|file| file.modified()).is_ok_and(|written| written < before);
        let files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in files.filter(|path| !kept.contains(path) && is_old(path)) {
            // The next time will do.
            let _ = std::fs::remove_file(path);
        }
    }
}
