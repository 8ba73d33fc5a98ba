//! A scheduler plugin as one type:
//!
//! ```
//! use mizzen_scheduler_sdk::{Column, Columns, Cycle, Node, Plugin, Points};
//!
//! #[derive(serde::Deserialize)]
//! struct Settings {
//!     zone: String,
//! }
//!
//! /// Prefers the nodes of one zone.
//! struct PreferZone {
//!     settings: Settings,
//!     zone: Column<str>,
//! }
//!
//! impl Plugin for PreferZone {
//!     type Settings = Settings;
//!     const POINTS: Points = Points::SCORE;
//!
//!     fn new(settings: Settings, columns: &mut Columns) -> Result<Self, String> {
//!         Ok(Self { settings, zone: columns.text("label/topology.kubernetes.io/zone") })
//!     }
//!
//!     fn score(&mut self, _: &Cycle, node: Node) -> i64 {
//!         if node.get(self.zone) == Some(self.settings.zone.as_str()) { 100 } else { 0 }
//!     }
//! }
//!
//! mizzen_scheduler_sdk::plugin!(PreferZone);
//! ```

mod cluster;
mod columns;
mod export;
mod plugin;
mod pod;
pub mod testing;

pub use cluster::{Cluster, Node};
pub use columns::{Column, Columns};
pub use export::Running;
pub use plugin::{Cycle, Plugin, Rejection};

pub use mizzen_host_sdk as host;

/// The contract's bindings, for what this crate has no words for.
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "scheduler-plugin",
        with: {
            "mizzen:plugin/log@0.1.0": mizzen_host_sdk::bindings::mizzen::plugin::log,
            "mizzen:plugin/clock@0.1.0": mizzen_host_sdk::bindings::mizzen::plugin::clock,
            "mizzen:plugin/random@0.1.0": mizzen_host_sdk::bindings::mizzen::plugin::random,
            "mizzen:plugin/metrics@0.1.0": mizzen_host_sdk::bindings::mizzen::plugin::metrics,
        },
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "mizzen_scheduler_sdk::bindings",
    });
}

pub use bindings::mizzen::scheduler::types::{Permission, Pod, Points, Toleration, Wakes};
