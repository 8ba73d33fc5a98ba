//! The objects that the sample keeps, as an API server keeps them.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use futures::StreamExt as _;
use http::Response;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::serve::{Asked, Body, failure, json_answer};
use super::{API_VERSION, GROUP};

pub(super) struct Objects {
    stored: Mutex<Stored>,
    changes: broadcast::Sender<Value>,
}

#[derive(Default)]
struct Stored {
    revision: u64,
    /// By namespace and name.
    objects: BTreeMap<(String, String), Value>,
}

impl Default for Objects {
    fn default() -> Self {
        Self { stored: Mutex::default(), changes: broadcast::channel(64).0 }
    }
}

impl Objects {
    /// The names of those in a namespace.
    pub(super) fn names(&self, namespace: &str) -> Vec<String> {
        let stored = self.stored.lock();
        stored.objects.keys().filter(|key| key.0 == namespace).map(|key| key.1.clone()).collect()
    }

    pub(super) fn answer(&self, asked: &Asked, body: &[u8]) -> Response<Body> {
        let key = (asked.namespace.clone(), asked.name.clone());
        let mut stored = self.stored.lock();
        let not_found = || failure(404, "NotFound", &format!("flunders.{GROUP} {:?} not found", asked.name));
        let given = || serde_json::from_slice::<Value>(body).unwrap_or_default();
        match asked.verb {
            "watch" => return self.watch(&stored),
            "list" => {
                let is_of = |key: &(String, String)| asked.namespace.is_empty() || key.0 == asked.namespace;
                let items: Vec<&Value> = stored.objects.iter().filter(|(key, _)| is_of(key)).map(|(_, object)| object).collect();
                let revision = stored.revision.to_string();
                let list = json!({"kind": "FlunderList", "apiVersion": API_VERSION, "metadata": {"resourceVersion": revision},
                "items": items});
                return json_answer(200, &list);
            }
            "get" => return stored.objects.get(&key).map_or_else(not_found, |object| json_answer(200, object)),
            _ => {}
        }
        let (kind, object) = match asked.verb {
            "create" => {
                let mut object = given();
                object["metadata"]["namespace"] = json!(asked.namespace);
                object["metadata"]["uid"] = json!(format!("flunder-{}", stored.revision + 1));
                object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
                ("ADDED", object)
            }
            "update" => ("MODIFIED", given()),
            "patch" => {
                let Some(mut object) = stored.objects.get(&key).cloned() else { return not_found() };
                merge(&mut object, &given());
                ("MODIFIED", object)
            }
            _ => {
                let Some(object) = stored.objects.remove(&key) else { return not_found() };
                ("DELETED", object)
            }
        };
        let mut object = object;
        stored.revision += 1;
        object["metadata"]["resourceVersion"] = json!(stored.revision.to_string());
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if kind != "DELETED" {
            stored.objects.insert((asked.namespace.clone(), name), object.clone());
        }
        // Nobody may be watching.
        let _ = self.changes.send(json!({"type": kind, "object": object}));
        json_answer(if kind == "ADDED" { 201 } else { 200 }, &object)
    }

    /// Tells of what there is and then of every change, until the client goes.
    fn watch(&self, stored: &Stored) -> Response<Body> {
        let present: Vec<Value> = stored.objects.values().map(|object| json!({"type": "ADDED", "object": object})).collect();
        let changes = futures::stream::unfold(self.changes.subscribe(), |mut changes| async move {
            let change = changes.recv().await.ok()?;
            Some((change, changes))
        });
        let frames = futures::stream::iter(present).chain(changes);
        let frames = frames.map(|frame| Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{frame}\n")))));
        let body = StreamBody::new(frames).boxed_unsync();
        Response::builder().header("content-type", "application/json").body(body).expect("an answer")
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.as_object_mut().and_then(|target| target.remove(name))),
            value => merge(&mut target[name.as_str()], value),
        }
    }
}
