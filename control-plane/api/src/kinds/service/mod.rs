//! `Service`.

mod carry_over;
mod columns;
mod validate;

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::value::{child, fill, list_mut, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::status::Cause;
use crate::validate::NameRule;

struct Service;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "Service", "services", Scope::Namespaced, Service).short("svc").in_all().proxy("ServiceProxyOptions").status()
}

impl Strategy for Service {
    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = child(object, "spec") else { return };
        fill(spec, "type", "ClusterIP");
        fill(spec, "sessionAffinity", "None");
        if text(spec, "/sessionAffinity") == "ClientIP"
            && let Some(client) = child(spec, "sessionAffinityConfig").and_then(|config| child(config, "clientIP"))
        {
            fill(client, "timeoutSeconds", 10800);
        }
        let kind = text(spec, "/type").to_owned();
        if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
            fill(spec, "internalTrafficPolicy", "Cluster");
        }
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
            fill(spec, "externalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            fill(spec, "allocateLoadBalancerNodePorts", true);
        }
        for port in list_mut(spec, "/ports") {
            fill(port, "protocol", "TCP");
            let target = port.get("targetPort");
            let unset = target.is_none_or(|target| target.is_null() || *target == json!(0) || *target == json!(""));
            if let (true, Some(number), Some(port)) = (unset, port.get("port").cloned(), port.as_object_mut()) {
                port.insert("targetPort".to_owned(), number);
            }
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            object.insert("status".to_owned(), json!({"loadBalancer": {}}));
        }
        // Clients that know one address only mean the first of the list.
        if let Some(spec) = object.get_mut("spec")
            && let first = text(spec, "/clusterIP").to_owned()
            && !first.is_empty()
        {
            fill(spec, "clusterIPs", json!([first]));
        }
    }

    /// What was allocated stays, where an update does not mention it.
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        if let (Some(object), Some(status)) = (object.as_object_mut(), old.get("status")) {
            object.insert("status".to_owned(), status.clone());
        }
        carry_over::keep(object, old);
        carry_over::drop_former(object, old);
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        validate::validate(object)
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        validate::validate_update(object, old)
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Dns1123Label
    }

    fn selectable(&self, object: &Value, path: &str) -> Option<String> {
        matches!(path, "spec.clusterIP" | "spec.type").then(|| text(object, &format!("/{}", path.replace('.', "/"))).to_owned())
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn columns(&self) -> &'static [Column] {
        columns::COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        columns::cells(object, context.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_gets_its_defaults() {
        let mut object = json!({"spec": {"ports": [{"port": 80}, {"port": 53, "protocol": "UDP", "targetPort": "dns"}], "sessionAffinity": "ClientIP"}});
        Service.default(&mut object);
        assert_eq!(
            object["spec"],
            json!({
                "type": "ClusterIP", "internalTrafficPolicy": "Cluster", "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}, {"port": 53, "protocol": "UDP", "targetPort": "dns"}],
            })
        );
    }

    #[test]
    fn a_headless_service_says_so_in_both_fields_and_others_get_no_address_made_up() {
        for (spec, ips) in [(json!({"clusterIP": "None"}), Some(&json!(["None"]))), (json!({"type": "ClusterIP"}), None)] {
            let mut object = json!({"spec": spec});
            Service.prepare_create(&mut object);
            assert_eq!(object["spec"].get("clusterIPs"), ips);
            assert_eq!(Service.cells(&object, Context { now: jiff::Timestamp::UNIX_EPOCH })[1], ips.map_or("<none>", |_| "None"));
        }
        let old = json!({"spec": {"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]}});
        let mut external = json!({"spec": {"type": "ExternalName", "externalName": "x.y", "clusterIPs": ["None"]}});
        Service.prepare_update(&mut external, &old);
        assert_eq!(external["spec"].get("clusterIPs"), None);
        let mut both = json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]}});
        Service.prepare_create(&mut both);
        assert!(Service.validate(&both).iter().any(|cause| cause.field == "spec.clusterIPs"));
    }

    #[test]
    fn an_update_keeps_what_was_allocated() {
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "ports": [{"name": "a", "port": 80, "protocol": "TCP", "nodePort": 30080}]}, "status": {"loadBalancer": {}}});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"name": "a", "port": 80, "protocol": "TCP"}, {"name": "b", "port": 81, "protocol": "TCP"}]}});
        Service.prepare_update(&mut new, &old);
        assert_eq!(new["spec"]["clusterIP"], "10.0.0.1");
        assert_eq!((&new["spec"]["ports"][0]["nodePort"], new["spec"]["ports"][1].get("nodePort")), (&json!(30080), None));
        assert_eq!(Service.validate_update(&new, &old), []);
        new["spec"]["clusterIP"] = json!("10.0.0.2");
        assert_eq!(Service.validate_update(&new, &old)[0].message, "Invalid value: \"10.0.0.2\": may not change once set");
    }
}
