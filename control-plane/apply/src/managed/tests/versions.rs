//! A kind whose `v1` has `spec.address`, and whose `v2` has `spec.host` and `spec.port` instead.

use mizzen_api::schema::SchemaSet;
use serde_json::{Value, json};

use super::super::{ApplyError, Context, NeedsConversion, Versions, apply, update};

fn convert(document: &Value, api_version: &str) -> Value {
    let mut document = document.clone();
    let Value::Object(spec) = &mut document["spec"] else { panic!("no spec") };
    let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    if api_version == "a/v2" {
        if let Some(address) = spec.remove("address") {
            let address = text(Some(address));
            let (host, port) = address.split_once(':').unwrap_or((&address, ""));
            spec.extend([("host".to_owned(), json!(host)), ("port".to_owned(), json!(port))]);
        }
    } else if spec.contains_key("host") || spec.contains_key("port") {
        let address = format!("{}:{}", text(spec.remove("host")), text(spec.remove("port")));
        spec.insert("address".to_owned(), json!(address));
    }
    document["apiVersion"] = json!(api_version);
    document
}

#[derive(Default)]
struct Made(Vec<(Value, String, Value)>);

impl Versions for Made {
    fn schema(&self, api_version: &str) -> Option<&str> {
        ["a/v1", "a/v2"].contains(&api_version).then_some("anything")
    }

    fn converted(&self, document: &Value, api_version: &str) -> Option<&Value> {
        let found = self.0.iter().find(|(from, version, _)| from == document && version == api_version);
        found.map(|(_, _, converted)| converted)
    }
}

impl Made {
    fn make(&mut self, NeedsConversion { document, api_version }: NeedsConversion) {
        assert!(document["metadata"].get("managedFields").is_none());
        assert_ne!(document["apiVersion"], *api_version);
        assert_eq!(self.converted(&document, &api_version), None, "asked for again");
        let converted = convert(&document, &api_version);
        self.0.push((document, api_version, converted));
    }
}

/// One object, in the version that was written last.
struct World {
    live: Option<Value>,
    second: i64,
}

impl World {
    fn new() -> Self {
        Self { live: None, second: 0 }
    }

    fn live(&self, api_version: &str) -> Option<Value> {
        let live = self.live.as_ref()?;
        Some(if live["apiVersion"] == api_version { live.clone() } else { convert(live, api_version) })
    }

    fn write<T>(
        &mut self,
        manager: &str,
        api_version: &str,
        write: impl Fn(&Context<'_>) -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        self.second += 1;
        let (set, mut made) = (SchemaSet::default(), Made::default());
        loop {
            let context = Context {
                set: &set,
                schema: "anything",
                api_version,
                manager,
                subresource: "",
                reset: &[],
                versions: Some(&made),
                now: jiff::Timestamp::from_second(self.second).unwrap(),
            };
            match write(&context) {
                Err(ApplyError::NeedsConversion(needs)) => made.make(*needs),
                done => return done,
            }
        }
    }

    fn apply(&mut self, manager: &str, api_version: &str, spec: Value, force: bool) -> Result<(), ApplyError> {
        let live = self.live(api_version);
        let config = json!({"apiVersion": api_version, "kind": "A", "metadata": {"name": "x"}, "spec": spec});
        self.live = Some(self.write(manager, api_version, |context| apply(context, live.as_ref(), &config, force))?);
        Ok(())
    }

    fn update(&mut self, manager: &str, api_version: &str, change: impl Fn(&mut Value)) {
        let live = self.live(api_version);
        let updated = self.write(manager, api_version, |context| {
            let mut new = live
                .clone()
                .unwrap_or_else(|| json!({"apiVersion": api_version, "kind": "A", "metadata": {"name": "x"}, "spec": {}}));
            change(&mut new["spec"]);
            let before = new.clone();
            match update(context, live.as_ref(), &mut new) {
                Ok(()) => Ok(new),
                Err(needs) => {
                    assert_eq!(new, before, "is as it was");
                    Err(ApplyError::NeedsConversion(Box::new(needs)))
                }
            }
        });
        self.live = Some(updated.unwrap());
    }

    /// Who owns what, and in which version.
    fn owners(&self) -> Vec<String> {
        let entries = self.live.as_ref().unwrap()["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let owned = |entry: &Value| {
            let below = entry["fieldsV1"]["f:spec"].as_object().into_iter().flatten().map(|(field, _)| field.clone());
            let mut fields: Vec<String> = below.filter(|field| field != ".").collect();
            fields.sort_unstable();
            format!("{} {} {}", entry["manager"].as_str().unwrap(), entry["apiVersion"].as_str().unwrap(), fields.join(" "))
        };
        entries.iter().map(owned).collect()
    }

    fn spec(&self, api_version: &str) -> Value {
        self.live(api_version).unwrap()["spec"].clone()
    }
}

fn conflicts(outcome: Result<(), ApplyError>) -> Vec<(String, String)> {
    match outcome {
        Err(ApplyError::Conflicts(conflicts)) => conflicts.0.into_iter().map(|one| (one.manager, one.path)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_owns_a_field_in_another_version_is_in_conflict_and_loses_it_to_force() {
    let mut world = World::new();
    world.apply("a", "a/v1", json!({"address": "h:80", "color": "red"}), false).unwrap();
    let refused = world.apply("b", "a/v2", json!({"host": "i"}), false);
    assert_eq!(conflicts(refused), [("\"a\"".to_owned(), ".spec.address".to_owned())]);
    // What says the same is in conflict with nobody.
    world.apply("b", "a/v2", json!({"host": "h"}), false).unwrap();
    assert_eq!(world.owners(), ["a a/v1 f:address f:color", "b a/v2 f:host"]);
    world.apply("b", "a/v2", json!({"host": "i"}), true).unwrap();
    assert_eq!(world.owners(), ["a a/v1 f:color", "b a/v2 f:host"]);
    assert_eq!(world.spec("a/v1"), json!({"address": "i:80", "color": "red"}));
}

#[test]
fn an_update_takes_what_it_changes_in_the_version_of_its_owner() {
    let mut world = World::new();
    world.apply("a", "a/v1", json!({"address": "h:80", "color": "red"}), false).unwrap();
    world.update("b", "a/v2", |spec| spec["port"] = json!("81"));
    assert_eq!(world.owners(), ["a a/v1 f:color", "b a/v2 f:port"]);
    world.update("c", "a/v2", |spec| spec["size"] = json!("big"));
    assert_eq!(world.owners(), ["a a/v1 f:color", "b a/v2 f:port", "c a/v2 f:size"]);
}

#[test]
fn what_an_applier_left_out_goes_though_it_applied_it_in_another_version() {
    let mut world = World::new();
    world.apply("a", "a/v1", json!({"address": "h:80", "color": "red", "shape": "round"}), false).unwrap();
    world.apply("b", "a/v1", json!({"shape": "round"}), false).unwrap();
    world.apply("a", "a/v2", json!({"host": "h", "port": "80"}), false).unwrap();
    assert_eq!(world.spec("a/v2"), json!({"host": "h", "port": "80", "shape": "round"}));
    assert_eq!(world.owners(), ["b a/v1 f:shape", "a a/v2 f:host f:port"]);
}

#[test]
fn who_owns_in_a_version_that_is_gone_owns_nothing_any_more() {
    let mut world = World::new();
    world.apply("a", "a/v1", json!({"address": "h:80"}), false).unwrap();
    let gone = json!([{"manager": "old", "operation": "Apply", "apiVersion": "a/v0", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:address": {}}}}]);
    world.live.as_mut().unwrap()["metadata"]["managedFields"] = gone;
    world.apply("b", "a/v1", json!({"address": "i:81"}), false).unwrap();
    assert_eq!(world.owners(), ["b a/v1 f:address"]);
}
