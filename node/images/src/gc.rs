//! Taking away what no image needs.

use std::collections::BTreeSet;
use std::path::Path;

use crate::blobs::{Paths, io, remove_file};
use crate::load::{self, Plan};
use crate::refs::{self, Ref};
use crate::{ImageError, Removed};

/// Names of files that stay.
#[derive(Default)]
struct Needed {
    blobs: BTreeSet<String>,
    layers: BTreeSet<String>,
}

/// Blocks. Nothing may be on its way in.
pub(crate) fn collect(paths: &Paths, in_use: &BTreeSet<String>) -> Result<Removed, ImageError> {
    let mut removed = Removed::default();
    let mut needed = Needed::default();
    for entry in refs::list(paths) {
        let id = load::manifest_of(paths, &entry.manifest, &entry.reference).map(|m| m.config.digest.to_string());
        match id {
            Ok(id) if in_use.contains(&id) => need(paths, &entry, &mut needed)?,
            _ => {
                refs::remove(paths, &entry.reference)?;
                removed.images.push(entry.reference);
            }
        }
    }
    for (dir, keep) in [(paths.blobs(), &needed.blobs), (paths.layers(), &needed.layers)] {
        for file in std::fs::read_dir(&dir).map_err(io("read", &dir))? {
            let file = file.map_err(io("read", &dir))?;
            if !file.file_name().to_str().is_some_and(|name| keep.contains(name)) {
                removed.bytes += remove(paths, &file.path())?;
            }
        }
    }
    Ok(removed)
}

fn need(paths: &Paths, entry: &Ref, needed: &mut Needed) -> Result<(), ImageError> {
    let manifest = load::manifest_of(paths, &entry.manifest, &entry.reference)?;
    let blobs = [&entry.manifest, &manifest.config.digest].into_iter().chain(manifest.layers.iter().map(|l| &l.digest));
    needed.blobs.extend(blobs.map(|d| d.hex().to_owned()));
    if let Plan::Layers { layers, .. } = load::plan(&entry.reference, &manifest, &paths.read(&manifest.config.digest)?)? {
        needed.layers.extend(layers.iter().map(|(_, diff_id)| diff_id.hex().to_owned()));
    }
    Ok(())
}

/// Answers the bytes that went.
fn remove(paths: &Paths, path: &Path) -> Result<u64, ImageError> {
    let meta = std::fs::symlink_metadata(path).map_err(io("look at", path))?;
    if !meta.is_dir() {
        remove_file(path)?;
        return Ok(meta.len());
    }
    let bytes = size(path);
    // A layer goes in one step, or a crash would leave half of one under its name.
    let grave = tempfile::tempdir_in(paths.unfinished()).map_err(io("create in", &paths.unfinished()))?;
    std::fs::rename(path, grave.path().join("layer")).map_err(io("move away", path))?;
    let place = grave.path().to_owned();
    grave.close().map_err(io("remove", &place))?;
    Ok(bytes)
}

fn size(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.map(of).sum()
}
