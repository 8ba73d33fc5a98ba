//! Messages as both directions need them: the table's numbers joined with the schemas' types, once per process.

use std::collections::HashMap;
use std::sync::LazyLock;

use mizzen_api::GroupVersionKind;
use mizzen_api::schema::{self, ObjectShape, Schema, SchemaSet, Shape};

use super::fields::{self, Row, Rows};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// What the bytes of one field mean.
#[derive(Debug)]
pub(super) enum Kind {
    Text,
    Bytes,
    Integer,
    Boolean,
    Double,
    Quantity,
    IntOrString,
    Time {
        micro: bool,
    },
    /// A message around a JSON document.
    Raw,
    Message(usize),
    List(Box<Kind>),
    Map(Box<Kind>),
    Union(Union),
}

/// A message that stands for a schema, or for something simpler than one.
#[derive(Debug)]
pub(super) struct Union {
    pub(super) schema: u32,
    pub(super) message: Box<Kind>,
    /// The number of a list, and what it holds.
    pub(super) list: Option<(u32, Box<Kind>)>,
    /// The number of a flag.
    pub(super) flag: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: &'static str,
    /// Zero is told from absent.
    pub(super) kept: bool,
    /// The schema says that it must be there.
    pub(super) required: bool,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Entry {
    Field(Field),
    /// The fields of another message stand in the object itself.
    Inline {
        number: u32,
        message: usize,
    },
}

impl Entry {
    fn number(&self) -> u32 {
        match self {
            Self::Field(field) => field.number,
            Self::Inline { number, .. } => *number,
        }
    }
}

/// Entries in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Message {
    entries: Vec<Entry>,
}

impl Message {
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn entry(&self, number: u32) -> Option<&Entry> {
        self.entries.binary_search_by_key(&number, Entry::number).ok().map(|index| &self.entries[index])
    }
}

pub(super) struct Layouts {
    messages: Vec<Message>,
    by_name: HashMap<String, usize>,
}

impl Layouts {
    pub(super) fn message(&self, index: usize) -> &Message {
        &self.messages[index]
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The message with the name of a schema.
    pub(super) fn named(&self, schema: &str) -> Option<usize> {
        self.by_name.get(schema).copied()
    }

    /// The message of a top-level kind.
    pub(super) fn of_kind(&self, gvk: &GroupVersionKind) -> Option<usize> {
        if let Some(name) = schema::builtin().name_of(gvk) {
            return self.named(name);
        }
        // Options exist in every group; the others are of every version of their own.
        let meta = gvk.kind.ends_with("Options") || &*gvk.kind == "Status" || gvk.kind.starts_with("PartialObjectMetadata");
        meta.then(|| self.named(&format!("{META}.{}", gvk.kind))).flatten()
    }
}

/// Those of every built-in kind.
pub(super) fn builtin() -> &'static Layouts {
    static LAYOUTS: LazyLock<Layouts> = LazyLock::new(|| build(schema::builtin()));
    &LAYOUTS
}

struct Builder<'a> {
    schemas: &'a SchemaSet,
    table: HashMap<String, Rows>,
    layouts: Layouts,
}

fn build(schemas: &SchemaSet) -> Layouts {
    let layouts = Layouts { messages: Vec::new(), by_name: HashMap::new() };
    let mut builder = Builder { schemas, table: fields::table(), layouts };
    for (name, _) in schemas.iter() {
        builder.message(name);
    }
    builder.partial_metadata();
    builder.layouts
}

impl Builder<'_> {
    /// The index of the message of a schema, made when it is first asked for: schemas refer to themselves.
    fn message(&mut self, name: &str) -> Option<usize> {
        if let Some(index) = self.layouts.named(name) {
            return Some(index);
        }
        let schemas = self.schemas;
        let rows = self.table.get(name)?;
        let shape = match &schemas.get(name)?.shape {
            Shape::Object(shape) => Some(shape),
            // A struct without fields: that it is there is all that it says.
            _ if rows.fields.is_empty() => None,
            _ => return None,
        };
        let index = self.reserve();
        self.layouts.by_name.insert(name.to_owned(), index);
        if let Some(shape) = shape {
            self.fill(index, name, shape);
        }
        Some(index)
    }

    fn reserve(&mut self) -> usize {
        self.layouts.messages.push(Message::default());
        self.layouts.messages.len() - 1
    }

    /// Joins the table's message `name` with the fields of `shape`.
    fn fill(&mut self, index: usize, name: &str, shape: &ObjectShape) {
        let Some(rows) = self.table.get(name) else { return };
        let (package, rows) = (rows.package, rows.fields.clone());
        let mut entries = Vec::with_capacity(rows.len());
        for (number, row) in rows {
            match row {
                Row::Field { name, kept } => {
                    let Some(field) = shape.fields.get(name) else { continue };
                    let Some(kind) = self.kind(&field.schema) else { continue };
                    entries.push(Entry::Field(Field { number, name, kept, required: field.required, kind }));
                }
                Row::Inline(inline) => {
                    let message = self.reserve();
                    self.fill(message, &format!("{package}.{inline}"), shape);
                    entries.push(Entry::Inline { number, message });
                }
            }
        }
        entries.sort_unstable_by_key(Entry::number);
        self.layouts.messages[index].entries = entries;
    }

    fn kind(&mut self, schema: &Schema) -> Option<Kind> {
        if let Shape::Ref(name) = &schema.shape {
            match name.strip_prefix(META) {
                Some(".Time") => return Some(Kind::Time { micro: false }),
                Some(".MicroTime") => return Some(Kind::Time { micro: true }),
                _ => {}
            }
            if let Some((package, base)) = name.split_once("JSONSchemaPropsOr") {
                return self.union(&format!("{package}JSONSchemaProps"), base);
            }
            if let Some(index) = self.message(name) {
                return Some(Kind::Message(index));
            }
            if self.schemas.get(name).is_some_and(|schema| matches!(schema.shape, Shape::Object(_))) {
                return None;
            }
        }
        let schemas = self.schemas;
        Some(match &schemas.resolve(schema).shape {
            Shape::String { format: Some(format), .. } if &**format == "byte" => Kind::Bytes,
            Shape::String { .. } => Kind::Text,
            Shape::Integer { .. } => Kind::Integer,
            Shape::Number { .. } => Kind::Double,
            Shape::Boolean => Kind::Boolean,
            Shape::IntOrString => Kind::IntOrString,
            Shape::Quantity => Kind::Quantity,
            Shape::Any => Kind::Raw,
            Shape::List { items, .. } => Kind::List(Box::new(self.kind(items)?)),
            Shape::Map { values, .. } => Kind::Map(Box::new(self.kind(values)?)),
            // A struct in its place: its name says which message it is.
            Shape::Object(shape) => Kind::Message(self.anonymous(shape)?),
            Shape::Ref(_) => return None,
        })
    }

    /// A struct that a field holds without a name is that of the named schema with the same fields.
    fn anonymous(&mut self, shape: &ObjectShape) -> Option<usize> {
        let schemas = self.schemas;
        let same = |candidate: &Schema| match &candidate.shape {
            Shape::Object(object) => object.fields.keys().eq(shape.fields.keys()),
            _ => false,
        };
        let mut names: Vec<&str> = schemas
            .iter()
            .filter(|(name, schema)| self.table.contains_key(&***name) && same(schema))
            .map(|(name, _)| &**name)
            .collect();
        names.sort_unstable();
        names.first().and_then(|name| self.message(name))
    }

    fn union(&mut self, schema: &str, base: &str) -> Option<Kind> {
        let index = self.message(schema)?;
        let message = Box::new(Kind::Message(index));
        let union = match base {
            "Array" => Union { schema: 1, message, list: Some((2, Box::new(Kind::Message(index)))), flag: None },
            "Bool" => Union { schema: 2, message, list: None, flag: Some(1) },
            _ => Union { schema: 1, message, list: Some((2, Box::new(Kind::Text))), flag: None },
        };
        Some(Kind::Union(union))
    }

    /// The metadata-only view has no schema of its own.
    fn partial_metadata(&mut self) {
        let (Some(object_meta), Some(list_meta)) =
            (self.layouts.named(&meta("ObjectMeta")), self.layouts.named(&meta("ListMeta")))
        else {
            return;
        };
        let field = |number, name, kind| Entry::Field(Field { number, name, kept: false, required: false, kind });
        let one = self.reserve();
        self.layouts.messages[one].entries = vec![field(1, "metadata", Kind::Message(object_meta))];
        let list = self.reserve();
        self.layouts.messages[list].entries =
            vec![field(1, "metadata", Kind::Message(list_meta)), field(2, "items", Kind::List(Box::new(Kind::Message(one))))];
        self.layouts.by_name.insert(meta("PartialObjectMetadata"), one);
        self.layouts.by_name.insert(meta("PartialObjectMetadataList"), list);
    }
}

fn meta(kind: &str) -> String {
    format!("{META}.{kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field without a number would silently be lost.
    #[test]
    fn every_field_of_every_builtin_kind_has_a_number() {
        let layouts = builtin();
        let mut missing = Vec::new();
        // What runs is told as JSON only.
        for (name, schema) in schema::builtin().iter().filter(|(name, _)| !name.ends_with("version.Info")) {
            let Shape::Object(shape) = &schema.shape else { continue };
            let Some(index) = layouts.named(name) else {
                missing.push(format!("{name} is no message"));
                continue;
            };
            let mut known = Vec::new();
            names(layouts, index, &mut known);
            let top_level = !shape.kinds.is_empty() || name.starts_with(META);
            missing.extend(
                shape
                    .fields
                    .keys()
                    .filter(|field| !known.contains(&&***field))
                    // The envelope holds them.
                    .filter(|field| !(top_level && matches!(&***field, "apiVersion" | "kind")))
                    .map(|field| format!("{name}.{field}")),
            );
        }
        missing.sort_unstable();
        assert!(missing.is_empty(), "{}", missing.join("\n"));
    }

    fn names(layouts: &Layouts, index: usize, found: &mut Vec<&'static str>) {
        for entry in layouts.message(index).entries() {
            match entry {
                Entry::Field(field) => found.push(field.name),
                Entry::Inline { message, .. } => names(layouts, *message, found),
            }
        }
    }
}
