//! Each built-in kind through the pipeline: an unknown field is left out, a wrong field is named, and an update rule refuses.

mod samples;
mod support;

use mizzen_api::{GroupVersionResource, Reason, Registry, Verb};
use mizzen_client::{ApiRequest, PatchKind};
use samples::{Sample, samples};
use serde_json::{Value, json};
use support::{gvr, server};

/// Where a sample goes, and its document under its name.
fn place(sample: &Sample) -> (GroupVersionResource, &'static str, Value, String) {
    let Sample { group, resource, .. } = sample;
    let descriptor = Registry::builtin().by_group_resource(group, resource).unwrap_or_else(|| panic!("{resource} is served"));
    let namespace = match descriptor.scope {
        mizzen_api::Scope::Cluster => "",
        mizzen_api::Scope::Namespaced => "default",
    };
    let mut document = sample.document.clone();
    if document.pointer("/metadata/name").is_none() {
        document["metadata"]["name"] = json!("x");
    }
    let name = document["metadata"]["name"].as_str().expect("a name").to_owned();
    (gvr(group, descriptor.storage_version(), resource), namespace, document, name)
}

#[tokio::test]
async fn every_stored_kind_has_a_sample_here() {
    let samples = samples();
    for descriptor in
        Registry::builtin().iter().filter(|descriptor| !descriptor.virtual_only && descriptor.verbs.contains(&Verb::Create))
    {
        let known = samples.iter().any(|sample| *sample.group == *descriptor.group && *sample.resource == *descriptor.resource);
        assert!(known, "no sample of {}", descriptor.group_resource());
    }
}

#[tokio::test]
async fn an_unknown_field_is_left_out_and_an_update_rule_refuses() {
    let (_server, client) = server().await;
    for sample in samples() {
        let resource = sample.resource;
        let (gvr, namespace, mut document, name) = place(&sample);
        document["unknownField"] = json!({"not": ["kept"]});
        let created = client
            .write(ApiRequest::create(&gvr, namespace, document))
            .await
            .unwrap_or_else(|status| panic!("{resource}: {status}"));
        assert_eq!(created.warnings, ["unknown field \"unknownField\""], "{resource}");
        let label = json!({"metadata": {"labels": {"l": "1"}}});
        let labelled = client
            .write(ApiRequest::patch(&gvr, namespace, &name, PatchKind::Merge, label))
            .await
            .unwrap_or_else(|status| panic!("{resource}: {status}"));
        let value = labelled.object.value().expect("JSON");
        assert_eq!(value.get("unknownField"), None, "{resource}");
        assert_eq!(value["metadata"]["labels"]["l"], "1", "{resource}");

        let patch = ApiRequest::patch(&gvr, namespace, &name, PatchKind::Merge, sample.refused);
        let status = client.write(patch).await.expect_err(resource);
        assert_eq!((status.code, status.reason), (422, Reason::Invalid), "{resource}: {status}");
        assert!(!status.details.causes.is_empty(), "{resource}: {status}");
    }
}

#[tokio::test]
async fn a_wrong_field_is_refused_by_its_path() {
    let (_server, client) = server().await;
    for sample in samples() {
        let (gvr, namespace, mut document, _) = place(&sample);
        let (wrong, field) = &sample.wrong;
        mizzen_apply::merge_patch::apply(&mut document, wrong).expect("a merge patch");
        let status = client.write(ApiRequest::create(&gvr, namespace, document)).await.expect_err(sample.resource);
        assert_eq!((status.code, status.reason), (422, Reason::Invalid), "{}: {status}", sample.resource);
        let fields: Vec<&str> = status.details.causes.iter().map(|cause| cause.field.as_str()).collect();
        assert!(fields.contains(field), "{}: {fields:?}", sample.resource);
    }
}
