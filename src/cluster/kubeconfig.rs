//! The administrator's kubeconfig.

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mizzen_apiserver::auth::certificates::PemPair;
use serde_json::json;

use super::data_dir::{DataDirError, write_private};

/// Writes a kubeconfig (JSON is YAML) that only its owner reads.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, server: SocketAddr, root: &str, admin: &PemPair) -> Result<(), DataDirError> {
    let server = match server.ip() {
        ip if ip.is_unspecified() => SocketAddr::new([127, 0, 0, 1].into(), server.port()),
        _ => server,
    };
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "mizzen",
        "clusters": [{"name": "mizzen", "cluster": {
            "server": format!("https://{server}"), "certificate-authority-data": STANDARD.encode(root)}}],
        "users": [{"name": "mizzen-admin", "user": {
            "client-certificate-data": STANDARD.encode(&admin.certificate), "client-key-data": STANDARD.encode(&admin.key)}}],
        "contexts": [{"name": "mizzen", "context": {"cluster": "mizzen", "user": "mizzen-admin"}}],
    });
    let text = serde_yaml_ng::to_string(&config).map_err(|error| DataDirError::Io {
        operation: "encode",
        path: path.to_owned(),
        source: std::io::Error::other(error),
    })?;
    if let Some(parent) = path.parent() {
        let failed = |source| DataDirError::Io { operation: "create", path: parent.to_owned(), source };
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    write_private(path, text.as_bytes())
}
