//! Where signatures lie in a registry.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::Reference;
use serde_json::json;

use super::{Form, Signed, SigningKey, bundle, payload};
use crate::blobs::io;
use crate::digest::Digest;
use crate::manifest::{self, CONFIG, Descriptor, Document, MANIFEST, Manifest};
use crate::registry::Registry;
use crate::store::ImageStore;
use crate::{Credentials, Image, ImageError, Settings, reference};

const LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// Bytes of a payload, or of a bundle.
const LONGEST: u64 = 256 << 10;
/// Signatures of one image that are looked at, and artifacts that refer to it.
const MOST: usize = 64;

impl ImageStore {
    /// The signatures of an image that was pulled, from its registry; none is no error.
    ///
    /// # Errors
    /// When the registry does not answer, or answers nonsense.
    pub async fn signatures(&self, image: &Image, credentials: &Credentials) -> Result<Vec<Signed>, ImageError> {
        let registry = Registry::new(beside(&reference::parse(&image.reference)?, &image.digest), credentials, &self.settings);
        let mut signed = Vec::new();
        for layer in layers(&registry).await? {
            signed.extend(read(&registry, &layer).await?);
        }
        for artifact in registry.referrers(&image.digest).await?.iter().take(MOST) {
            match of_artifact(&registry, artifact).await {
                Ok(found) => signed.extend(found),
                // Whoever may push can leave rubbish there: it does not count against the image.
                Err(ImageError::Manifest { .. } | ImageError::NotFound { .. } | ImageError::DigestMismatch { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        signed.truncate(MOST);
        Ok(signed)
    }
}

/// The signatures in an artifact that refers to an image.
async fn of_artifact(registry: &Registry, artifact: &Digest) -> Result<Vec<Signed>, ImageError> {
    let Document::Manifest(manifest) = parsed(registry, Some(artifact)).await? else { return Ok(Vec::new()) };
    let mut signed = Vec::new();
    for layer in manifest.layers.iter().take(MOST) {
        signed.extend(read(registry, layer).await?);
    }
    Ok(signed)
}

/// What a layer holds of signatures; most hold something else.
async fn read(registry: &Registry, layer: &Descriptor) -> Result<Vec<Signed>, ImageError> {
    let is_bundle = layer.media_type.starts_with(bundle::MEDIA_TYPE);
    if layer.size > LONGEST || !is_bundle && signature(layer).is_none() {
        return Ok(Vec::new());
    }
    let bytes = registry.small_blob(layer).await?;
    if is_bundle {
        return Ok(bundle::signed(&bytes));
    }
    let signed = |signature: &str| {
        Some(Signed { payload: String::from_utf8(bytes).ok()?, signature: signature.to_owned(), form: Form::Simple })
    };
    Ok(signature(layer).and_then(signed).into_iter().collect())
}

/// Signs the image with this digest and adds the signature to those that lie beside it. Answers where they are.
///
/// # Errors
/// When it cannot be signed, or the registry does not take it.
pub async fn push_signature(
    target: &str,
    digest: &str,
    key: &SigningKey,
    credentials: &Credentials,
) -> Result<String, ImageError> {
    let image = reference::parse(target)?;
    let failed = |why: String| ImageError::Signature { reference: image.whole(), why };
    let beside = beside(&image, digest);
    let name = format!("{}/{}", image.registry(), image.repository());
    let signed = Signed::new(payload::of(&name, digest), key).map_err(|error| failed(error.to_string()))?;
    let registry = Registry::new(beside.clone(), credentials, &Settings::default());
    let mut layers = layers(&registry).await?;
    // Each time it signs, a key gives another signature of the same.
    layers.retain(|layer| {
        let text = signature(layer).and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        layer.digest != Digest::of(signed.payload.as_bytes()) || !key.public().has_signed(signed.payload.as_bytes(), &text)
    });
    let payload = signed.payload.into_bytes();
    let annotations = BTreeMap::from([(ANNOTATION.to_owned(), signed.signature)]);
    let layer = Descriptor { annotations: Some(annotations), ..descriptor(&payload, LAYER) };
    layers.push(layer.clone());
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.digest).collect();
    let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
    let config = json!({"architecture": "", "os": "", "config": {}, "rootfs": rootfs}).to_string().into_bytes();
    let folder = tempfile::tempdir().map_err(io("create a folder in", &std::env::temp_dir()))?;
    let send = async |blob: &Descriptor, bytes: &[u8]| {
        let file = folder.path().join(blob.digest.hex());
        std::fs::write(&file, bytes).map_err(io("write", &file))?;
        registry.push_blob(&file, blob, None).await
    };
    send(&layer, &payload).await?;
    let described = descriptor(&config, CONFIG);
    send(&described, &config).await?;
    let manifest = Manifest { schema_version: 2, media_type: Some(MANIFEST.into()), config: described, layers };
    let manifest = serde_json::to_vec(&manifest).map_err(|error| failed(error.to_string()))?;
    registry.push_manifest(manifest.into(), MANIFEST).await?;
    Ok(beside.whole())
}

/// Where cosign looks for the signatures of an image.
fn beside(image: &Reference, digest: &str) -> Reference {
    let tag = format!("{}.sig", digest.replace(':', "-"));
    Reference::with_tag(image.registry().to_owned(), image.repository().to_owned(), tag)
}

/// Those with signatures that are there.
async fn layers(registry: &Registry) -> Result<Vec<Descriptor>, ImageError> {
    match parsed(registry, None).await {
        Ok(Document::Manifest(manifest)) => {
            Ok(manifest.layers.into_iter().filter(|layer| signature(layer).is_some()).take(MOST).collect())
        }
        Ok(Document::Index(_)) => {
            let why = "is an index and not signatures".to_owned();
            Err(ImageError::Manifest { reference: registry.reference.whole(), why })
        }
        Err(ImageError::NotFound { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn parsed(registry: &Registry, digest: Option<&Digest>) -> Result<Document, ImageError> {
    let document = registry.manifest(digest).await?;
    manifest::parse(&document).map_err(|why| ImageError::Manifest { reference: registry.reference.whole(), why })
}

fn signature(layer: &Descriptor) -> Option<&str> {
    let annotations = layer.annotations.as_ref().filter(|_| layer.media_type == LAYER)?;
    annotations.get(ANNOTATION).map(String::as_str)
}

fn descriptor(bytes: &[u8], media_type: &str) -> Descriptor {
    let digest = Digest::of(bytes);
    Descriptor { media_type: media_type.into(), digest, size: bytes.len() as u64, platform: None, annotations: None }
}
