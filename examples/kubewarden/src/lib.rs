//! The policy for waPC. It also asks the cluster who its owners are.

mod outside;
mod policy;

use k8s_openapi::api::core::v1::Namespace;
use kubewarden_policy_sdk::host_capabilities::kubernetes::{
    GetResourceRequest, ListAllResourcesRequest, get_resource, list_all_resources,
};
use kubewarden_policy_sdk::request::ValidationRequest;
use kubewarden_policy_sdk::wapc_guest::{CallResult, register_function};
use kubewarden_policy_sdk::{
    accept_request, logging, mutate_request, protocol_version_guest, reject_request, validate_settings,
};
use policy::Settings;
use slog::{Logger, info, o};

#[unsafe(no_mangle)]
pub extern "C" fn wapc_init() {
    register_function("validate", validate);
    register_function("validate_settings", validate_settings::<Settings>);
    register_function("protocol_version", protocol_version_guest);
}

fn validate(payload: &[u8]) -> CallResult {
    let ValidationRequest { request, settings } = ValidationRequest::<Settings>::new(payload)?;
    if let Some(about) = &settings.outside {
        return reject_request(Some(outside::known(about)?), None, None, None);
    }
    let log = Logger::root(logging::KubewardenDrain::new(), o!("user" => request.user_info.username.clone()));
    let owner = match policy::owner(&request.object, &settings) {
        Ok(owner) => owner,
        Err(why) => return reject_request(Some(why), Some(422), None, Some(vec!["owners are required".to_owned()])),
    };
    if settings.by_namespaces {
        let named = |selector: String| {
            list_all_resources::<Namespace>(&ListAllResourcesRequest {
                api_version: "v1".to_owned(),
                kind: "Namespace".to_owned(),
                label_selector: Some(selector),
                field_selector: None,
                field_masks: None,
            })
        };
        if named(format!("owner={owner}"))?.items.is_empty() {
            let all = named("owner".to_owned())?.items.into_iter().filter_map(|namespace| namespace.metadata.name);
            let why = format!("{owner} has no namespace, those have: {}", all.collect::<Vec<_>>().join(", "));
            return reject_request(Some(why), None, None, None);
        }
        let own: Namespace = get_resource(&GetResourceRequest {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            name: request.namespace.clone(),
            namespace: None,
            disable_cache: false,
            field_masks: None,
        })?;
        info!(log, "{owner} is an owner"; "in" => own.metadata.name);
    }
    match policy::stamped(&request.object, &owner, &settings) {
        Some(object) => mutate_request(object),
        None => accept_request(),
    }
}
