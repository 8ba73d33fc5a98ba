//! From stored documents to an [`Image`].

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use crate::blobs::Paths;
use crate::digest::{Digest, Hashing};
use crate::manifest::{self, ConfigFile, Descriptor, Document, Manifest, WASM_CONFIG};
use crate::refs::Ref;
use crate::unpack::root::open_file_in;
use crate::{ContainerImage, Image, ImageConfig, ImageError, ImageKind, WasmImage};

/// What must be fetched and unpacked for an image.
pub(crate) enum Plan {
    /// The blob is the module.
    Wasm(Descriptor),
    /// Layers with their diff ids, the lowest first; `wasm` when the entrypoint is a module inside.
    Layers { layers: Vec<(Descriptor, Digest)>, config: ConfigFile, wasm: bool },
}

fn is_module(layer: &Descriptor) -> bool {
    matches!(
        layer.media_type.as_str(),
        manifest::WASM_LAYER | "application/vnd.wasm.content.layer.v1+wasm" | "application/vnd.module.wasm.content.layer.v1+wasm"
    )
}

/// Decides what an image is by its documents (decision 8).
pub(crate) fn plan(reference: &str, manifest: &Manifest, config: &[u8]) -> Result<Plan, ImageError> {
    let wrong = |why: String| ImageError::Manifest { reference: reference.to_owned(), why };
    let mut modules = manifest.layers.iter().filter(|l| is_module(l));
    match (modules.next(), modules.next()) {
        (Some(module), None) => return Ok(Plan::Wasm(module.clone())),
        (Some(_), Some(_)) => return Err(wrong("it has several Wasm layers; one module or component is expected".into())),
        (None, _) if manifest.config.media_type == WASM_CONFIG => {
            return Err(wrong(format!("its config is {WASM_CONFIG} but it has no layer application/wasm")));
        }
        (None, _) => {}
    }
    let config: ConfigFile = serde_json::from_slice(config).map_err(|e| wrong(format!("its config is no image config: {e}")))?;
    let wasm = config.architecture == "wasm" || config.os == "wasi" || config.os == "wasip1";
    let here = config.os == "linux" && config.architecture == manifest::architecture();
    let silent = config.os.is_empty() && config.architecture.is_empty();
    if !(wasm || here || silent) {
        return Err(ImageError::Platform {
            reference: reference.to_owned(),
            offered: format!("{}/{}", config.os, config.architecture),
            wanted: format!("linux/{}", manifest::architecture()),
        });
    }
    let (blobs, ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if blobs != ids {
        return Err(wrong(format!("it has {blobs} layers, its config {ids} diff_ids")));
    }
    let layers = manifest.layers.iter().cloned().zip(config.rootfs.diff_ids.iter().cloned()).collect();
    Ok(Plan::Layers { layers, config, wasm })
}

pub(crate) fn manifest_of(paths: &Paths, digest: &Digest, reference: &str) -> Result<Manifest, ImageError> {
    match manifest::parse(&paths.read(digest)?) {
        Ok(Document::Manifest(manifest)) => Ok(manifest),
        Ok(Document::Index(_)) => {
            Err(ImageError::Manifest { reference: reference.to_owned(), why: "is an index in the store".into() })
        }
        Err(why) => Err(ImageError::Manifest { reference: reference.to_owned(), why }),
    }
}

/// Reads an image whose content is all here. Blocks.
pub(crate) fn load(paths: &Paths, entry: &Ref) -> Result<Image, ImageError> {
    let reference = &entry.reference;
    let manifest = manifest_of(paths, &entry.manifest, reference)?;
    let config = paths.read(&manifest.config.digest)?;
    let kind = match plan(reference, &manifest, &config)? {
        Plan::Wasm(module) => wasm_blob(paths, reference, &module, &config)?,
        Plan::Layers { layers, config, wasm } => {
            let layers: Vec<PathBuf> = layers.iter().map(|(_, diff_id)| paths.layer(diff_id)).collect();
            if let Some(missing) = layers.iter().find(|l| !l.is_dir()) {
                let why = format!("layer {} is gone from the store; pull again", missing.display());
                return Err(ImageError::NotFound { reference: reference.clone(), why });
            }
            let config = ImageConfig::from(config.config.unwrap_or_default());
            if wasm { wasm_file(reference, &layers, config)? } else { ImageKind::Container(ContainerImage { layers, config }) }
        }
    };
    Ok(Image {
        reference: reference.clone(),
        digest: entry.manifest.to_string(),
        id: manifest.config.digest.to_string(),
        size: manifest.size(),
        kind,
    })
}

fn no_wasm(reference: &str, what: &str) -> ImageError {
    let why = format!("{what} is no Wasm: it does not start with \\0asm");
    ImageError::Wasm { reference: reference.to_owned(), why }
}

fn has_magic(file: &mut File) -> bool {
    let mut magic = [0; 4];
    file.read_exact(&mut magic).is_ok() && magic == *b"\0asm"
}

fn wasm_blob(paths: &Paths, reference: &str, module: &Descriptor, config: &[u8]) -> Result<ImageKind, ImageError> {
    let path = paths.blob(&module.digest);
    let mut file = File::open(&path).map_err(crate::blobs::io("open", &path))?;
    if !has_magic(&mut file) {
        return Err(no_wasm(reference, &format!("layer {}", module.digest)));
    }
    // A Wasm config says nothing of how to run; an image config with a Wasm layer does.
    let config = serde_json::from_slice::<ConfigFile>(config).ok().and_then(|c| c.config).unwrap_or_default();
    Ok(ImageKind::Wasm(WasmImage { path, digest: module.digest.to_string(), config: config.into() }))
}

/// The module that the entrypoint names, in the uppermost layer that has it.
fn wasm_file(reference: &str, layers: &[PathBuf], config: ImageConfig) -> Result<ImageKind, ImageError> {
    let wrong = |why: String| ImageError::Wasm { reference: reference.to_owned(), why };
    let Some(program) = config.entrypoint.first().or(config.cmd.first()) else {
        return Err(wrong("it is for wasi/wasm but its config names no entrypoint".into()));
    };
    let inside = Path::new("/").join(config.working_dir.trim_start_matches('/')).join(program);
    for layer in layers.iter().rev() {
        let Ok(mut file) = open_file_in(layer, &inside) else { continue };
        if !has_magic(&mut file) {
            return Err(no_wasm(reference, &format!("its entrypoint {program}")));
        }
        let descriptor = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let path = std::fs::read_link(&descriptor).map_err(crate::blobs::io("resolve", &descriptor))?;
        let mut whole = Hashing::new(File::open(&path).map_err(crate::blobs::io("open", &path))?);
        std::io::copy(&mut whole, &mut std::io::sink()).map_err(crate::blobs::io("read", &path))?;
        let digest = whole.finish().1.to_string();
        return Ok(ImageKind::Wasm(WasmImage { path, digest, config }));
    }
    Err(wrong(format!("it is for wasi/wasm but its entrypoint {program} is in no layer")))
}
