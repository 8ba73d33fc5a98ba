//! Custom kinds (`apiextensions.k8s.io/v1`): what a CustomResourceDefinition says becomes resource descriptors at run time.
//!
//! No I/O: the API server follows the definitions and serves what [`custom::served`] makes of each.

pub mod cel;
pub mod custom;
pub mod definition;
pub mod schema;
pub mod versions;
