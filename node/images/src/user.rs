//! Which uid and gids an image's user is.

use std::path::PathBuf;

use crate::ImageError;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Groups of `/etc/group` that list the user.
    pub additional_gids: Vec<u32>,
    /// From `/etc/passwd`; empty when the user is not in it.
    pub home: String,
}

/// Reads `user[:group]` by the image's own `/etc/passwd` and `/etc/group`; `layers` are the unpacked ones, lowest first
/// (or one root directory).
///
/// # Errors
/// [`ImageError::User`] when a name is in neither file.
pub fn resolve_user(layers: &[PathBuf], user: &str) -> Result<User, ImageError> {
    let _ = layers;
    Err(ImageError::User { user: user.to_owned(), why: "user look-up is not built yet".into() })
}
