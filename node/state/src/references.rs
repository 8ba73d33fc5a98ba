//! What of the remembered is still of use: secrets stay on a node's disk only while a pod of the node uses them.

use std::collections::HashSet;

use serde_json::Value;

use crate::keys;

/// What the pods of a node refer to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pods: HashSet<String>,
    /// Resource, namespace and name.
    objects: HashSet<(&'static str, String, String)>,
}

impl Used {
    pub(crate) fn add(&mut self, pod: &Value) {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.pods.insert(text("/metadata/uid"));
        self.walk(&text("/metadata/namespace"), &pod["spec"]);
    }

    /// Wherever they stand: in volumes, environments, or among the secrets for registries.
    fn walk(&mut self, namespace: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    let resource = match field.as_str() {
                        "secret" | "secretRef" | "secretKeyRef" | "imagePullSecrets" => "secrets",
                        "configMap" | "configMapRef" | "configMapKeyRef" => "configmaps",
                        _ => "",
                    };
                    let named = match value {
                        Value::Array(list) => list.iter().collect(),
                        one => vec![one],
                    };
                    let names = named.into_iter().flat_map(|one| [&one["name"], &one["secretName"]]).filter_map(Value::as_str);
                    if !resource.is_empty() {
                        self.objects.extend(names.map(|name| (resource, namespace.to_owned(), name.to_owned())));
                    }
                    self.walk(namespace, value);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| self.walk(namespace, value)),
            _ => {}
        }
    }

    /// Whether to keep a list or watch, or one of its objects.
    pub(crate) fn keeps_scope(&self, key: &str) -> bool {
        match keys::parts(key).as_slice() {
            ["", "v1", resource @ ("secrets" | "configmaps"), namespace, _, fields, ..] => {
                self.has(resource, namespace, fields.strip_prefix("metadata.name=").unwrap_or_default())
            }
            _ => true,
        }
    }

    pub(crate) fn keeps_object(&self, key: &str) -> bool {
        match keys::parts(key).as_slice() {
            ["", "v1", resource @ ("secrets" | "configmaps"), namespace, name] => self.has(resource, namespace, name),
            _ => true,
        }
    }

    pub(crate) fn keeps_token(&self, key: &str) -> bool {
        keys::parts(key).first().is_some_and(|uid| self.pods.contains(*uid))
    }

    fn has(&self, resource: &str, namespace: &str, name: &str) -> bool {
        let mut objects = self.objects.iter();
        objects.any(|(kind, within, known)| *kind == resource && within == namespace && known == name)
    }
}

#[cfg(test)]
mod tests {
    use mizzen_api::GroupVersionResource;
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_and_config_maps_are_kept_while_a_pod_refers_to_them() {
        let mut used = Used::default();
        used.add(&json!({"metadata": {"namespace": "n", "uid": "u"}, "spec": {
            "imagePullSecrets": [{"name": "registry"}],
            "volumes": [
                {"name": "a", "secret": {"secretName": "mounted"}}, {"name": "b", "configMap": {"name": "settings"}},
                {"name": "c", "projected": {"sources": [{"secret": {"name": "projected"}}]}},
            ],
            "containers": [{"name": "not-one", "env": [{"name": "not-one", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": "all"}}]}],
        }}));
        let secrets = GroupVersionResource::new("", "v1", "secrets");
        let maps = GroupVersionResource::new("", "v1", "configmaps");
        let keeps = |of: &GroupVersionResource, namespace: &str, name: &str| {
            let scope = keys::scope(of, namespace, "", &format!("metadata.name={name}"));
            let kept = used.keeps_object(&keys::object(&keys::resource(of), namespace, name));
            assert_eq!(used.keeps_scope(&scope), kept);
            assert_eq!(used.keeps_scope(&keys::object(&scope, namespace, name)), kept);
            kept
        };
        for name in ["registry", "mounted", "projected", "key"] {
            assert!(keeps(&secrets, "n", name), "{name}");
        }
        assert!(keeps(&maps, "n", "settings") && keeps(&maps, "n", "all"));
        assert!(!keeps(&secrets, "other", "key") && !keeps(&secrets, "n", "not-one") && !keeps(&maps, "n", "key"));
        let pods = GroupVersionResource::new("", "v1", "pods");
        assert!(used.keeps_scope(&keys::scope(&pods, "", "", "spec.nodeName=a")));
        assert!(used.keeps_token(&keys::token("u", "n", "default", "{}")));
        assert!(!keeps(&secrets, "n", "") && !used.keeps_token(&keys::token("v", "n", "default", "{}")));
    }
}
