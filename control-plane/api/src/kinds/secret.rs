//! `Secret`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::builder::resource;
use super::config_map::{MAX_SIZE, check_immutable};
use super::value::{entries, fill, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, base64 as decode, complaints, config_map_key, immutable, invalid, required, too_long};

struct Secret;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "Secret", "secrets", Scope::Namespaced, Secret)
}

const COLUMNS: &[Column] =
    &[Column::text("Type", "What the secret is for."), Column::text("Data", "How many keys it has."), Column::AGE];

impl Strategy for Secret {
    /// `stringData` is for writing only: it ends up in `data`.
    fn default(&self, object: &mut Value) {
        fill(object, "type", "Opaque");
        let Some(fields) = object.as_object_mut() else { return };
        let Some(Value::Object(texts)) = fields.remove("stringData") else { return };
        let data = fields.entry("data").or_insert_with(|| Value::Object(Map::new()));
        if data.is_null() {
            *data = Value::Object(Map::new());
        }
        if let Some(data) = data.as_object_mut() {
            for (key, value) in texts {
                data.insert(key, STANDARD.encode(value.as_str().unwrap_or("")).into());
            }
        }
    }

    fn prepare_create(&self, _object: &mut Value) {}

    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let data = Path::root("data");
        let mut size = 0;
        for (key, value) in entries(object, "/data") {
            causes.extend(complaints(data.key(key), key, config_map_key(key)));
            size += value.as_str().map_or(0, str::len) / 4 * 3;
        }
        if size > MAX_SIZE {
            causes.push(too_long(data, MAX_SIZE));
        }
        let missing = |key: &str| object.get("data").and_then(|data| data.get(key)).is_none();
        match text(object, "/type") {
            "kubernetes.io/service-account-token" => {
                let pointer = "/metadata/annotations/kubernetes.io~1service-account.name";
                if text(object, pointer).is_empty() {
                    causes.push(required("metadata.annotations[kubernetes.io/service-account.name]", ""));
                }
            }
            "kubernetes.io/dockercfg" => check_json(object, ".dockercfg", &mut causes),
            "kubernetes.io/dockerconfigjson" => check_json(object, ".dockerconfigjson", &mut causes),
            "kubernetes.io/basic-auth" if missing("username") && missing("password") => {
                causes.push(required(data.key("username"), ""));
                causes.push(required(data.key("password"), ""));
            }
            "kubernetes.io/ssh-auth" if missing("ssh-privatekey") => causes.push(required(data.key("ssh-privatekey"), "")),
            "kubernetes.io/tls" => {
                for key in ["tls.crt", "tls.key"] {
                    if missing(key) {
                        causes.push(required(data.key(key), ""));
                    }
                }
            }
            _ => {}
        }
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let kind = immutable("type", object.get("type"), old.get("type"));
        kind.into_iter().chain(check_immutable(object, old, &["data"])).collect()
    }

    fn selectable(&self, object: &Value, path: &str) -> Option<String> {
        (path == "type").then(|| text(object, "/type").to_owned())
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        vec![text(object, "/type").into(), entries(object, "/data").count().into(), age(object, context.now).into()]
    }
}

fn check_json(object: &Value, key: &str, causes: &mut Vec<Cause>) {
    let data = Path::root("data");
    match object.get("data").and_then(|data| data.get(key)).and_then(Value::as_str) {
        None => causes.push(required(data.key(key), "")),
        Some(text) => {
            let parsed = decode(text).ok().is_some_and(|bytes| serde_json::from_slice::<Value>(&bytes).is_ok());
            if !parsed {
                // The value is a secret: the message must not show it.
                causes.push(invalid(data.key(key), &"<secret contents redacted>".into(), "must be JSON"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn string_data_ends_up_in_data() {
        let mut object = json!({"stringData": {"a": "hi", "b": "x"}, "data": {"a": "b2xk", "c": "Yw=="}});
        Secret.default(&mut object);
        assert_eq!(object, json!({"type": "Opaque", "data": {"a": "aGk=", "b": "eA==", "c": "Yw=="}}));
        assert_eq!(Secret.validate(&object), []);
    }

    #[test]
    fn typed_secrets_must_have_their_keys() {
        for (kind, data, fields) in [
            ("kubernetes.io/tls", json!({"tls.crt": ""}), vec!["data[tls.key]"]),
            ("kubernetes.io/basic-auth", json!({"username": ""}), vec![]),
            ("kubernetes.io/basic-auth", json!({}), vec!["data[username]", "data[password]"]),
            ("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "e30="}), vec![]),
            ("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "eA=="}), vec!["data[.dockerconfigjson]"]),
            ("kubernetes.io/service-account-token", json!({}), vec!["metadata.annotations[kubernetes.io/service-account.name]"]),
            ("example.com/own", json!({"a b": ""}), vec!["data[a b]"]),
        ] {
            let causes = Secret.validate(&json!({"type": kind, "data": data}));
            assert_eq!(causes.iter().map(|cause| cause.field.as_str()).collect::<Vec<_>>(), fields, "{kind}");
        }
    }

    #[test]
    fn the_type_never_changes() {
        let causes = Secret.validate_update(&json!({"type": "b"}), &json!({"type": "a"}));
        assert_eq!(causes[0].message, "Invalid value: \"b\": field is immutable");
    }
}
