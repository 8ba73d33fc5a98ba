//! Images: pulled from OCI registries, verified, unpacked, and shared by digest on one node.
//!
//! Under the store's root lie `blobs/sha256/<hex>` (what a registry sent), `layers/<hex>/` (unpacked, ready for overlayfs,
//! named by the digest of the tar inside) and `refs/` (which reference is which image).

mod credentials;
mod error;
mod image;
pub mod layout;
mod progress;
mod reference;
mod store;
mod user;

pub use credentials::Credentials;
pub use error::ImageError;
pub use image::{ContainerImage, Image, ImageConfig, ImageKind, WasmImage};
pub use progress::Progress;
pub use reference::normalize;
pub use store::{ImageStore, Removed};
pub use user::{User, resolve_user};
