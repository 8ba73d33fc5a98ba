//! The small client's connection: the kube crate, with the usual kubeconfig rules.

use std::path::PathBuf;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// How to reach a cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct Connection {
    /// kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the default data folder's]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

impl Connection {
    /// # Errors
    /// When no usable kubeconfig is found.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        let config = match self.path() {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(&path).with_context(|| format!("read {}", path.display()))?;
                kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
            }
            None => kube::Config::infer().await.context("find a kubeconfig (use --kubeconfig FILE)")?,
        };
        Ok(kube::Client::try_from(config)?)
    }

    fn path(&self) -> Option<PathBuf> {
        if self.kubeconfig.is_some() {
            return self.kubeconfig.clone();
        }
        let own = PathBuf::from(crate::config::DEFAULT_DATA_DIR).join("kubeconfig");
        (std::env::var_os("KUBECONFIG").is_none() && own.exists()).then_some(own)
    }
}
