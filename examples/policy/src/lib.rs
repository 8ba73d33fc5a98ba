//! An admission policy that does what its settings say, for the tests: wants `labels`, sets an `annotation`, wants a field to be
//! `unique` in the cluster, or behaves `badly`.

use mizzen_policy_sdk::{Decision, Description, Need, Policy, Request, Response, Status, Value, context, json, policy};

struct Told {
    settings: Value,
    labels: Vec<String>,
    unique: Option<Unique>,
}

/// What must have a value of its own in each object of a kind.
struct Unique {
    api_version: String,
    kind: String,
    namespace: String,
    path: String,
}

impl Policy for Told {
    type Settings = Value;

    fn new(settings: Value) -> Result<Self, String> {
        let labels = match &settings["labels"] {
            Value::Null => Vec::new(),
            Value::Array(labels) if labels.iter().all(Value::is_string) => labels.iter().map(text).collect(),
            _ => return Err("labels must be a list of strings".to_owned()),
        };
        let unique = settings["unique"].as_object().map(|_| {
            let of = |field: &str| text(&settings["unique"][field]);
            Unique { api_version: of("apiVersion"), kind: of("kind"), namespace: of("namespace"), path: of("path") }
        });
        Ok(Self { settings, labels, unique })
    }

    fn description(&self) -> Description {
        let needs = self.unique.iter().map(|unique| Need {
            api_version: unique.api_version.clone(),
            kind: unique.kind.clone(),
            namespace: unique.namespace.clone(),
            label_selector: String::new(),
            indexes: vec![unique.path.clone()],
        });
        Description { mutating: self.settings.get("annotation").is_some(), needs: needs.collect() }
    }

    fn review(&mut self, request: &Request) -> Response {
        let response = Response::from(self.decide(request));
        match self.settings["warning"].as_str() {
            Some(warning) => response.warn(warning),
            None => response,
        }
    }
}

impl Told {
    fn decide(&self, request: &Request) -> Decision {
        misbehave(self.settings["badly"].as_str());
        if let Some(label) = self.labels.iter().find(|label| request.label(label).is_none()) {
            return deny(format!("label {label:?} is missing (policy {})", env!("CARGO_PKG_VERSION")));
        }
        if let Some(Unique { api_version, kind, path, .. }) = &self.unique {
            let value: Value = request.field(&format!("/{}", path.replace('.', "/"))).unwrap_or_default();
            let others = context::by_index(api_version, kind, path, value.as_str().unwrap_or_default());
            if !others.is_empty() {
                return deny(format!("{path} {value} is taken by {} others", others.len()));
            }
        }
        match self.settings["annotation"].as_str() {
            Some(annotation) => {
                let mut changed = request.object().clone();
                changed["metadata"]["annotations"][annotation] = json!(env!("CARGO_PKG_VERSION"));
                Decision::Replace(changed)
            }
            None => Decision::Allow,
        }
    }
}

fn misbehave(how: Option<&str>) {
    match how {
        Some("trap") => panic!("as it was told"),
        Some("loop") => loop {
            std::hint::black_box(());
        },
        Some("grow") => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1; 1 << 20]));
            }
        }
        _ => {}
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn deny(message: String) -> Decision {
    Decision::Deny(Status { code: 0, reason: String::new(), message })
}

policy!(type Told);
