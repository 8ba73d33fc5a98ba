//! The small client's parts: `mizzen get|apply|describe|logs|exec|delete` do what kubectl does on machines that have none,
//! in kubectl's words.

pub mod describe;
pub mod failure;
pub mod manifests;
pub mod output;
pub mod pods;
pub mod resources;
pub mod session;
pub mod table;
pub mod targets;
mod template;
mod yaml;
