//! What `mizzen plugin` does for the author of a plugin: begins a project, builds it, says what a component is, asks it
//! recorded questions and measures its answers. Components run as the server runs them, by `mizzen-plugins-host`.

pub mod bench;
pub mod cases;
mod component;
mod error;
pub mod inspect;
mod log;
mod project;
mod recorded;
mod template;

pub use component::component;
pub use error::ToolkitError;
pub use project::{Kind, Project};
pub use template::{Language, new};
