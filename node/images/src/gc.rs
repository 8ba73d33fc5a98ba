//! Taking away what no image needs, and images that nobody uses.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::blobs::{Paths, io, remove_file};
use crate::load::{self, Plan};
use crate::refs::{self, Ref};
use crate::{ImageError, Removed};

/// What a collection may take.
#[derive(Clone, Debug)]
pub struct Collect {
    /// Ids of images, or digests of their manifests, that stay.
    pub in_use: BTreeSet<String>,
    /// Images go, the least recently used first, until this many bytes are free. [`u64::MAX`] takes all.
    pub bytes: u64,
    /// What was pulled or used since then stays.
    pub unused_since: SystemTime,
}

/// An image under all its names.
struct Candidate {
    references: Vec<String>,
    last_used: SystemTime,
    content: BTreeSet<PathBuf>,
    in_use: bool,
}

/// Blocks. Nothing may be on its way in.
pub(crate) fn collect(paths: &Paths, wanted: &Collect) -> Result<Removed, ImageError> {
    let mut removed = Removed::default();
    let mut images = candidates(paths, wanted)?;
    // What a removed name or a broken pull left goes first: it is nobody's.
    removed.bytes += sweep(paths, &images)?;
    // The least recently used one last, where it is taken from.
    images.sort_by_key(|image| std::cmp::Reverse(image.last_used));
    while removed.bytes < wanted.bytes {
        let unused = |image: &Candidate| !image.in_use && image.last_used <= wanted.unused_since;
        let Some(index) = images.iter().rposition(unused) else { break };
        let image = images.remove(index);
        for reference in &image.references {
            refs::remove(paths, reference)?;
        }
        removed.images.extend(image.references);
        removed.bytes += sweep(paths, &images)?;
    }
    Ok(removed)
}

fn candidates(paths: &Paths, wanted: &Collect) -> Result<Vec<Candidate>, ImageError> {
    let mut by_manifest: BTreeMap<String, Candidate> = BTreeMap::new();
    for entry in refs::list(paths) {
        let last_used = refs::last_used(paths, &entry.reference).unwrap_or(SystemTime::UNIX_EPOCH);
        let image = match by_manifest.entry(entry.manifest.to_string()) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(new) => {
                let (content, in_use) = needs(paths, &entry, wanted)?;
                new.insert(Candidate { references: Vec::new(), last_used, content, in_use })
            }
        };
        image.last_used = image.last_used.max(last_used);
        image.references.push(entry.reference);
    }
    Ok(by_manifest.into_values().collect())
}

/// The files and directories that an image needs, and whether it is in use. What cannot be read now may still be needed;
/// only an image whose documents are gone or make no sense is of no use to anybody who does not use it already.
fn needs(paths: &Paths, entry: &Ref, wanted: &Collect) -> Result<(BTreeSet<PathBuf>, bool), ImageError> {
    let in_use = wanted.in_use.contains(&entry.manifest.to_string());
    match content(paths, entry) {
        Ok((id, content)) => Ok((content, in_use || wanted.in_use.contains(&id))),
        Err(error) if in_use || is_unreadable(&error) => Err(error),
        Err(error) => {
            tracing::warn!(reference = entry.reference, %error, "image is unusable");
            Ok((BTreeSet::new(), false))
        }
    }
}

fn is_unreadable(error: &ImageError) -> bool {
    matches!(error, ImageError::Io { source, .. } if source.kind() != std::io::ErrorKind::NotFound)
}

/// The image's id, and the files and directories that it needs.
fn content(paths: &Paths, entry: &Ref) -> Result<(String, BTreeSet<PathBuf>), ImageError> {
    let manifest = load::manifest_of(paths, &entry.manifest, &entry.reference)?;
    let blobs = [&entry.manifest, &manifest.config.digest].into_iter().chain(manifest.layers.iter().map(|l| &l.digest));
    let mut content: BTreeSet<PathBuf> = blobs.map(|digest| paths.blob(digest)).collect();
    if let Plan::Layers { layers, .. } = load::plan(&entry.reference, &manifest, &paths.read(&manifest.config.digest)?)? {
        content.extend(layers.iter().map(|(_, diff_id)| paths.layer(diff_id)));
    }
    Ok((manifest.config.digest.to_string(), content))
}

/// Removes what none of the images needs; answers the bytes that went.
fn sweep(paths: &Paths, images: &[Candidate]) -> Result<u64, ImageError> {
    let mut bytes = 0;
    for dir in [paths.blobs(), paths.layers()] {
        for file in std::fs::read_dir(&dir).map_err(io("read", &dir))? {
            let path = file.map_err(io("read", &dir))?.path();
            if !images.iter().any(|image| image.content.contains(&path)) {
                bytes += remove(paths, &path)?;
            }
        }
    }
    Ok(bytes)
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
