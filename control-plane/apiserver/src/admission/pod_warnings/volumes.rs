//! Kinds of volumes that nothing mounts any more.

use serde_json::Value;

use super::items;

/// The source, and what is to be said of it.
const GONE: &[(&str, &str)] = &[
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

pub(super) fn of(spec: &Value, at: &str) -> Vec<String> {
    let told = |(index, volume): (usize, &Value)| {
        let (source, why) = GONE.iter().find(|(source, _)| volume.get(*source).is_some())?;
        Some(format!("{at}.volumes[{index}].{source}: {why}"))
    };
    items(&spec["volumes"]).filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn volumes_that_stay_empty_are_told() {
        let spec = json!({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "gitRepo": {"repository": "x"}}]});
        assert_eq!(of(&spec, "spec"), ["spec.volumes[1].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"]);
    }
}
