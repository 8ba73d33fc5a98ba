//! Containers, init containers and ephemeral containers.

use std::collections::HashSet;

use serde_json::Value;

use super::super::value::{flag, int, list, text};
use super::probes::{check_lifecycle, check_probes};
use super::resources::{check_claims, check_resize_policies, check_resources};
use super::restarts::check_restarts;
use super::spec::{SpecContext, check_profiles};
use crate::status::Cause;
use crate::validate::{
    Path, complaints, config_map_key, dns1123_label, dns1123_subdomain, duplicate, env_var_name, forbidden, invalid,
    invalid_text, not_found, one_of, port_name, port_number, qualified_name, required,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Main,
    Init,
    Sidecar,
    Ephemeral,
}

pub(super) fn check_containers(
    spec: &Value,
    path: &Path,
    context: SpecContext,
    volumes: &HashSet<&str>,
    causes: &mut Vec<Cause>,
) {
    if list(spec, "/containers").is_empty() {
        causes.push(required(path.field("containers"), ""));
    }
    // A template may leave its host ports to the pods' defaults.
    let host_network = flag(spec, "/hostNetwork").then_some(context);
    let mut names = HashSet::new();
    let mut host_ports = HashSet::new();
    for field in ["containers", "initContainers", "ephemeralContainers"] {
        let containers = path.field(field);
        for (index, container) in spec.get(field).and_then(Value::as_array).into_iter().flatten().enumerate() {
            let at = containers.index(index);
            let role = match (field, text(container, "/restartPolicy")) {
                ("containers", _) => Role::Main,
                ("initContainers", "Always") => Role::Sidecar,
                ("initContainers", _) => Role::Init,
                _ => Role::Ephemeral,
            };
            let name = text(container, "/name");
            if name.is_empty() {
                causes.push(required(at.field("name"), ""));
            } else {
                causes.extend(complaints(at.field("name"), name, dns1123_label(name)));
                if !names.insert(name) {
                    causes.push(duplicate(at.field("name"), &name.into()));
                }
            }
            // In templates an image of blanks stands for one that is filled in later.
            let image = text(container, "/image");
            if context == SpecContext::Pod && image.trim() != image {
                causes.push(invalid_text(at.field("image"), image, "must not have leading or trailing whitespace"));
            }
            check_container(container, &at, role, volumes, causes);
            check_resources(container.get("resources"), &at.field("resources"), causes);
            check_claims(container, spec, &at.field("resources").field("claims"), causes);
            check_lifecycle(container, &at, role, int(spec, "/terminationGracePeriodSeconds"), causes);
            check_ports(container, &at.field("ports"), host_network, role, &mut host_ports, causes);
        }
    }
}

fn check_container(container: &Value, at: &Path, role: Role, volumes: &HashSet<&str>, causes: &mut Vec<Cause>) {
    if text(container, "/image").is_empty() {
        causes.push(required(at.field("image"), ""));
    }
    causes.extend(one_of(at.field("imagePullPolicy"), text(container, "/imagePullPolicy"), &["Always", "IfNotPresent", "Never"]));
    let policies = ["File", "FallbackToLogsOnError"];
    causes.extend(one_of(at.field("terminationMessagePolicy"), text(container, "/terminationMessagePolicy"), &policies));
    check_restarts(container, at, role, causes);
    check_env(container, at, causes);
    check_mounts(container, &at.field("volumeMounts"), volumes, causes);
    check_resize_policies(container, &at.field("resizePolicy"), causes);
    check_probes(container, at, role, causes);
    check_security(container, &at.field("securityContext"), causes);
}

type HostPort = (String, String, i64);

fn check_ports(
    container: &Value,
    at: &Path,
    host_network: Option<SpecContext>,
    role: Role,
    taken: &mut HashSet<HostPort>,
    causes: &mut Vec<Cause>,
) {
    let ports = list(container, "/ports");
    if role == Role::Ephemeral && !ports.is_empty() {
        causes.push(forbidden(at, "cannot be set for an Ephemeral Container"));
        return;
    }
    let mut names = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let at = at.index(index);
        let name = text(port, "/name");
        if !name.is_empty() {
            let wrong = port_name(name);
            if wrong.is_empty() && !names.insert(name) {
                causes.push(duplicate(at.field("name"), &name.into()));
            }
            causes.extend(complaints(at.field("name"), name, wrong));
        }
        let number = int(port, "/containerPort").unwrap_or(0);
        match number {
            0 => causes.push(required(at.field("containerPort"), "")),
            number => causes
                .extend(port_number(number).into_iter().map(|detail| invalid(at.field("containerPort"), &number.into(), detail))),
        }
        let host = int(port, "/hostPort").unwrap_or(0);
        let protocol = text(port, "/protocol");
        if host != 0 {
            causes.extend(port_number(host).into_iter().map(|detail| invalid(at.field("hostPort"), &host.into(), detail)));
            // Init containers end before the others start, so they may share ports with them.
            if role != Role::Init && !taken.insert((protocol.to_owned(), text(port, "/hostIP").to_owned(), host)) {
                causes.push(duplicate(
                    at.field("hostPort"),
                    &Value::String(format!("{protocol}/{}/{host}", text(port, "/hostIP"))),
                ));
            }
        }
        if host_network.is_some_and(|context| context == SpecContext::Pod || host != 0) && host != number {
            causes.push(invalid(at.field("containerPort"), &number.into(), "must match `hostPort` when `hostNetwork` is true"));
        }
        match protocol {
            "" => causes.push(required(at.field("protocol"), "")),
            protocol => causes.extend(one_of(at.field("protocol"), protocol, &["SCTP", "TCP", "UDP"])),
        }
    }
}

fn check_env(container: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let env = at.field("env");
    for (index, variable) in list(container, "/env").iter().enumerate() {
        let at = env.index(index);
        match text(variable, "/name") {
            "" => causes.push(required(at.field("name"), "")),
            name => causes.extend(complaints(at.field("name"), name, env_var_name(name))),
        }
        if let Some(source) = variable.get("valueFrom").filter(|source| !source.is_null()) {
            check_env_source(source, !text(variable, "/value").is_empty(), &at.field("valueFrom"), causes);
        }
    }
    let from = at.field("envFrom");
    for (index, source) in list(container, "/envFrom").iter().enumerate() {
        let at = from.index(index);
        let prefix = text(source, "/prefix");
        if !prefix.is_empty() {
            causes.extend(complaints(at.field("prefix"), prefix, env_var_name(prefix)));
        }
        let kinds: Vec<&str> = ["configMapRef", "secretRef"].into_iter().filter(|kind| source.get(kind).is_some()).collect();
        match kinds.as_slice() {
            [] => causes.push(invalid_text(at, "", "must specify one of: `configMapRef` or `secretRef`")),
            [kind] if text(&source[*kind], "/name").is_empty() => causes.push(required(at.field(kind).field("name"), "")),
            [_] => {}
            _ => causes.push(invalid_text(at, "", "may not have more than one field specified at a time")),
        }
    }
}

const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn check_env_source(source: &Value, has_value: bool, at: &Path, causes: &mut Vec<Cause>) {
    let kinds: Vec<&str> = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"]
        .into_iter()
        .filter(|kind| source.get(kind).is_some_and(|value| !value.is_null()))
        .collect();
    match kinds.as_slice() {
        [] => causes.push(invalid_text(
            at,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        )),
        [_] if has_value => causes.push(invalid_text(at, "", "may not be specified when `value` is not empty")),
        [_] => {}
        _ => causes.push(invalid_text(at, "", "may not have more than one field specified at a time")),
    }
    if let Some(field) = source.get("fieldRef") {
        check_field_reference(field, FIELDS, &at.field("fieldRef"), causes);
    }
    if let Some(field) = source.get("resourceFieldRef") {
        check_resource_reference(field, &at.field("resourceFieldRef"), causes);
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(reference) = source.get(kind) {
            let at = at.field(kind);
            if text(reference, "/name").is_empty() {
                causes.push(required(at.field("name"), ""));
            }
            match text(reference, "/key") {
                "" => causes.push(required(at.field("key"), "")),
                key => causes.extend(complaints(at.field("key"), key, config_map_key(key))),
            }
        }
    }
}

/// `fieldRef`; `metadata.labels['key']` and `metadata.annotations['key']` are always known.
pub(super) fn check_field_reference(reference: &Value, known: &[&str], at: &Path, causes: &mut Vec<Cause>) {
    let path = text(reference, "/fieldPath");
    if path.is_empty() {
        causes.push(required(at.field("fieldPath"), ""));
        return;
    }
    match path.split_once("['").and_then(|(map, key)| Some((map, key.strip_suffix("']")?))) {
        Some(("metadata.labels" | "metadata.annotations", key)) => {
            causes.extend(complaints(at, key, qualified_name(&key.to_lowercase())));
        }
        Some(_) => causes.push(invalid_text(at.field("fieldPath"), path, "does not support subscript")),
        None => causes.extend(one_of(at.field("fieldPath"), path, known)),
    }
}

pub(super) fn check_resource_reference(reference: &Value, at: &Path, causes: &mut Vec<Cause>) {
    const KNOWN: &[&str] = &[
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    match text(reference, "/resource") {
        "" => causes.push(required(at.field("resource"), "")),
        resource if resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-") => {}
        resource => causes.extend(one_of(at.field("resource"), resource, KNOWN)),
    }
}

fn check_mounts(container: &Value, at: &Path, volumes: &HashSet<&str>, causes: &mut Vec<Cause>) {
    let mut places = HashSet::new();
    for (index, mount) in list(container, "/volumeMounts").iter().enumerate() {
        let at = at.index(index);
        match text(mount, "/name") {
            "" => causes.push(required(at.field("name"), "")),
            name if !volumes.contains(name) => causes.push(not_found(at.field("name"), name)),
            _ => {}
        }
        match text(mount, "/mountPath") {
            "" => causes.push(required(at.field("mountPath"), "")),
            place if !places.insert(place) => causes.push(invalid_text(at.field("mountPath"), place, "must be unique")),
            _ => {}
        }
        let (sub_path, expression) = (text(mount, "/subPath"), text(mount, "/subPathExpr"));
        for (field, value) in [("subPath", sub_path), ("subPathExpr", expression)] {
            check_inner_path(value, &at.field(field), causes);
        }
        if !sub_path.is_empty() && !expression.is_empty() {
            causes.push(invalid_text(at.field("subPathExpr"), expression, "subPathExpr and subPath are mutually exclusive"));
        }
        let modes = ["None", "HostToContainer", "Bidirectional"];
        let propagation = text(mount, "/mountPropagation");
        causes.extend(one_of(at.field("mountPropagation"), propagation, &modes));
        if propagation == "Bidirectional" && !flag(container, "/securityContext/privileged") {
            let why = "Bidirectional mount propagation is available only to privileged containers";
            causes.push(forbidden(at.field("mountPropagation"), why));
        }
    }
}

/// A path inside a volume, which may not lead out of it.
pub(super) fn check_inner_path(value: &str, at: &Path, causes: &mut Vec<Cause>) {
    if value.starts_with('/') {
        causes.push(invalid_text(at, value, "must be a relative path"));
    }
    if value.split('/').any(|part| part == "..") {
        causes.push(invalid_text(at, value, "must not contain '..'"));
    }
}

fn check_security(container: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let Some(context) = container.get("securityContext").filter(|context| !context.is_null()) else { return };
    for field in ["runAsUser", "runAsGroup"] {
        if let Some(id) = context.get(field).and_then(Value::as_i64)
            && !(0..=i64::from(i32::MAX)).contains(&id)
        {
            causes.push(invalid(at.field(field), &id.into(), "must be between 0 and 2147483647, inclusive"));
        }
    }
    if let Some(escalation) = context.get("allowPrivilegeEscalation")
        && *escalation == Value::Bool(false)
    {
        if flag(context, "/privileged") {
            causes.push(invalid(at, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
        }
        // The other spelling is taken: so many manifests have it that it cannot be refused any more.
        if list(context, "/capabilities/add").iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            causes.push(invalid(
                at,
                context,
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            ));
        }
    }
    causes.extend(one_of(at.field("procMount"), text(context, "/procMount"), &["Default", "Unmasked"]));
    check_profiles(Some(context), at, causes);
}

/// A volume's or reference's name that follows DNS rules.
pub(super) fn check_reference_name(name: &str, at: &Path, causes: &mut Vec<Cause>) {
    match name {
        "" => causes.push(required(at, "")),
        name => causes.extend(complaints(at, name, dns1123_subdomain(name))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_privileged_containers_propagate_mounts_to_the_node() {
        let check = |privileged: bool| {
            let mount = json!({"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"});
            let container = json!({"securityContext": {"privileged": privileged}, "volumeMounts": [mount]});
            let mut causes = Vec::new();
            check_mounts(&container, &Path::root("volumeMounts"), &HashSet::from(["v"]), &mut causes);
            causes
        };
        assert_eq!(check(true), []);
        let causes = check(false);
        assert_eq!(causes.len(), 1);
        assert_eq!(
            (causes[0].field.as_str(), causes[0].reason.as_str()),
            ("volumeMounts[0].mountPropagation", "FieldValueForbidden")
        );
    }
}
