//! Where signatures lie in a registry.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::Reference;
use serde_json::json;

use super::{Signed, SigningKey, payload};
use crate::blobs::io;
use crate::digest::Digest;
use crate::manifest::{self, CONFIG, Descriptor, Document, MANIFEST, Manifest};
use crate::registry::Registry;
use crate::store::ImageStore;
use crate::{Credentials, Image, ImageError, Settings, reference};

const LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// Bytes of a payload.
const LONGEST: u64 = 64 << 10;
/// Signatures of one image that are looked at.
const MOST: usize = 64;

impl ImageStore {
    /// The signatures of an image that was pulled, from its registry; none is no error.
    ///
    /// # Errors
    /// When the registry does not answer, or answers nonsense.
    pub async fn signatures(&self, image: &Image, credentials: &Credentials) -> Result<Vec<Signed>, ImageError> {
        let registry = Registry::new(beside(&reference::parse(&image.reference)?, &image.digest), credentials, &self.settings);
        let mut signed = Vec::new();
        for layer in layers(&registry).await?.iter().take(MOST) {
            let Some(signature) = signature(layer) else { continue };
            if layer.size > LONGEST {
                continue;
            }
            if let Ok(payload) = String::from_utf8(registry.small_blob(layer).await?) {
                signed.push(Signed { payload, signature: signature.to_owned() });
            }
        }
        Ok(signed)
    }
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
    let document = match registry.manifest(None).await {
        Ok(document) => document,
        Err(ImageError::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let wrong = |why: String| ImageError::Manifest { reference: registry.reference.whole(), why };
    match manifest::parse(&document).map_err(wrong)? {
        Document::Manifest(manifest) => Ok(manifest.layers.into_iter().filter(|layer| signature(layer).is_some()).collect()),
        Document::Index(_) => Err(wrong("is an index and not signatures".to_owned())),
    }
}

fn signature(layer: &Descriptor) -> Option<&str> {
    let annotations = layer.annotations.as_ref().filter(|_| layer.media_type == LAYER)?;
    annotations.get(ANNOTATION).map(String::as_str)
}

fn descriptor(bytes: &[u8], media_type: &str) -> Descriptor {
    let digest = Digest::of(bytes);
    Descriptor { media_type: media_type.into(), digest, size: bytes.len() as u64, platform: None, annotations: None }
}
