//! Which definitions are taken.

use serde_json::{Value, json};

use crate::served::{DEFINITIONS, Served, definition, widget_schema};

#[tokio::test]
async fn definitions_that_are_wrong_are_refused_with_their_fields() {
    let served = Served::start().await;
    let refused = async |change: fn(&mut Value)| {
        let mut definition = definition(widget_schema());
        change(&mut definition);
        let (code, told) = served.create(DEFINITIONS, &definition).await;
        assert_eq!(code, 422, "{told}");
        told["message"].as_str().unwrap_or_default().to_owned()
    };
    for (change, wrong) in [
        (
            (|d| d["metadata"]["name"] = json!("other.example.com")) as fn(&mut Value),
            "metadata.name: Invalid value: \"other.example.com\": must be spec.names.plural+\".\"+spec.group",
        ),
        (
            |d| d["spec"]["scope"] = json!("Galaxy"),
            "spec.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        (|d| d["spec"]["versions"][0]["storage"] = json!(false), "must have exactly one version marked as storage version"),
        (
            |d| d["spec"]["versions"][0]["schema"] = json!({}),
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        ),
        (
            |d| d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({}),
            "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
        ),
        (
            |d| {
                d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] =
                    json!({"type": "string", "x-kubernetes-validations": [{"rule": "self.x == 1"}]});
            },
            "Invalid value: \"self.x == 1\": compilation failed: ERROR: <input>: type 'string' does not support field selection",
        ),
        (
            |d| {
                d["spec"]["group"] = json!("x.k8s.io");
                d["metadata"]["name"] = json!("widgets.x.k8s.io");
            },
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation",
        ),
    ] {
        let told = refused(change).await;
        assert!(told.contains(wrong), "{told}");
    }
    served.define(&definition(widget_schema())).await;
    let (code, told) = served.merge(&format!("{DEFINITIONS}/widgets.example.com"), &json!({"spec": {"scope": "Cluster"}})).await;
    assert_eq!(code, 422);
    assert!(
        told["message"].as_str().is_some_and(|m| m.contains("spec.scope: Invalid value: \"Cluster\": field is immutable")),
        "{told}"
    );
}
