//! Plugins that fail in every way a guest can, through the host.
//!
//! The guests are written as text, so that each shows what it does wrong in one line.

mod component;
mod guest;
mod kubewarden;
mod policies;
mod schedulers;
