//! Images: pulled from OCI registries, verified, unpacked, and shared by digest on one node.
//!
//! Under the store's root lie `blobs/sha256/<hex>` (what a registry sent), `layers/<hex>/` (unpacked, ready for overlayfs,
//! named by the digest of the tar inside) and `refs/` (which reference is which image).

mod archive;
mod blobs;
mod credentials;
mod digest;
mod error;
mod gc;
mod image;
mod install;
mod keyed;
pub mod layout;
mod load;
mod manifest;
mod progress;
mod push;
mod reference;
mod refs;
mod registry;
mod retry;
mod settings;
pub mod signature;
mod store;
mod unpack;
mod user;

pub use credentials::Credentials;
pub use digest::sha256;
pub use error::ImageError;
pub use gc::Collect;
pub use image::{ContainerImage, Image, ImageConfig, ImageKind, WasmImage};
pub use manifest::fetch as manifest;
pub use progress::Progress;
pub use push::push_layout;
pub use reference::{normalize, repository};
pub use settings::Settings;
pub use store::{ImageStore, Removed};
pub use user::{User, resolve_user};
