//! The files of a projected volume, before they are written.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::KeyToPath;

use crate::VolumeError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    pub(crate) mode: u32,
    /// Root's where there is none.
    pub(crate) owner: Option<u32>,
}

impl File {
    pub(crate) fn new(bytes: Vec<u8>, mode: u32) -> Self {
        Self { bytes, mode, owner: None }
    }
}

/// By relative path.
pub(crate) type Payload = BTreeMap<String, File>;

/// `0644`, the mode of projected files unless something else is asked for.
pub(crate) const DEFAULT_MODE: u32 = 0o644;

pub(crate) fn mode(asked: Option<i32>, default: u32) -> u32 {
    asked.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(default) & 0o777
}

/// The files of a ConfigMap or Secret: all keys, or the `items` asked for under their paths.
///
/// # Errors
/// A key that is not there (unless `optional`), a path that leaves the volume.
pub(crate) fn project(
    kind: &'static str,
    data: &BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    default_mode: u32,
    optional: bool,
) -> Result<Payload, VolumeError> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.iter().map(|(key, bytes)| (key.clone(), File::new(bytes.clone(), default_mode))).collect());
    };
    let mut payload = Payload::new();
    for item in items {
        check_path(&item.path)?;
        match data.get(&item.key) {
            Some(bytes) => {
                payload.insert(item.path.clone(), File::new(bytes.clone(), mode(item.mode, default_mode)));
            }
            None if optional => {}
            None => return Err(VolumeError::MissingKey { kind, key: item.key.clone() }),
        }
    }
    Ok(payload)
}

/// A path inside a volume: relative, not leaving it, not touching the names that the atomic swap uses.
pub(crate) fn check_path(path: &str) -> Result<(), VolumeError> {
    let wrong = path.is_empty() || path.starts_with('/') || path.starts_with("..") || path.split('/').any(|part| part == "..");
    if wrong { Err(VolumeError::Path { path: path.to_owned() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> BTreeMap<String, Vec<u8>> {
        [("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())].into()
    }

    fn item(key: &str, path: &str, mode: Option<i32>) -> KeyToPath {
        KeyToPath { key: key.into(), path: path.into(), mode }
    }

    #[test]
    fn items_choose_keys_paths_and_modes() {
        let all = project("configmap", &data(), None, 0o644, false).expect("projects");
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b"]);
        let some = project("configmap", &data(), Some(&[item("a", "x/y", Some(0o400))]), 0o644, false).expect("projects");
        assert_eq!(some["x/y"], File::new(b"1".to_vec(), 0o400));
    }

    #[test]
    fn a_missing_key_fails_unless_it_is_optional() {
        let error = project("configmap", &data(), Some(&[item("z", "z", None)]), 0o644, false).expect_err("fails");
        assert_eq!(error.to_string(), "references non-existent configmap key: z");
        assert!(project("configmap", &data(), Some(&[item("z", "z", None)]), 0o644, true).expect("projects").is_empty());
    }

    #[test]
    fn no_path_leaves_the_volume() {
        for path in ["", "/etc/passwd", "../x", "a/../../x", "..data/x"] {
            assert!(check_path(path).is_err(), "{path}");
        }
        assert!(check_path("a/b..c").is_ok());
    }
}
