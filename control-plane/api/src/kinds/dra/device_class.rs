//! `DeviceClass`.

use serde_json::Value;

use super::super::builder::resource;
use super::{GROUP, check_configs, check_selectors};
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};
use crate::status::Cause;
use crate::validate::Path;

struct DeviceClass;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "DeviceClass", "deviceclasses", Scope::Cluster, DeviceClass)
}

impl Strategy for DeviceClass {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let (at, spec) = (Path::root("spec"), object.get("spec").unwrap_or(&Value::Null));
        let mut causes = Vec::new();
        check_selectors(spec, &at, &mut causes);
        check_configs(spec, &at, &mut causes);
        causes
    }
}
