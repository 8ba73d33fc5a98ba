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

pub(crate) fn parse(reference: &str) -> Result<Reference, ImageError> {
    reference
        .parse()
        .map_err(|e: oci_client::ParseError| ImageError::Reference { reference: reference.to_owned(), why: e.to_string() })
}
