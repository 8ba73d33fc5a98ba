//! How a command logs in to a registry.

use mizzen_images::{Credentials, ImageError};

#[derive(Debug, clap::Args)]
pub(super) struct Login {
    #[arg(long, default_value = "")]
    username: String,
    #[arg(long, default_value = "", env = "MIZZEN_REGISTRY_PASSWORD", hide_env_values = true)]
    password: String,
}

impl Login {
    pub(super) fn credentials(&self) -> Credentials {
        match self.username.as_str() {
            "" => Credentials::Anonymous,
            _ => Credentials::Basic { username: self.username.clone(), password: self.password.clone() },
        }
    }
}

/// The error in words for somebody at a terminal: there is no pod.
pub(super) fn explained(error: ImageError) -> anyhow::Error {
    match error {
        ImageError::Unauthorized { registry, reference } => anyhow::anyhow!(
            "registry {registry} refused the credentials for {reference} (--username, and the password in MIZZEN_REGISTRY_PASSWORD)"
        ),
        error => error.into(),
    }
}
