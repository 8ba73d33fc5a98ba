//! What of the configuration is about networks of CNI plugins.

use std::path::PathBuf;

use mizzen_network::PluginDirs;
use serde::Deserialize;

use super::{ConfigError, File};

/// Where Kubernetes' nodes have them.
const CONF: &str = "/etc/cni/net.d";
/// Where installers put plugins, and where Debian does.
const BIN: [&str; 2] = ["/opt/cni/bin", "/usr/lib/cni"];

/// `cni`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fields {
    /// Empty for never.
    conf_dir: Option<PathBuf>,
    bin_dirs: Option<Vec<PathBuf>>,
}

/// # Errors
/// Names the field that is wrong.
pub(super) fn resolve(file: &File) -> Result<PluginDirs, ConfigError> {
    let Fields { conf_dir, bin_dirs } = &file.cni;
    let conf = conf_dir.clone().unwrap_or_else(|| CONF.into());
    let bin = bin_dirs.clone().unwrap_or_else(|| BIN.map(PathBuf::from).to_vec());
    let relative = std::iter::once(&conf).chain(&bin).find(|path| !path.as_os_str().is_empty() && path.is_relative());
    if let Some(path) = relative {
        return Err(ConfigError::Invalid { field: "cni", why: format!("{} is not an absolute path", path.display()) });
    }
    Ok(PluginDirs { conf: Some(conf).filter(|conf| !conf.as_os_str().is_empty()), bin })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_looked_for_where_kubernetes_has_them_unless_told() {
        let resolve = |text: &str| resolve(&serde_yaml_ng::from_str::<File>(text).expect("parses")).map_err(|e| e.to_string());
        assert_eq!(resolve("{}").expect("is valid").conf, Some("/etc/cni/net.d".into()));
        assert_eq!(resolve("cni: {confDir: ''}\n").expect("is valid").conf, None);
        let own = resolve("cni: {confDir: /a, binDirs: [/b]}\n").expect("is valid");
        assert_eq!((own.conf, own.bin), (Some("/a".into()), vec!["/b".into()]));
        assert!(resolve("cni: {confDir: a}\n").expect_err("is relative").starts_with("cni: a is not"));
    }
}
