//! `metadata.managedFields`: the managers of an object, read and written.

use serde_json::{Map, Value, json};

use super::fieldset::FieldSet;

/// As many entries of updates as an object keeps; the oldest are merged beyond that.
const MAX_UPDATERS: usize = 10;
/// Who is said to have made the merged updates.
const ANCIENT: &str = "ancient-changes";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// What tells managers apart. An applier is the same whatever version it applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) operation: Operation,
    pub(super) subresource: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) manager: Manager,
    pub(super) api_version: String,
    /// RFC 3339, as it was written.
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

impl Entry {
    pub(super) fn is(&self, manager: &Manager, api_version: &str) -> bool {
        self.manager == *manager && (manager.operation == Operation::Apply || self.api_version == api_version)
    }

    /// The manager as Kubernetes prints it in a conflict.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("{:?}", self.manager.name);
        if !self.manager.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.manager.subresource));
        }
        if self.manager.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }

    fn decode(entry: &Value) -> Result<Self, String> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        if text("apiVersion").is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        if text("fieldsType") != "FieldsV1" {
            return Err(format!("invalid fieldsType {:?}", text("fieldsType")));
        }
        let fields = match entry.get("fieldsV1") {
            None | Some(Value::Null) => FieldSet::default(),
            Some(fields) => FieldSet::from_json(fields).map_err(|error| error.to_string())?,
        };
        Ok(Self {
            manager: Manager { name: text("manager").to_owned(), operation, subresource: text("subresource").to_owned() },
            api_version: text("apiVersion").to_owned(),
            time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
            fields,
        })
    }

    fn encode(&self) -> Value {
        let operation = match self.manager.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        let mut entry = json!({
            "manager": self.manager.name,
            "operation": operation,
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_json(),
        });
        if let Some(time) = &self.time {
            entry["time"] = json!(time);
        }
        if !self.manager.subresource.is_empty() {
            entry["subresource"] = json!(self.manager.subresource);
        }
        entry
    }
}

/// Reads the list of entries; a missing list has none.
pub(super) fn decode(list: Option<&Value>) -> Result<Vec<Entry>, String> {
    match list {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => {
            let mut entries: Vec<Entry> = Vec::with_capacity(list.len());
            for entry in list {
                let entry = Entry::decode(entry)?;
                // Of two entries of one manager, the later counts.
                entries.retain(|known| !known.is(&entry.manager, &entry.api_version));
                entries.push(entry);
            }
            Ok(entries)
        }
        Some(_) => Err("managedFields is not a list".to_owned()),
    }
}

/// The managed fields of a document, not read yet.
pub(super) fn of(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

/// Takes the managed fields out of a document.
pub(super) fn take(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}

/// Puts back what [`take`] took.
pub(super) fn restore(object: &mut Value, recorded: Option<Value>) {
    if let (Some(Value::Object(metadata)), Some(recorded)) = (object.get_mut("metadata"), recorded) {
        metadata.insert("managedFields".to_owned(), recorded);
    }
}

/// Writes the entries into a document, in the order of Kubernetes: appliers first, then by time and name.
pub(super) fn put(object: &mut Value, mut entries: Vec<Entry>) {
    let Some(object) = object.as_object_mut() else { return };
    if entries.is_empty() {
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        return;
    }
    entries.sort_by(|left, right| {
        let key = |entry: &Entry| (entry.manager.operation, entry.time.clone());
        key(left)
            .cmp(&key(right))
            .then_with(|| left.manager.name.cmp(&right.manager.name))
            .then_with(|| left.api_version.cmp(&right.api_version))
            .then_with(|| left.manager.subresource.cmp(&right.manager.subresource))
    });
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(metadata) = metadata {
        metadata.insert("managedFields".to_owned(), entries.iter().map(Entry::encode).collect());
    }
}

/// Whether a client asks to forget all managers: `[]` or `[{}]`.
pub(super) fn is_reset(list: Option<&Value>) -> bool {
    match list {
        Some(Value::Array(entries)) => match entries.as_slice() {
            [] => true,
            [entry] => entry.as_object().is_some_and(Map::is_empty),
            _ => false,
        },
        _ => false,
    }
}

/// Merges the oldest updates of one version until no more than [`MAX_UPDATERS`] are left.
pub(super) fn cap_updaters(entries: &mut Vec<Entry>) {
    let mut updaters: Vec<usize> =
        (0..entries.len()).filter(|place| entries[*place].manager.operation == Operation::Update).collect();
    let mut excess = updaters.len().saturating_sub(MAX_UPDATERS);
    if excess == 0 {
        return;
    }
    updaters.sort_by(|left, right| {
        let key = |place: &usize| (&entries[*place].time, &entries[*place].manager.name);
        key(left).cmp(&key(right))
    });
    // The first entry of each version becomes the bucket of the others, unless there is one from before.
    let is_bucket = |entry: &Entry| {
        let Manager { name, operation, subresource } = &entry.manager;
        name == ANCIENT && *operation == Operation::Update && subresource.is_empty()
    };
    let mut merged = Vec::new();
    let mut buckets: Vec<usize> = (0..entries.len()).filter(|place| is_bucket(&entries[*place])).collect();
    updaters.retain(|place| !buckets.contains(place));
    for place in updaters {
        if excess == 0 {
            break;
        }
        match buckets.iter().copied().find(|bucket| entries[*bucket].api_version == entries[place].api_version) {
            None => buckets.push(place),
            Some(bucket) => {
                let Entry { fields, time, .. } = entries[place].clone();
                entries[bucket].fields.add(&fields);
                entries[bucket].time = time;
                entries[bucket].manager =
                    Manager { name: ANCIENT.to_owned(), operation: Operation::Update, subresource: String::new() };
                merged.push(place);
                excess -= 1;
            }
        }
    }
    merged.sort_unstable();
    for place in merged.into_iter().rev() {
        entries.remove(place);
    }
}
