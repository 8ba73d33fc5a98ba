//! OCI image layouts: folders with `oci-layout`, `index.json` and `blobs/` (OCI image specification). Written from files,
//! read for import and push.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::archive;
use crate::blobs::io;
use crate::digest::{Digest, Hashing};
use crate::manifest::{
    CONFIG, ConfigFile, Descriptor, INDEX, Index, LAYER_GZIP, MANIFEST, Manifest, Platform, REF_NAME, RootFs, WASM_CONFIG,
    WASM_LAYER, architecture,
};
use crate::{ImageConfig, ImageError, reference};

/// Writes (or adds to) an OCI layout at `layout` with an image of one layer per root directory, the lowest first.
/// Answers the manifest's digest. `reference` is recorded as `org.opencontainers.image.ref.name`.
///
/// Owners, modes, times, hard and symbolic links are kept; sockets and devices are left out.
///
/// # Errors
/// When a file cannot be read or written.
pub fn build_container(
    layout: &Path,
    reference: Option<&str>,
    roots: &[&Path],
    config: &ImageConfig,
) -> Result<String, ImageError> {
    build_image(layout, reference, roots, config, "linux", architecture())
}

/// The same with a `.wasm` file among the files as entrypoint, for platform `wasi/wasm`.
///
/// # Errors
/// As for [`build_container`].
pub fn build_wasi_container(
    layout: &Path,
    reference: Option<&str>,
    roots: &[&Path],
    config: &ImageConfig,
) -> Result<String, ImageError> {
    build_image(layout, reference, roots, config, "wasi", "wasm")
}

fn build_image(
    layout: &Path,
    reference: Option<&str>,
    roots: &[&Path],
    config: &ImageConfig,
    os: &str,
    architecture: &str,
) -> Result<String, ImageError> {
    let writer = Writer::open(layout)?;
    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    for root in roots {
        let (layer, diff_id) = writer.layer(root)?;
        layers.push(layer);
        diff_ids.push(diff_id);
    }
    let platform = Platform { os: os.into(), architecture: architecture.into() };
    let file = ConfigFile {
        architecture: architecture.into(),
        os: os.into(),
        config: Some(config.into()),
        rootfs: RootFs { kind: "layers".into(), diff_ids },
    };
    let config = writer.json(&file, CONFIG)?;
    writer.image(reference, config, layers, platform)
}

/// The same for a Wasm module or component, in the CNCF layout: config `application/vnd.wasm.config.v0+json`, layer
/// `application/wasm`.
///
/// # Errors
/// When a file cannot be read or written, or is no Wasm.
pub fn build_wasm(layout: &Path, reference: Option<&str>, wasm: &Path) -> Result<String, ImageError> {
    let bytes = std::fs::read(wasm).map_err(io("read", wasm))?;
    if !bytes.starts_with(b"\0asm") {
        let why = format!("{} is no Wasm: it does not start with \\0asm", wasm.display());
        return Err(ImageError::Wasm { reference: reference.unwrap_or_default().to_owned(), why });
    }
    let writer = Writer::open(layout)?;
    let layer = writer.blob(&bytes, WASM_LAYER)?;
    // Byte 6 of the preamble is the layer: 0 a core module, 1 a component.
    let os = if bytes.get(6) == Some(&1) { "wasip2" } else { "wasip1" };
    let config = json!({ "architecture": "wasm", "os": os, "layerDigests": [layer.digest.to_string()] });
    let config = writer.json(&config, WASM_CONFIG)?;
    writer.image(reference, config, vec![layer], Platform { os: "wasi".into(), architecture: "wasm".into() })
}

struct Writer<'a> {
    layout: &'a Path,
    blobs: PathBuf,
}

impl<'a> Writer<'a> {
    fn open(layout: &'a Path) -> Result<Self, ImageError> {
        let blobs = layout.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).map_err(io("create", &blobs))?;
        let marker = layout.join("oci-layout");
        std::fs::write(&marker, r#"{"imageLayoutVersion":"1.0.0"}"#).map_err(io("write", &marker))?;
        Ok(Self { layout, blobs })
    }

    fn blob(&self, bytes: &[u8], media_type: &str) -> Result<Descriptor, ImageError> {
        let digest = Digest::of(bytes);
        let path = self.blobs.join(digest.hex());
        std::fs::write(&path, bytes).map_err(io("write", &path))?;
        Ok(Descriptor { media_type: media_type.into(), digest, size: bytes.len() as u64, platform: None, annotations: None })
    }

    fn json(&self, value: &impl serde::Serialize, media_type: &str) -> Result<Descriptor, ImageError> {
        let bytes = serde_json::to_vec(value).map_err(|e| io("encode", self.layout)(e.into()))?;
        self.blob(&bytes, media_type)
    }

    fn layer(&self, root: &Path) -> Result<(Descriptor, Digest), ImageError> {
        let aside = tempfile::NamedTempFile::new_in(&self.blobs).map_err(io("create a file in", &self.blobs))?;
        let file = aside.reopen().map_err(io("open", aside.path()))?;
        let compressed = GzEncoder::new(Hashing::new(BufWriter::new(file)), Compression::fast());
        let tar = archive::write(root, Hashing::new(compressed))?;
        let (compressed, diff_id, _) = tar.finish();
        let written = compressed.finish().map_err(io("write", aside.path()))?;
        let (mut file, digest, size) = written.finish();
        file.flush().map_err(io("write", aside.path()))?;
        let path = self.blobs.join(digest.hex());
        aside.persist(&path).map_err(|e| io("rename into", &path)(e.error))?;
        Ok((Descriptor { media_type: LAYER_GZIP.into(), digest, size, platform: None, annotations: None }, diff_id))
    }

    fn image(
        &self,
        reference: Option<&str>,
        config: Descriptor,
        layers: Vec<Descriptor>,
        platform: Platform,
    ) -> Result<String, ImageError> {
        let manifest = Manifest { schema_version: 2, media_type: Some(MANIFEST.into()), config, layers };
        let mut descriptor = self.json(&manifest, MANIFEST)?;
        descriptor.platform = Some(platform);
        let name = reference.map(reference::normalize).transpose()?;
        descriptor.annotations = name.as_ref().map(|name| BTreeMap::from([(REF_NAME.to_owned(), name.clone())]));
        let mut index = read_index(self.layout).unwrap_or(Index { schema_version: 2, media_type: None, manifests: Vec::new() });
        index.media_type = Some(INDEX.into());
        let digest = descriptor.digest.to_string();
        index.manifests.retain(|d| d.digest != descriptor.digest && (name.is_none() || ref_name(d) != name.as_deref()));
        index.manifests.push(descriptor);
        let path = self.layout.join("index.json");
        let text = serde_json::to_vec(&index).map_err(|e| io("encode", &path)(e.into()))?;
        std::fs::write(&path, text).map_err(io("write", &path))?;
        Ok(digest)
    }
}

fn ref_name(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations.as_ref()?.get(REF_NAME).map(String::as_str)
}

fn wrong(layout: &Path, why: impl Into<String>) -> ImageError {
    ImageError::Layout { path: layout.to_owned(), why: why.into() }
}

fn read_index(layout: &Path) -> Result<Index, ImageError> {
    let path = layout.join("index.json");
    let file = File::open(&path).map_err(|e| wrong(layout, format!("is no OCI layout folder: index.json: {e}")))?;
    serde_json::from_reader(std::io::BufReader::new(file)).map_err(|e| wrong(layout, format!("index.json: {e}")))
}

/// The folder's images with the references to know them by, normalised.
pub(crate) fn images(layout: &Path, reference: Option<&str>) -> Result<Vec<(String, Descriptor)>, ImageError> {
    if let Some(reference) = reference {
        return Ok(vec![only(layout, &reference::normalize(reference)?)?]);
    }
    let named = |d: Descriptor| match ref_name(&d) {
        // Many tools record the tag alone, which names no image.
        Some(name) if name.contains('/') => Ok((reference::normalize(name)?, d)),
        Some(tag) => Err(wrong(layout, format!("its image {tag:?} has no full reference; say one"))),
        None => Err(wrong(layout, "its image has no reference; say one")),
    };
    let index = read_index(layout)?;
    if index.manifests.is_empty() {
        return Err(wrong(layout, "has no images"));
    }
    index.manifests.into_iter().map(named).collect()
}

/// The image that has this reference, else the only one.
pub(crate) fn only(layout: &Path, reference: &str) -> Result<(String, Descriptor), ImageError> {
    let mut manifests = read_index(layout)?.manifests;
    let by_name = manifests.iter().position(|d| ref_name(d) == Some(reference));
    let found = match (by_name, manifests.len()) {
        (Some(at), _) => manifests.swap_remove(at),
        (None, 1) => manifests.swap_remove(0),
        (None, n) => return Err(wrong(layout, format!("has {n} images and none is {reference}"))),
    };
    Ok((reference.to_owned(), found))
}

/// A manifest or index of the folder, verified.
pub(crate) fn document(layout: &Path, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
    let path = layout.join("blobs/sha256").join(descriptor.digest.hex());
    let bytes = std::fs::read(&path).map_err(io("read", &path))?;
    crate::blobs::verify(&path.display().to_string(), descriptor, &Digest::of(&bytes), bytes.len() as u64)?;
    Ok(bytes)
}
