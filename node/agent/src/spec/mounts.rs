//! What a container sees of its volumes, and the files that every container has.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};
use mizzen_runtime::Mount;
use mizzen_volumes::Mounted;

use super::expand::expand;
use crate::error::HookError;
use crate::hooks::files;
use crate::shared::Shared;

pub(crate) async fn mounts(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    mounted: &Mounted,
    env: &[(String, String)],
    termination_message: &Path,
) -> Result<Vec<Mount>, HookError> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let config =
        |error: mizzen_volumes::VolumeError| HookError::Config(format!("failed to prepare subPath for volumeMount: {error}"));
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let expression = mount.sub_path_expr.as_deref().filter(|expression| !expression.is_empty());
        let sub_path = expression.map(|expression| expanded(expression, env)).transpose()?.or_else(|| mount.sub_path.clone());
        let source =
            shared.volumes.source(uid, &container.name, mounted, (index, mount), sub_path.as_deref()).await.map_err(config)?;
        mounts.push(Mount {
            source,
            target: absolute(&mount.mount_path),
            readonly: mount.read_only == Some(true) || is_read_only(pod, &mount.name),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => "rslave",
                Some("Bidirectional") => "rshared",
                _ => "private",
            }
            .to_owned(),
        });
    }
    let etc = files::dir(shared, pod);
    for (name, target) in [("hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf")] {
        if !mounts.iter().any(|mount| mount.target == Path::new(target)) {
            mounts.push(Mount { source: etc.join(name), target: target.into(), readonly: false, propagation: "private".into() });
        }
    }
    let target =
        absolute(container.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/dev/termination-log"));
    mounts.push(Mount { source: termination_message.to_owned(), target, readonly: false, propagation: "private".into() });
    // A mount above another comes before it.
    mounts.sort_by_key(|mount| mount.target.components().count());
    Ok(mounts)
}

/// Nothing else is mounted in place of a folder whose name is not known: the container waits for what its name is made from.
fn expanded(expression: &str, env: &[(String, String)]) -> Result<String, HookError> {
    let missing = RefCell::new(BTreeSet::new());
    let path = expand(expression, |name| {
        let known = env.iter().find(|(known, value)| known == name && !value.is_empty());
        if known.is_none() {
            missing.borrow_mut().insert(name.to_owned());
        }
        known.map(|(_, value)| value.as_str())
    });
    let missing: Vec<String> = missing.into_inner().into_iter().collect();
    match missing.is_empty() {
        true => Ok(path),
        false => Err(HookError::Config(format!("failed to expand subPath: missing value for {}", missing.join(", ")))),
    }
}

/// Whether no container may write the volume, whatever its mount says: its files come from the API or an image, which
/// containers share with the node, or the pod has its claim only to read.
fn is_read_only(pod: &Pod, volume: &str) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter(|known| known.name == volume).any(|known| {
        known.persistent_volume_claim.as_ref().is_some_and(|claim| claim.read_only == Some(true))
            || known.image.is_some()
            || known.config_map.is_some()
            || known.secret.is_some()
            || known.projected.is_some()
            || known.downward_api.is_some()
    })
}

/// Windows clients apart, relative mount paths are from the root.
fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sub_path_is_made_of_values_that_are_there() {
        let env = [("POD", "web-0"), ("NONE", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(expanded("logs/$(POD)", &env).expect("is known"), "logs/web-0");
        let error = expanded("$(POD)/$(OTHER)/$(NONE)", &env).expect_err("is not known").to_string();
        assert!(error.ends_with("missing value for NONE, OTHER"), "{error}");
    }

    #[test]
    fn volumes_with_files_from_the_api_are_read_only() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [], "volumes": [
            {"name": "config", "configMap": {"name": "c"}},
            {"name": "secret", "secret": {"secretName": "s"}},
            {"name": "projected", "projected": {"sources": []}},
            {"name": "downward", "downwardAPI": {"items": []}},
            {"name": "image", "image": {"reference": "r"}},
            {"name": "scratch", "emptyDir": {}},
        ]}}))
        .expect("is a pod");
        assert!(["config", "secret", "projected", "downward", "image"].iter().all(|name| is_read_only(&pod, name)));
        assert!(!is_read_only(&pod, "scratch"));
    }
}
