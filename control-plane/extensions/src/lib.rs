//! Custom kinds (`apiextensions.k8s.io/v1`): what a CustomResourceDefinition says becomes resource descriptors at run time.
//!
//! Admission (`admissionregistration.k8s.io/v1`): what policies and webhooks match, and what policies say ([`policy`]).
//!
//! Plugins (`mizzen.dev`): the kinds that load Wasm components ([`plugins`]), and those in which it is said what policies make of
//! what is stored ([`reports`]).
//!
//! No I/O: the API server follows the objects, serves what [`custom::served`] makes of definitions, and asks the policies.

pub mod cel;
pub mod custom;
pub mod definition;
mod go_regex;
pub mod matching;
pub mod plugins;
pub mod policy;
pub mod reports;
pub mod schema;
pub mod versions;
