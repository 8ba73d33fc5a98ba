//! The resource model of the Kubernetes API, with no I/O: what a kind is, what an object is, what may be said of it.
//!
//! Everything that differs between kinds is data in a [`descriptor::ResourceDescriptor`]; everything that is the
//! same for all kinds works on [`object::Object`] documents and [`schema::SchemaSet`]s.

pub mod api_services;
pub mod cron;
pub mod descriptor;
mod dial;
pub mod edit;
pub mod forms;
pub mod ingress;
mod kinds;
pub mod local_path;
pub mod names;
pub mod node_annotations;
pub mod node_labels;
pub mod object;
pub mod pick;
pub mod pod_resources;
mod pointer;
pub mod print;
pub mod qos;
pub mod quantity;
pub mod quota;
pub mod recent;
pub mod registry;
pub mod schema;
pub mod selector;
pub mod service_addresses;
pub mod service_annotations;
pub mod status;
pub mod storage;
pub mod tunnel;
pub mod validate;
pub mod x509;

pub use descriptor::{ResourceDescriptor, Scope, Verb};
pub use dial::why_not_connected;
pub use names::{GroupKind, GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource};
pub use object::{Head, Object, ObjectRef, OwnerReference};
pub use pointer::Pointed;
pub use quantity::Quantity;
pub use registry::Registry;
pub use selector::{FieldRequirement, FieldSelector, LabelSelector};
pub use service_addresses::{PortRange, ServiceAddresses, ServiceRange};
pub use status::{Reason, Status};
