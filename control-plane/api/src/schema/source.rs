//! The built-in [`SchemaSet`]: k8s-openapi's schemas with our [`super::facts`] laid over them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::{
    admissionregistration::v1 as admissionregistration_v1, apps::v1 as apps_v1, authentication::v1 as authentication_v1,
    authorization::v1 as authorization_v1, autoscaling::v1 as autoscaling_v1, autoscaling::v2 as autoscaling_v2,
    batch::v1 as batch_v1, certificates::v1 as certificates_v1, coordination::v1 as coordination_v1, core::v1 as core_v1,
    discovery::v1 as discovery_v1, events::v1 as events_v1, flowcontrol::v1 as flowcontrol_v1, networking::v1 as networking_v1,
    node::v1 as node_v1, policy::v1 as policy_v1, rbac::v1 as rbac_v1, resource::v1 as resource_v1,
    scheduling::v1 as scheduling_v1, storage::v1 as storage_v1,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions_v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta_v1;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration_v1;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use super::facts::{self, Fact, TypeFacts};
use super::{Field, ListKind, ObjectShape, PatchStrategy, Schema, SchemaSet, Shape};
use crate::GroupVersionKind;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The schemas of every generally available kind, built once at first use.
pub fn builtin() -> &'static Arc<SchemaSet> {
    static SET: LazyLock<Arc<SchemaSet>> = LazyLock::new(|| Arc::new(build()));
    &SET
}

#[derive(Default)]
struct Roots {
    generator: SchemaGenerator,
    kinds: HashMap<String, GroupVersionKind>,
    lists: Vec<(String, GroupVersionKind)>,
}

impl Roots {
    fn kind<T: JsonSchema + k8s_openapi::Resource>(&mut self) {
        self.generator.subschema_for::<T>();
        self.kinds.insert(T::schema_name().into_owned(), GroupVersionKind::new(T::GROUP, T::VERSION, T::KIND));
    }

    fn listed<T: JsonSchema + k8s_openapi::ListableResource>(&mut self) {
        self.kind::<T>();
        self.lists.push((T::schema_name().into_owned(), GroupVersionKind::new(T::GROUP, T::VERSION, T::LIST_KIND)));
    }

    fn part<T: JsonSchema>(&mut self) {
        self.generator.subschema_for::<T>();
    }
}

macro_rules! collect {
    ($roots:ident, $method:ident: $($t:ty),* $(,)?) => { $( $roots.$method::<$t>(); )* };
}

fn roots() -> Roots {
    let mut roots = Roots::default();
    collect!(roots, listed:
        admissionregistration_v1::MutatingAdmissionPolicy, admissionregistration_v1::MutatingAdmissionPolicyBinding,
        admissionregistration_v1::MutatingWebhookConfiguration, admissionregistration_v1::ValidatingAdmissionPolicy,
        admissionregistration_v1::ValidatingAdmissionPolicyBinding, admissionregistration_v1::ValidatingWebhookConfiguration,
        apps_v1::ControllerRevision, apps_v1::DaemonSet, apps_v1::Deployment, apps_v1::ReplicaSet, apps_v1::StatefulSet,
        autoscaling_v1::HorizontalPodAutoscaler, autoscaling_v2::HorizontalPodAutoscaler,
        batch_v1::CronJob, batch_v1::Job, certificates_v1::CertificateSigningRequest, coordination_v1::Lease,
        core_v1::ComponentStatus, core_v1::ConfigMap, core_v1::Endpoints, core_v1::Event, core_v1::LimitRange,
        core_v1::Namespace, core_v1::Node, core_v1::PersistentVolume, core_v1::PersistentVolumeClaim, core_v1::Pod,
        core_v1::PodTemplate, core_v1::ReplicationController, core_v1::ResourceQuota, core_v1::Secret, core_v1::Service,
        core_v1::ServiceAccount, discovery_v1::EndpointSlice, events_v1::Event,
        flowcontrol_v1::FlowSchema, flowcontrol_v1::PriorityLevelConfiguration,
        networking_v1::IPAddress, networking_v1::Ingress, networking_v1::IngressClass, networking_v1::NetworkPolicy,
        networking_v1::ServiceCIDR, node_v1::RuntimeClass, policy_v1::PodDisruptionBudget,
        rbac_v1::ClusterRole, rbac_v1::ClusterRoleBinding, rbac_v1::Role, rbac_v1::RoleBinding,
        resource_v1::DeviceClass, resource_v1::ResourceClaim, resource_v1::ResourceClaimTemplate, resource_v1::ResourceSlice,
        scheduling_v1::PriorityClass, storage_v1::CSIDriver, storage_v1::CSINode, storage_v1::CSIStorageCapacity,
        storage_v1::StorageClass, storage_v1::VolumeAttachment, storage_v1::VolumeAttributesClass,
        apiextensions_v1::CustomResourceDefinition, apiregistration_v1::APIService,
    );
    collect!(roots, kind:
        authentication_v1::SelfSubjectReview, authentication_v1::TokenRequest, authentication_v1::TokenReview,
        authorization_v1::LocalSubjectAccessReview, authorization_v1::SelfSubjectAccessReview,
        authorization_v1::SelfSubjectRulesReview, authorization_v1::SubjectAccessReview,
        autoscaling_v1::Scale, core_v1::Binding, policy_v1::Eviction,
    );
    collect!(roots, part:
        meta_v1::Status, meta_v1::DeleteOptions, meta_v1::APIGroup, meta_v1::APIGroupList, meta_v1::APIResourceList,
        meta_v1::APIVersions, meta_v1::ListMeta, meta_v1::Patch, k8s_openapi::apimachinery::pkg::version::Info,
    );
    roots
}

fn build() -> SchemaSet {
    let roots = roots();
    let facts = facts::table();
    let mut converted: HashMap<&str, Schema> = HashMap::new();
    for (name, json) in roots.generator.definitions() {
        let mut schema = Schema { description: description(json), shape: shape(name, json) };
        if let Shape::Object(object) = &mut schema.shape {
            object.kinds.extend(roots.kinds.get(name).cloned());
            if let (false, Some(metadata)) =
                (object.kinds.is_empty() && !name.ends_with(".Status"), object.fields.get_mut("metadata"))
            {
                metadata.required = false;
            }
            if let Some(facts) = facts.get(name) {
                object.atomic = facts.own.contains(&Fact::Atomic);
                for (field, facts) in &facts.fields {
                    if let Some(field) = object.fields.get_mut(*field) {
                        facts.iter().for_each(|fact| lay_over(field, fact));
                    }
                }
            }
        }
        converted.insert(name, schema);
    }
    override_map_types(&mut converted, &facts);
    let mut set = SchemaSet::default();
    for (item, gvk) in &roots.lists {
        set.insert(format!("{item}List"), list_schema(item, gvk.clone()));
    }
    for (name, schema) in converted {
        set.insert(name, schema);
    }
    set
}

fn description(json: &Value) -> Option<Arc<str>> {
    json.get("description").and_then(Value::as_str).map(Arc::from)
}

fn shape(name: &str, json: &Value) -> Shape {
    if json.get("x-kubernetes-int-or-string").is_some() {
        return if name.ends_with(".Quantity") { Shape::Quantity } else { Shape::IntOrString };
    }
    if let Some(reference) = json.get("$ref").and_then(Value::as_str) {
        return Shape::Ref(reference.rsplit('/').next().unwrap_or(reference).into());
    }
    let format = || json.get("format").and_then(Value::as_str).map(Arc::from);
    match json.get("type").and_then(Value::as_str) {
        Some("object") => match (json.get("properties").and_then(Value::as_object), json.get("additionalProperties")) {
            (Some(properties), _) => Shape::Object(ObjectShape { fields: fields(json, properties), ..ObjectShape::default() }),
            (None, Some(values)) => Shape::Map { values: Box::new(nested(values)), atomic: false },
            // A raw document: RawExtension, FieldsV1, JSON.
            (None, None) => Shape::Any,
        },
        Some("array") => {
            Shape::List { items: Box::new(nested(json.get("items").unwrap_or(&Value::Null))), kind: ListKind::Atomic }
        }
        Some("string") => Shape::String { format: format(), enumeration: Vec::new() },
        Some("integer") => Shape::Integer { format: format() },
        Some("number") => Shape::Number { format: format() },
        Some("boolean") => Shape::Boolean,
        _ => Shape::Any,
    }
}

fn nested(json: &Value) -> Schema {
    Schema { description: description(json), shape: shape("", json) }
}

fn fields(json: &Value, properties: &serde_json::Map<String, Value>) -> BTreeMap<Arc<str>, Field> {
    let required: Vec<&str> =
        json.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    properties
        .iter()
        .map(|(name, json)| {
            let field = Field {
                schema: nested(json),
                required: required.contains(&name.as_str()),
                default: None,
                patch: PatchStrategy::default(),
            };
            (Arc::from(name.as_str()), field)
        })
        .collect()
}

fn lay_over(field: &mut Field, fact: &Fact) {
    match (fact, &mut field.schema.shape) {
        (Fact::ListMap(keys), Shape::List { kind, .. }) => {
            *kind = ListKind::Map { keys: keys.iter().map(|key| Arc::from(*key)).collect() };
        }
        (Fact::ListSet, Shape::List { kind, .. }) => *kind = ListKind::Set,
        (Fact::Atomic, Shape::Map { atomic, .. }) => *atomic = true,
        (Fact::Merge(key), _) => {
            field.patch.merge = true;
            field.patch.merge_key = key.map(Arc::from);
        }
        (Fact::Required, _) => field.required = true,
        (Fact::Optional, _) => field.required = false,
        (Fact::RetainKeys, _) => field.patch.retain_keys = true,
        (Fact::Default(value), _) => field.default = Some(value.clone()),
        (Fact::ZeroDefault, Shape::Integer { .. } | Shape::Number { .. }) => field.default = Some(0.into()),
        (Fact::ZeroDefault, Shape::Boolean) => field.default = Some(false.into()),
        (Fact::ZeroDefault, _) => field.default = Some("".into()),
        // The rest says something of a struct behind a reference: `override_map_types`.
        _ => {}
    }
}

/// A field may say of its struct what the struct does not say of itself; such a field gets the struct inline.
fn override_map_types(converted: &mut HashMap<&str, Schema>, facts: &HashMap<String, TypeFacts>) {
    for (name, facts) in facts {
        for (field_name, facts) in &facts.fields {
            let atomic = match facts.iter().find(|fact| matches!(fact, Fact::Atomic | Fact::Granular)) {
                Some(fact) => *fact == Fact::Atomic,
                None => continue,
            };
            let target = converted.get(name.as_str()).and_then(|schema| match &schema.shape {
                Shape::Object(object) => match &object.fields.get(*field_name)?.schema.shape {
                    Shape::Ref(target) => converted.get(&**target).map(|target| target.shape.clone()),
                    _ => None,
                },
                _ => None,
            });
            if let (Some(Shape::Object(mut inline)), Some(Schema { shape: Shape::Object(object), .. })) =
                (target, converted.get_mut(name.as_str()))
                && let Some(field) = object.fields.get_mut(*field_name)
            {
                inline.atomic = atomic;
                field.schema.shape = Shape::Object(inline);
            }
        }
    }
}

fn list_schema(item: &str, gvk: GroupVersionKind) -> Schema {
    let field = |shape: Shape, required: bool, description: &str| Field {
        schema: Schema { description: Some(description.into()), shape },
        required,
        default: None,
        patch: PatchStrategy::default(),
    };
    let string = || Shape::String { format: None, enumeration: Vec::new() };
    let items =
        Shape::List { items: Box::new(Schema { description: None, shape: Shape::Ref(item.into()) }), kind: ListKind::Atomic };
    let fields = [
        ("apiVersion", field(string(), false, "The version of the list and of its items.")),
        ("kind", field(string(), false, "The kind of the list.")),
        ("metadata", field(Shape::Ref(format!("{META}.ListMeta").into()), false, "The list's metadata.")),
        ("items", field(items, true, "The objects.")),
    ];
    Schema {
        description: Some(format!("A list of {} objects.", item.rsplit('.').next().unwrap_or(item)).into()),
        shape: Shape::Object(ObjectShape {
            fields: fields.into_iter().map(|(name, field)| (Arc::from(name), field)).collect(),
            kinds: vec![gvk],
            ..ObjectShape::default()
        }),
    }
}
