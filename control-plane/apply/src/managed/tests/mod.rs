mod applies;
mod builtin;
mod fields;
mod properties;
mod unread;
mod updates;
mod versions;

use mizzen_api::schema::SchemaSet;
use serde_json::Value;

use super::{ApplyError, Context, apply, update};
use crate::test_schema::schemas;

/// A small cluster of one object: whoever writes, what is stored and when.
struct World {
    set: SchemaSet,
    live: Option<Value>,
    second: i64,
}

impl World {
    fn new() -> Self {
        Self { set: schemas(), live: None, second: 0 }
    }

    fn context<'a>(&'a self, manager: &'a str, subresource: &'a str) -> Context<'a> {
        Context {
            set: &self.set,
            schema: "Deployment",
            api_version: "apps/v1",
            manager,
            subresource,
            reset: if subresource == "status" { &["spec"] } else { &["status"] },
            versions: None,
            now: jiff::Timestamp::from_second(self.second).unwrap(),
        }
    }

    fn try_apply(&mut self, manager: &str, config: &Value, force: bool) -> Result<(), ApplyError> {
        self.second += 1;
        let result = apply(&self.context(manager, ""), self.live.as_ref(), config, force)?;
        self.live = Some(result);
        Ok(())
    }

    fn apply(&mut self, manager: &str, config: &Value) {
        self.try_apply(manager, config, false).unwrap_or_else(|error| panic!("{manager}: {error}"));
    }

    fn write(&mut self, manager: &str, subresource: &str, change: impl FnOnce(&mut Value)) {
        self.second += 1;
        let mut new =
            self.live.clone().unwrap_or_else(|| crate::test_schema::deployment(serde_json::json!({}), serde_json::json!({})));
        change(&mut new);
        update(&self.context(manager, subresource), self.live.as_ref(), &mut new).unwrap();
        self.live = Some(new);
    }

    fn live(&self) -> &Value {
        self.live.as_ref().unwrap()
    }

    fn entries(&self) -> Vec<Value> {
        self.live()["metadata"]["managedFields"].as_array().cloned().unwrap_or_default()
    }

    fn managers(&self) -> Vec<String> {
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        self.entries().iter().map(|entry| format!("{}/{}", text(entry, "manager"), text(entry, "operation"))).collect()
    }

    fn fields(&self, manager: &str) -> Value {
        let entries = self.entries();
        let entry = entries.iter().find(|entry| entry["manager"] == manager);
        entry.unwrap_or_else(|| panic!("no entry of {manager} in {entries:?}"))["fieldsV1"].clone()
    }

    fn time(&self, manager: &str) -> String {
        let entries = self.entries();
        entries.iter().find(|entry| entry["manager"] == manager).unwrap()["time"].as_str().unwrap().to_owned()
    }
}
