//! An admission policy as one function:
//!
//! ```
//! use mizzen_policy_sdk::{Decision, Request};
//!
//! #[derive(Default, serde::Deserialize)]
//! #[serde(default)]
//! struct Settings {
//!     label: String,
//! }
//!
//! fn review(request: &Request, settings: &Settings) -> Decision {
//!     match request.label(&settings.label) {
//!         Some(_) => Decision::Allow,
//!         None => Decision::deny(format!("label {:?} is missing", settings.label)),
//!     }
//! }
//!
//! mizzen_policy_sdk::policy!(review);
//! ```
//!
//! [`policy!`] takes a type as well (`policy!(type Pinned)`), for what needs more: see [`Policy`].

pub mod context;
mod export;
mod policy;
mod request;
mod seek;
pub mod testing;

pub use export::Running;
pub use policy::{Decision, Policy, Response};
pub use request::{Operation, Request};

pub use serde_json::{Value, json};

pub use mizzen_host_sdk as host;

/// The contract's bindings, for what this crate has no words for.
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "admission-policy",
        with: {
            "mizzen:plugin/log@0.1.0": mizzen_host_sdk::bindings::mizzen::plugin::log,
            "mizzen:plugin/clock@0.1.0": mizzen_host_sdk::bindings::mizzen::plugin::clock,
            "mizzen:plugin/random@0.1.0": mizzen_host_sdk::bindings::mizzen::plugin::random,
            "mizzen:plugin/metrics@0.1.0": mizzen_host_sdk::bindings::mizzen::plugin::metrics,
        },
        generate_all,
        pub_export_macro: true,
        additional_derives: [PartialEq],
        default_bindings_module: "mizzen_policy_sdk::bindings",
    });
}

pub use bindings::mizzen::policy::types::{Description, GroupVersionKind, GroupVersionResource, Need, Status, User};
