//! Layer archives to directories for overlayfs.

mod budget;
mod entry;
pub(crate) mod root;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::blobs::{Paths, io as io_error};
use crate::digest::{Digest, Hashing};
use crate::{ImageError, Settings};

/// Unpacks a layer's blob into its directory, once.
///
/// Blocks. `diff_id` is the digest of the tar inside.
pub(crate) fn unpack(paths: &Paths, settings: &Settings, blob: &Digest, diff_id: &Digest) -> Result<(), ImageError> {
    let target = paths.layer(diff_id);
    if target.is_dir() {
        return Ok(());
    }
    let path = paths.blob(blob);
    let file = File::open(&path).map_err(io_error("open", &path))?;
    let unfinished = paths.unfinished();
    let aside = tempfile::Builder::new().prefix("layer-").tempdir_in(&unfinished).map_err(io_error("create", &unfinished))?;
    // The directory itself is the root's: what the archive says of it, or what everybody has.
    entry::open_up(aside.path()).map_err(io_error("change mode of", aside.path()))?;
    let layer = blob.to_string();
    let actual = extract(BufReader::with_capacity(1 << 17, file), aside.path(), &layer, settings)?;
    if actual != *diff_id {
        let what = format!("content of layer {layer}");
        return Err(ImageError::DigestMismatch { what, expected: diff_id.to_string(), actual: actual.to_string() });
    }
    // After a power cut the name must not be there without the content.
    let dir = File::open(aside.path()).map_err(io_error("open", aside.path()))?;
    nix::unistd::syncfs(&dir).map_err(|e| io_error("sync", aside.path())(e.into()))?;
    match std::fs::rename(aside.path(), &target) {
        Ok(()) => {
            let _ = aside.keep();
            crate::blobs::sync_dir(&paths.layers())
        }
        // Another process was first.
        Err(_) if target.is_dir() => Ok(()),
        Err(e) => Err(io_error("rename into", &target)(e)),
    }
}

/// Unpacks an archive below `into`; answers the digest of the tar.
fn extract(mut archive: impl Read, into: &Path, layer: &str, settings: &Settings) -> Result<Digest, ImageError> {
    let mut magic = Vec::with_capacity(4);
    archive.by_ref().take(4).read_to_end(&mut magic).map_err(|e| broken(layer, &e))?;
    let whole = io::Cursor::new(magic.clone()).chain(archive);
    // By content: media types are wrong often enough, and both compressions say what they are.
    let tar: Box<dyn Read> = match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::stream::read::Decoder::new(whole).map_err(|e| broken(layer, &e))?),
        _ => Box::new(whole),
    };
    // Headers and padding count too, so that a bomb of empty entries ends as well.
    let limit = settings.layer_bytes.saturating_add(settings.layer_entries.saturating_mul(512)).saturating_add(1 << 20);
    let mut tar = Hashing::new(tar.take(limit));
    entry::extract_all(&mut tar, into, layer, settings)?;
    io::copy(&mut tar, &mut io::sink()).map_err(|e| broken(layer, &e))?;
    if tar.count() >= limit {
        return Err(ImageError::TooLarge { layer: layer.to_owned(), what: "its size", limit: settings.layer_bytes });
    }
    Ok(tar.finish().1)
}

/// What a reading error says about the archive.
fn broken(layer: &str, error: &io::Error) -> ImageError {
    let why = error.to_string();
    let truncated =
        error.kind() == io::ErrorKind::UnexpectedEof || why.contains("incomplete frame") || why.contains("unexpected EOF");
    match truncated {
        true => ImageError::Truncated { what: format!("layer {layer}"), why },
        false => ImageError::Archive { layer: layer.to_owned(), why },
    }
}

#[cfg(test)]
mod tests;
