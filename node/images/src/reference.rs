//! Image references as people write them.

use oci_client::Reference;

use crate::ImageError;

/// `nginx` → `docker.io/library/nginx:latest`, as every Docker-like tool reads it.
///
/// # Errors
/// [`ImageError::Reference`] when it is no reference.
pub fn normalize(reference: &str) -> Result<String, ImageError> {
    parse(reference).map(|r| r.whole())
}

/// A reference without tag and digest: `docker.io/library/nginx`.
pub fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or_default();
    // A colon after the last slash begins the tag; before it, a port.
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    name[slash..].find(':').map_or(name, |colon| &name[..slash + colon])
}

pub(crate) fn parse(reference: &str) -> Result<Reference, ImageError> {
    reference
        .parse()
        .map_err(|e: oci_client::ParseError| ImageError::Reference { reference: reference.to_owned(), why: e.to_string() })
}
