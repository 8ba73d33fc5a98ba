//! What a container's labels say, so that an agent that was restarted finds its pods again.

use std::collections::BTreeMap;

use mizzen_runtime::ContainerStatus;

pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(crate) const CONTAINER: &str = "io.kubernetes.container.name";
pub(crate) const ATTEMPT: &str = "mizzen.dev/attempt";
pub(crate) const IMAGE: &str = "mizzen.dev/image";
/// The image as the manifest named it when the container was started.
pub(crate) const ASKED_IMAGE: &str = "mizzen.dev/asked-image";
/// `repository@digest`.
pub const IMAGE_ID: &str = "mizzen.dev/image-id";
/// `container` or `wasm`.
pub(crate) const RUNTIME: &str = "mizzen.dev/runtime";
pub(crate) const TERMINATION_PATH: &str = "mizzen.dev/termination-message";
/// The amounts of CPU and memory that the container was started with, as [`crate::spec::resources::amounts`] has them.
pub(crate) const AMOUNTS: &str = "mizzen.dev/resources";
pub(crate) const STOP_SIGNAL: &str = "mizzen.dev/stop-signal";

pub(crate) fn get<'a>(labels: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    labels.get(name).map(String::as_str).unwrap_or_default()
}

pub(crate) fn pod_uid(status: &ContainerStatus) -> &str {
    get(&status.labels, POD_UID)
}

pub(crate) fn attempt(status: &ContainerStatus) -> u32 {
    get(&status.labels, ATTEMPT).parse().unwrap_or(0)
}

pub(crate) fn is_wasm(status: &ContainerStatus) -> bool {
    get(&status.labels, RUNTIME) == "wasm"
}

/// The same pod, container and attempt always have the same id, at most 64 characters of `[a-z0-9-]`.
pub(crate) fn container_id(uid: &str, container: &str, attempt: u32) -> String {
    let uid: String = uid.chars().filter(char::is_ascii_alphanumeric).take(32).collect::<String>().to_ascii_lowercase();
    // FNV-1a: short, stable across builds; names differ within one pod only.
    let hash =
        container.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{uid}-{hash:016x}-{attempt}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_short_and_differ_by_container_and_attempt() {
        let uid = "0e2f6b1c-3f6a-4c0e-9a51-6c7c1d0b8f11";
        let id = container_id(uid, "web", 3);
        assert_eq!(id, container_id(uid, "web", 3));
        assert_ne!(id, container_id(uid, "web", 4));
        assert_ne!(id, container_id(uid, "wob", 3));
        assert!(container_id(uid, "web", u32::MAX).len() <= 64);
        assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
    }
}
