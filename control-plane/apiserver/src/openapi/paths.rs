//! The paths of a resource, and what can be done there.

use std::sync::Arc;

use mizzen_api::descriptor::Subresource;
use mizzen_api::schema::SchemaSet;
use mizzen_api::{GroupVersionKind, ResourceDescriptor, Scope, Verb};
use serde_json::{Map, Value, json};

use super::operation::{ANY, Content, LIST, OBJECT, Operation, meta, path_item, reference};
use super::parameters;
use super::service::{Service, joined};

const PATCHES: &[&str] = &[
    "application/apply-patch+cbor",
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
/// Custom kinds have no merge keys, and no message that protobuf could carry.
const CUSTOM_PATCHES: &[&str] = &[
    "application/apply-patch+cbor",
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
];
const CUSTOM: &[&str] = &["application/json", "application/yaml"];
const LOG: &[&str] = &["application/cbor", "application/json", crate::protobuf::MEDIA_TYPE, "application/yaml", "text/plain"];

/// A resource in one of its versions.
struct Described<'a> {
    service: &'a Service,
    descriptor: &'a ResourceDescriptor,
    kind: GroupVersionKind,
    schemas: &'a SchemaSet,
}

pub(super) fn add(
    paths: &mut Map<String, Value>,
    service: &Service,
    descriptor: &ResourceDescriptor,
    version: &Arc<str>,
    schemas: &SchemaSet,
) {
    let kind = GroupVersionKind::new(descriptor.group.clone(), version.clone(), descriptor.kind.clone());
    let described = Described { service, descriptor, kind, schemas };
    let mut insert = |path: String, operations: Vec<Operation>| {
        if !operations.is_empty() {
            let item = path_item(&path, &service.tag, &operations);
            paths.insert(path, item);
        }
    };
    let (base, resource) = (&service.base, &descriptor.resource);
    let is_namespaced = descriptor.scope == Scope::Namespaced;
    let below = if is_namespaced { "namespaces/{namespace}/" } else { "" };
    let collection = format!("{base}/{below}{resource}");
    let serves = |verb: Verb| descriptor.verbs.contains(&verb);
    if is_namespaced && serves(Verb::List) {
        let everywhere = Operation { id: described.everywhere("list", ""), ..described.own(Verb::List) };
        insert(format!("{base}/{resource}"), vec![everywhere]);
    }
    let of = |verbs: &[Verb]| verbs.iter().filter(|verb| serves(**verb)).map(|verb| described.own(*verb)).collect();
    insert(collection.clone(), of(&[Verb::List, Verb::Create, Verb::DeleteCollection]));
    insert(format!("{collection}/{{name}}"), of(&[Verb::Get, Verb::Update, Verb::Patch, Verb::Delete]));
    for subresource in &descriptor.subresources {
        let path = format!("{collection}/{{name}}/{}", subresource.name);
        match subresource.kind.as_ref().filter(|kind| kind.kind.ends_with("Options")) {
            Some(options) => {
                insert(path.clone(), described.connections(subresource, options, ""));
                if subresource.name == "proxy" {
                    insert(format!("{path}/{{path}}"), described.connections(subresource, options, "WithPath"));
                }
            }
            None => insert(path, subresource.verbs.iter().map(|verb| described.below(subresource, *verb)).collect()),
        }
    }
    if serves(Verb::Watch) && descriptor.custom.is_none() {
        if is_namespaced {
            insert(format!("{base}/watch/{resource}"), vec![described.watch(described.everywhere("watch", "List"), "watchlist")]);
        }
        let all = described.watch(described.id("watch", "List"), "watchlist");
        insert(format!("{base}/watch/{below}{resource}"), vec![all]);
        let one = described.watch(described.id("watch", ""), "watch");
        insert(format!("{base}/watch/{below}{resource}/{{name}}"), vec![one]);
    }
}

impl Described<'_> {
    fn is_custom(&self) -> bool {
        self.descriptor.custom.is_some()
    }

    fn id(&self, verb: &str, rest: &str) -> String {
        format!("{verb}{}{}{}{rest}", self.service.title, self.scope(), self.descriptor.kind)
    }

    fn scope(&self) -> &'static str {
        if self.descriptor.scope == Scope::Namespaced { "Namespaced" } else { "" }
    }

    fn everywhere(&self, verb: &str, rest: &str) -> String {
        format!("{verb}{}{}{rest}ForAllNamespaces", self.service.title, self.descriptor.kind)
    }

    /// The schema of the kind itself.
    fn schema(&self) -> Value {
        reference(self.descriptor.schema_of(&self.kind.version))
    }

    /// The schema of the resource's lists, where they have one.
    fn list_schema(&self) -> Value {
        let own = self.descriptor.schema_of(&self.kind.version);
        let name = own.rsplit_once('.').map(|(package, _)| format!("{package}.{}", self.descriptor.list_kind()));
        let known = name.filter(|name| self.schemas.contains(name) || self.schemas.published(name).is_some());
        known.map_or_else(|| self.schema(), |name| reference(&name))
    }

    fn answer(&self, schema: Value) -> Content {
        Content { media: if self.is_custom() { CUSTOM } else { OBJECT }, schema }
    }

    /// An operation on the resource itself.
    fn own(&self, verb: Verb) -> Operation<'_> {
        let id = match verb {
            Verb::DeleteCollection => {
                format!("delete{}Collection{}{}", self.service.title, self.scope(), self.descriptor.kind)
            }
            _ => self.id(operation_verb(verb), ""),
        };
        self.operation(verb, id, &self.kind, self.schema())
    }

    /// An operation on a part of an object.
    fn below<'a>(&'a self, subresource: &'a Subresource, verb: Verb) -> Operation<'a> {
        let id = self.id(operation_verb(verb), &joined(subresource.name, true));
        let (kind, schema) = match &subresource.kind {
            Some(kind) => (kind, self.schemas.name_of(kind).map_or_else(|| json!({}), |name| reference(name))),
            None => (&self.kind, self.schema()),
        };
        let operation = self.operation(verb, id, kind, schema);
        match subresource.name {
            "log" => {
                let answer = Content { media: LOG, schema: json!({"type": "string"}) };
                Operation { parameters: parameters::LOG, answer, ..operation }
            }
            _ => operation,
        }
    }

    fn operation<'a>(&'a self, verb: Verb, id: String, kind: &'a GroupVersionKind, schema: Value) -> Operation<'a> {
        let custom = self.is_custom();
        let body = |media: &'static [&'static str]| Some((Content { media, schema: schema.clone() }, true));
        let options = || Some((Content { media: if custom { CUSTOM } else { ANY }, schema: meta("DeleteOptions") }, false));
        let media = if custom { CUSTOM } else { ANY };
        let plain = self.answer(schema.clone());
        let (method, action, parameters, codes, body, answer): (_, _, _, &[u16], _, _) = match verb {
            Verb::Get if custom => ("get", "get", parameters::GET_CUSTOM, &[200], None, plain),
            Verb::Get => ("get", "get", parameters::PRETTY, &[200], None, plain),
            Verb::List if custom => ("get", "list", parameters::LIST, &[200], None, self.answer(self.list_schema())),
            Verb::List | Verb::Watch => {
                ("get", "list", parameters::LIST, &[200], None, Content { media: LIST, schema: self.list_schema() })
            }
            Verb::Create => ("post", "post", parameters::CREATE, &[200, 201, 202], body(media), plain),
            Verb::Update => ("put", "put", parameters::CREATE, &[200, 201], body(media), plain),
            Verb::Patch => {
                let media = if custom { CUSTOM_PATCHES } else { PATCHES };
                let codes: &[u16] = if custom { &[200] } else { &[200, 201] };
                let body = Some((Content { media, schema: meta("Patch") }, true));
                ("patch", "patch", parameters::PATCH, codes, body, plain)
            }
            Verb::Delete => {
                let shows = crate::pipeline::answers_with_object(&self.descriptor.group, &self.descriptor.resource);
                let answer = if shows { plain } else { self.answer(meta("Status")) };
                ("delete", "delete", parameters::DELETE, &[200, 202], options(), answer)
            }
            Verb::DeleteCollection => {
                let (parameters, body) =
                    if custom { (parameters::LIST, None) } else { (parameters::DELETE_COLLECTION, options()) };
                ("delete", "deletecollection", parameters, &[200], body, self.answer(meta("Status")))
            }
        };
        let description = format!("{action} {}", kind.kind);
        Operation { method, id, description, action: Some((action, kind)), parameters, body, codes, answer }
    }

    /// A watch by path, as clients asked for it before there was a parameter.
    fn watch(&self, id: String, action: &'static str) -> Operation<'_> {
        let answer = Content { media: LIST, schema: meta("WatchEvent") };
        Operation {
            description: format!("watch {}. Deprecated: the parameter watch of a list does it.", self.kind.kind),
            id,
            action: Some((action, &self.kind)),
            answer,
            ..self.own(Verb::List)
        }
    }

    /// Requests that are passed on to what the object is.
    fn connections<'a>(&'a self, subresource: &Subresource, options: &'a GroupVersionKind, rest: &str) -> Vec<Operation<'a>> {
        let all = subresource.verbs.contains(&Verb::Update);
        let methods: &[(&'static str, &str)] = match all {
            true => &[
                ("delete", "Delete"),
                ("get", "Get"),
                ("head", "Head"),
                ("options", "Options"),
                ("patch", "Patch"),
                ("post", "Post"),
                ("put", "Put"),
            ],
            false => &[("get", "Get"), ("post", "Post")],
        };
        let scope = self.scope();
        let name = joined(subresource.name, true);
        let operation = |(method, word): &(&'static str, &str)| Operation {
            method,
            id: format!("connect{}{word}{scope}{}{name}{rest}", self.service.title, self.descriptor.kind),
            description: format!("connect {word} requests to {} of {}", subresource.name, self.descriptor.kind),
            action: Some(("connect", options)),
            parameters: parameters::of_connection(&options.kind),
            body: None,
            codes: &[200],
            answer: Content { media: ANY, schema: json!({"type": "string"}) },
        };
        methods.iter().map(operation).collect()
    }
}

fn operation_verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "read",
        Verb::List | Verb::Watch => "list",
        Verb::Create => "create",
        Verb::Update => "replace",
        Verb::Patch => "patch",
        Verb::Delete | Verb::DeleteCollection => "delete",
    }
}
