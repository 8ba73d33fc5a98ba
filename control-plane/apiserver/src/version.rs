//! What `/version` answers.

use serde_json::{Value, json};

/// The Kubernetes version whose API is served, with our own as build metadata.
pub const GIT_VERSION: &str = concat!("v1.36.2+mizzen", env!("CARGO_PKG_VERSION"));

/// `version.Info`.
pub fn info() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other }),
    })
}
