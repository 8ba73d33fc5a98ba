//! An admission policy that does what its settings say, for the tests: wants `labels`, sets an `annotation`, wants a field to be
//! `unique` in the cluster, or behaves `badly`.

wit_bindgen::generate!({
    path: ["../../plugins/wit/plugin", "../../plugins/wit/policy"],
    world: "mizzen:policy/admission-policy",
    generate_all,
});

use std::sync::OnceLock;

use exports::mizzen::policy::policy::Guest;
use mizzen::policy::context;
use mizzen::policy::types::{Decision, Description, Need, Request, Response, Status};
use serde_json::{Value, json};

struct Policy;

static SETTINGS: OnceLock<Value> = OnceLock::new();

impl Guest for Policy {
    fn validate_settings(settings: String) -> Result<(), String> {
        let settings: Value = serde_json::from_str(&settings).map_err(|error| error.to_string())?;
        match &settings["labels"] {
            Value::Null => Ok(()),
            Value::Array(labels) if labels.iter().all(Value::is_string) => Ok(()),
            _ => Err("labels must be a list of strings".to_owned()),
        }
    }

    fn configure(settings: String) -> Description {
        let settings = SETTINGS.get_or_init(|| serde_json::from_str(&settings).unwrap_or_default());
        let needs = settings["unique"].as_object().map(|unique| Need {
            api_version: text(unique, "apiVersion"),
            kind: text(unique, "kind"),
            namespace: text(unique, "namespace"),
            label_selector: String::new(),
            indexes: vec![text(unique, "path")],
        });
        Description { mutating: settings.get("annotation").is_some(), needs: needs.into_iter().collect() }
    }

    fn review(request: Request) -> Response {
        let decision = decide(SETTINGS.get().unwrap_or(&Value::Null), &request);
        let warnings = match SETTINGS.get().and_then(|settings| settings["warning"].as_str()) {
            Some(warning) => vec![warning.to_owned()],
            None => Vec::new(),
        };
        Response { decision, warnings, audit_annotations: Vec::new() }
    }

    fn review_batch(requests: Vec<Request>) -> Vec<Response> {
        requests.into_iter().map(Self::review).collect()
    }
}

fn text(object: &serde_json::Map<String, Value>, field: &str) -> String {
    object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn decide(settings: &Value, request: &Request) -> Decision {
    match settings["badly"].as_str() {
        Some("trap") => panic!("as it was told"),
        Some("loop") => loop {
            std::hint::black_box(());
        },
        Some("grow") => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(vec![1; 1 << 20]);
            }
        }
        _ => {}
    }
    let object: Value = request.object.as_deref().and_then(|object| serde_json::from_str(object).ok()).unwrap_or_default();
    for label in settings["labels"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if object["metadata"]["labels"][label].is_null() {
            return deny(format!("label {label:?} is missing (policy {})", env!("CARGO_PKG_VERSION")));
        }
    }
    if let Some(unique) = settings["unique"].as_object() {
        let path = text(unique, "path");
        let value = path.split('.').fold(&object, |value, name| &value[name]);
        let others = context::by_index(&text(unique, "apiVersion"), &text(unique, "kind"), &path, value.as_str().unwrap_or_default());
        if !others.is_empty() {
            return deny(format!("{path} {value} is taken by {} others", others.len()));
        }
    }
    match settings["annotation"].as_str() {
        Some(annotation) => {
            let mut changed = object;
            changed["metadata"]["annotations"][annotation] = json!(env!("CARGO_PKG_VERSION"));
            Decision::Replace(changed.to_string())
        }
        None => Decision::Allow,
    }
}

fn deny(message: String) -> Decision {
    Decision::Deny(Status { code: 0, reason: String::new(), message })
}

export!(Policy);
