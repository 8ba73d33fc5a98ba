//! `metadata.managedFields`: the managers of an object, read and written.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::fieldset::FieldSet;
use super::node::is_empty;
use super::owned::Owned;

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
pub(super) struct Manager<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) operation: Operation,
    pub(super) subresource: Cow<'a, str>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    pub(super) manager: Manager<'a>,
    pub(super) api_version: Cow<'a, str>,
    /// RFC 3339, as it was written.
    pub(super) time: Option<Cow<'a, str>>,
    pub(super) fields: Owned<'a>,
    /// What it was read from.
    pub(super) written: Option<&'a Value>,
}

impl<'a> Entry<'a> {
    pub(super) fn is(&self, manager: &Manager<'_>, api_version: &str) -> bool {
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

    fn decode(entry: &'a Value) -> Result<Self, String> {
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
            None | Some(Value::Null) => Owned::Read(FieldSet::default()),
            Some(fields) => Owned::of(fields).map_err(|error| error.to_string())?,
        };
        Ok(Self {
            manager: Manager { name: text("manager").into(), operation, subresource: text("subresource").into() },
            api_version: text("apiVersion").into(),
            time: entry.get("time").and_then(Value::as_str).map(Cow::Borrowed),
            fields,
            written: Some(entry),
        })
    }

    /// What it was read from, if it says the same of manager and fields.
    fn as_written(&self) -> Option<&'a Value> {
        let written = self.written?;
        let fields = written.as_object()?;
        let is = |name: &str, text: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default() == text;
        let optional = usize::from(!self.manager.subresource.is_empty()) + usize::from(self.time.is_some());
        let is_same = fields.len() == 5 + optional
            && is("manager", &self.manager.name)
            && is("apiVersion", &self.api_version)
            && is("subresource", &self.manager.subresource)
            && fields.get("fieldsV1").is_some_and(|fields| self.fields.is_written(fields));
        is_same.then_some(written)
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
        });
        entry["fieldsV1"] = self.fields.to_json();
        if let Some(time) = &self.time {
            entry["time"] = json!(time);
        }
        if !self.manager.subresource.is_empty() {
            entry["subresource"] = json!(self.manager.subresource);
        }
        entry
    }

    /// What to write; `list` is one that may be taken apart for it.
    fn line(&self, list: &[Value]) -> Line {
        let Some(written) = self.as_written() else { return Line::New(self.encode()) };
        let time = self.time.as_ref().filter(|time| written["time"] != ***time).map(|time| json!(time));
        match list.iter().position(|entry| std::ptr::eq(entry, written) || entry == written) {
            Some(place) => Line::Kept(place, time),
            None => {
                let mut entry = written.clone();
                if let Some(time) = time {
                    entry["time"] = time;
                }
                Line::New(entry)
            }
        }
    }
}

/// One entry of a list that is to be written.
enum Line {
    New(Value),
    /// The entry at a place of the list that was read, at another time if there is one.
    Kept(usize, Option<Value>),
}

/// The lines of a list of entries, which no longer need what the entries were read from.
pub(super) struct Lines(Vec<Line>);

impl Lines {
    /// The entries in the order of Kubernetes: appliers first, then by time and name. `list` is what they were read from, if it
    /// may be taken apart by [`Lines::into_list`].
    pub(super) fn of(mut entries: Vec<Entry<'_>>, list: Option<&Value>) -> Self {
        entries.sort_by(|left, right| {
            let (first, second) = (&left.manager, &right.manager);
            (first.operation, &left.time, &first.name, &left.api_version, &first.subresource).cmp(&(
                second.operation,
                &right.time,
                &second.name,
                &right.api_version,
                &second.subresource,
            ))
        });
        let list = list.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        Self(entries.iter().map(|entry| entry.line(list)).collect())
    }

    /// The list; `read` is what [`Lines::of`] was given.
    pub(super) fn into_list(self, read: Option<Value>) -> Value {
        let mut read = match read {
            Some(Value::Array(read)) => read,
            _ => Vec::new(),
        };
        let line = |line| match line {
            Line::New(entry) => entry,
            Line::Kept(place, time) => {
                let mut entry = read.get_mut(place).map(Value::take).unwrap_or_default();
                if let Some(time) = time {
                    entry["time"] = time;
                }
                entry
            }
        };
        self.0.into_iter().map(line).collect()
    }
}

/// Reads the list of entries; a missing list has none.
pub(super) fn decode(list: Option<&Value>) -> Result<Vec<Entry<'_>>, String> {
    match list {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => {
            let mut entries: Vec<Entry<'_>> = Vec::with_capacity(list.len());
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

/// Writes the list of entries into a document.
pub(super) fn put(object: &mut Value, entries: Value) {
    let Some(object) = object.as_object_mut() else { return };
    if is_empty(&entries) {
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        return;
    }
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(metadata) = metadata {
        metadata.insert("managedFields".to_owned(), entries);
    }
}

/// The document without its managed fields.
pub(super) fn without(object: &Value) -> Value {
    let Value::Object(fields) = object else { return object.clone() };
    let copied = |name: &str, value: &Value| match value {
        Value::Object(metadata) if name == "metadata" => {
            Value::Object(others(metadata).map(|(name, value)| (name.clone(), value.clone())).collect())
        }
        value => value.clone(),
    };
    Value::Object(fields.iter().map(|(name, value)| (name.clone(), copied(name, value))).collect())
}

/// All metadata but the managed fields.
fn others(metadata: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    metadata.iter().filter(|(name, _)| *name != "managedFields")
}

/// Whether two documents differ in nothing but their managed fields.
pub(super) fn is_same_object(left: &Value, right: &Value) -> bool {
    let (Value::Object(left), Value::Object(right)) = (left, right) else { return left == right };
    left.len() == right.len()
        && left.iter().all(|(name, left)| match (left, right.get(name)) {
            (Value::Object(left), Some(Value::Object(right))) if name == "metadata" => others(left).eq(others(right)),
            (left, right) => Some(left) == right,
        })
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
pub(super) fn cap_updaters(entries: &mut Vec<Entry<'_>>) {
    let mut updaters: Vec<usize> =
        (0..entries.len()).filter(|place| entries[*place].manager.operation == Operation::Update).collect();
    let mut excess = updaters.len().saturating_sub(MAX_UPDATERS);
    if excess == 0 {
        return;
    }
    updaters.sort_by(|left, right| {
        let key = |place: &usize| {
            let Entry { manager, api_version, time, .. } = &entries[*place];
            (time, &manager.name, api_version, &manager.subresource)
        };
        key(left).cmp(&key(right))
    });
    // The first entry of each version becomes the bucket of the others, unless there is one from before.
    let is_bucket = |entry: &Entry<'_>| {
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
                let fields = entries[place].fields.set().into_owned();
                let time = entries[place].time.clone();
                entries[bucket].fields.add(fields);
                entries[bucket].time = time;
                entries[bucket].manager = Manager { name: ANCIENT.into(), operation: Operation::Update, subresource: "".into() };
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
