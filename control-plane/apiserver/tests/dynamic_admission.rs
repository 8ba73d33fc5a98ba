//! Policies and webhooks over TLS: the webhook is a server of the test.

mod support;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use mizzen_client::{ApiRequest, Client, DeleteOptions, PatchKind};
use serde_json::{Value, json};

const GROUP: &str = "admissionregistration.k8s.io";

async fn store(client: &Arc<dyn Client>, resource: &str, object: Value) {
    let resource = support::gvr(GROUP, "v1", resource);
    client.write(ApiRequest::create(&resource, "", object)).await.expect("is stored");
}

fn map(name: &str, data: &Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

async fn create(client: &Arc<dyn Client>, object: Value) -> Result<Value, mizzen_api::Status> {
    let request = ApiRequest::create(&support::gvr("", "v1", "configmaps"), "default", object);
    client.write(request).await.map(|written| written.object.value().expect("JSON"))
}

/// Waits until the server follows what was just stored: until `done` likes the outcome of creating the object.
async fn until(
    client: &Arc<dyn Client>,
    object: Value,
    done: impl Fn(&Result<Value, mizzen_api::Status>) -> bool,
) -> Result<Value, mizzen_api::Status> {
    let tries = async {
        for number in 0.. {
            let mut object = object.clone();
            let name = format!("{}-{number}", object["metadata"]["name"].as_str().expect("a name"));
            object["metadata"]["name"] = json!(name);
            let outcome = create(client, object).await;
            if done(&outcome) {
                return outcome;
            }
            tokio::task::yield_now().await;
        }
        unreachable!("numbers do not end")
    };
    tokio::time::timeout(Duration::from_secs(60), tries).await.expect("the server follows")
}

fn rules() -> Value {
    json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}])
}

#[tokio::test]
async fn a_bound_policy_denies_what_its_expressions_do_not_allow() {
    let (_server, client) = support::server().await;
    store(
        &client,
        "validatingadmissionpolicies",
        json!({"metadata": {"name": "few"}, "spec": {
        "matchConstraints": {"resourceRules": rules()},
        "matchConditions": [{"name": "not-exempt", "expression": "!object.metadata.name.startsWith('exempt')"}],
        "variables": [{"name": "count", "expression": "object.data.size()"}],
        "validations": [{"expression": "variables.count < 2", "messageExpression": "'too many: ' + string(variables.count)"}]}}),
    )
    .await;
    store(
        &client,
        "validatingadmissionpolicybindings",
        json!({"metadata": {"name": "everywhere"}, "spec": {
        "policyName": "few", "validationActions": ["Deny"]}}),
    )
    .await;
    let status = until(&client, map("big", &json!({"a": "1", "b": "2"})), Result::is_err).await.expect_err("is denied");
    assert_eq!(status.code, 422, "{status}");
    assert!(
        status
            .message
            .ends_with("is forbidden: ValidatingAdmissionPolicy 'few' with binding 'everywhere' denied request: too many: 2"),
        "{status}"
    );
    create(&client, map("small", &json!({"a": "1"}))).await.expect("is admitted");
    create(&client, map("exempt", &json!({"a": "1", "b": "2"}))).await.expect("is not looked at");
}

#[tokio::test]
async fn a_policy_whose_expression_cannot_be_compiled_is_refused() {
    let (_server, client) = support::server().await;
    let policy = json!({"metadata": {"name": "wrong"}, "spec": {
        "matchConstraints": {"resourceRules": rules()}, "validations": [{"expression": "object.data.size( < 2"}]}});
    let resource = support::gvr(GROUP, "v1", "validatingadmissionpolicies");
    let status = client.write(ApiRequest::create(&resource, "", policy)).await.expect_err("is refused");
    assert_eq!(status.code, 422);
    assert!(
        status.message.contains("spec.validations[0].expression") && status.message.contains("compilation failed"),
        "{status}"
    );
    let mut webhook = hook("a.b.c", &json!({"url": "https://127.0.0.1:1/"}), "Fail");
    webhook["webhooks"][0]["matchConditions"] = json!([{"name": "a", "expression": "request.name"}]);
    let resource = support::gvr(GROUP, "v1", "validatingwebhookconfigurations");
    let status = client.write(ApiRequest::create(&resource, "", webhook)).await.expect_err("is refused");
    assert!(status.message.ends_with("Invalid value: \"request.name\": must evaluate to bool"), "{status}");
}

#[tokio::test]
async fn a_mutating_policy_merges_its_configuration_and_patches() {
    let (_server, client) = support::server().await;
    store(&client, "mutatingadmissionpolicies", json!({"metadata": {"name": "mark"}, "spec": {
        "matchConstraints": {"resourceRules": rules()}, "reinvocationPolicy": "Never", "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
                "Object{metadata: Object.metadata{labels: {'example.com/by': request.userInfo.username}}}"}},
            {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'add', path: '/data/b', value: object.data.a}]"}},
        ]}})).await;
    store(&client, "mutatingadmissionpolicybindings", json!({"metadata": {"name": "mark"}, "spec": {"policyName": "mark"}}))
        .await;
    let changed = |outcome: &Result<Value, _>| outcome.as_ref().is_ok_and(|object: &Value| object["data"]["b"] == "1");
    let object = until(&client, map("m", &json!({"a": "1"})), changed).await.expect("is stored");
    assert_eq!(object["metadata"]["labels"], json!({"example.com/by": "admin"}));
}

/// Creates objects of other names until one is as it should be, which is returned as `shown` has it.
async fn until_created(
    client: &Arc<dyn Client>,
    [spoken, shown]: [&mizzen_api::GroupVersionResource; 2],
    object: Value,
    done: impl Fn(&Value) -> bool,
) -> Value {
    let tries = async {
        for number in 0.. {
            let mut object = object.clone();
            let name = format!("{}-{number}", spoken.version);
            object["metadata"] = json!({"name": name});
            client.write(ApiRequest::create(spoken, "default", object)).await.expect("is stored");
            let stored = client.get(shown, "default", &name).await.expect("is there").value().expect("JSON");
            if done(&stored) {
                return stored;
            }
            tokio::task::yield_now().await;
        }
        unreachable!("numbers do not end")
    };
    tokio::time::timeout(Duration::from_secs(60), tries).await.expect("the server follows")
}

#[tokio::test]
async fn a_rule_for_one_form_of_a_kind_is_about_requests_in_the_others() {
    let (_server, client) = support::server().await;
    let policy = |name: &str, matched: &str, rule: [&str; 3], expression: &str| {
        let rules = json!([{"operations": ["CREATE"], "apiGroups": [rule[0]], "apiVersions": [rule[1]], "resources": [rule[2]]}]);
        json!({"metadata": {"name": name}, "spec": {
            "matchConstraints": {"matchPolicy": matched, "resourceRules": rules}, "reinvocationPolicy": "Never", "mutations": [
                {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}]}})
    };
    let scalers = "horizontalpodautoscalers";
    for (name, matched, rule, expression) in [
        ("exact", "Exact", ["autoscaling", "v1", scalers], "Object{spec: Object.spec{maxReplicas: 9}}"),
        ("exact-event", "Exact", ["", "v1", "events"], "Object{type: 'Warning'}"),
        ("cpu", "Equivalent", ["autoscaling", "v1", scalers], "Object{spec: Object.spec{targetCPUUtilizationPercentage: 42}}"),
        ("event", "Equivalent", ["", "v1", "events"], "Object{message: request.kind.group + request.requestKind.group}"),
    ] {
        store(&client, "mutatingadmissionpolicies", policy(name, matched, rule, expression)).await;
        let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name}});
        store(&client, "mutatingadmissionpolicybindings", binding).await;
    }
    let [v1, v2] = ["v1", "v2"].map(|version| support::gvr("autoscaling", version, scalers));
    let [core, own] = ["", "events.k8s.io"].map(|group| support::gvr(group, "v1", "events"));
    let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}});
    let target = |object: &Value| object["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"].clone();
    let scaler = until_created(&client, [&v2, &v2], json!({"spec": spec}), |object| target(object) == 42).await;
    assert_eq!(scaler["spec"]["maxReplicas"], 3, "the other rule is not about this version");
    until_created(&client, [&v1, &v2], json!({"spec": spec}), |object| object["spec"]["maxReplicas"] == 9).await;
    let event = json!({"regarding": {"kind": "Pod", "namespace": "default", "name": "p"}, "note": "n",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.com/c", "reportingInstance": "i", "action": "A",
        "reason": "R", "type": "Normal"});
    let event = until_created(&client, [&own, &core], event, |event| event["message"] == "events.k8s.io").await;
    assert_eq!(event["type"], "Normal", "the other rule is not about this group");
}

#[tokio::test]
async fn a_policy_cannot_set_a_field_that_the_kind_has_not() {
    let (_server, client) = support::server().await;
    store(
        &client,
        "mutatingadmissionpolicies",
        json!({"metadata": {"name": "odd"}, "spec": {
        "matchConstraints": {"resourceRules": rules()}, "reinvocationPolicy": "Never", "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{nothing: 1}"}}]}}),
    )
    .await;
    store(&client, "mutatingadmissionpolicybindings", json!({"metadata": {"name": "odd"}, "spec": {"policyName": "odd"}})).await;
    let status = until(&client, map("m", &json!({"a": "1"})), Result::is_err).await.expect_err("is refused");
    assert!(status.message.contains("typed object: .nothing: field not declared in schema"), "{status}");
}

/// The webhook refuses what has a key `bad`, adds `seen` and warns.
fn answer(review: &Value) -> Value {
    let request = &review["request"];
    let mut response = json!({"uid": request["uid"], "allowed": request["object"]["data"]["bad"].is_null()});
    if response["allowed"] == true {
        let patch = json!([{"op": "add", "path": "/data/seen", "value": request["operation"]}]).to_string();
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(base64::engine::general_purpose::STANDARD.encode(patch));
    } else {
        response["status"] = json!({"message": "bad data", "code": 403, "reason": "Forbidden"});
    }
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
}

fn hook(name: &str, client: &Value, failure: &str) -> Value {
    json!({"metadata": {"name": name}, "webhooks": [{
        "name": format!("{name}.example.com"), "clientConfig": client, "rules": rules(), "sideEffects": "None",
        "failurePolicy": failure, "admissionReviewVersions": ["v1"], "timeoutSeconds": 20,
        "matchConditions": [{"name": "not-skipped", "expression": "!object.metadata.name.startsWith('skip')"}]}]})
}

#[tokio::test]
async fn webhooks_patch_and_refuse() {
    let (_server, client) = support::server().await;
    let (url, bundle) = support::webhook::serve("/admit", answer).await;
    store(&client, "mutatingwebhookconfigurations", hook("m", &json!({"url": url, "caBundle": bundle}), "Fail")).await;
    let changed = |outcome: &Result<Value, _>| outcome.as_ref().is_ok_and(|object: &Value| object["data"]["seen"] == "CREATE");
    until(&client, map("good", &json!({"a": "1"})), changed).await.expect("is stored");
    let status = create(&client, map("bad", &json!({"bad": "1"}))).await.expect_err("is refused");
    assert_eq!((status.code, status.message.as_str()), (403, "admission webhook \"m.example.com\" denied the request: bad data"));
    create(&client, map("skip", &json!({"bad": "1"}))).await.expect("the webhook is not asked");
}

/// An answer that allows the request with a patch.
fn patched(request: &Value, patch: &str) -> Value {
    let patch = base64::engine::general_purpose::STANDARD.encode(patch);
    let response = json!({"uid": request["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch});
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
}

#[tokio::test]
async fn what_a_webhook_made_of_an_object_is_decoded_anew() {
    let (_server, client) = support::server().await;
    let as_told = |review: &Value| {
        let request = &review["request"];
        patched(request, request["object"]["data"]["patch"].as_str().unwrap_or("[]"))
    };
    let (url, bundle) = support::webhook::serve("/mutate", as_told).await;
    store(&client, "mutatingwebhookconfigurations", hook("t", &json!({"url": url, "caBundle": bundle}), "Ignore")).await;
    let told = |name: &str, op: &str, path: &str, value: Value| {
        map(name, &json!({"patch": json!([{"op": op, "path": path, "value": value}]).to_string()}))
    };
    let labelled =
        |outcome: &Result<Value, _>| outcome.as_ref().is_ok_and(|object: &Value| object["metadata"]["labels"]["a"] == "b");
    until(&client, told("first", "add", "/metadata/labels", json!({"a": "b"})), labelled).await.expect("is stored");

    for (name, op, path, value, why) in [
        ("kind", "replace", "/kind", json!("Secret"), "the kind in the data (Secret) does not match"),
        ("place", "replace", "/metadata/namespace", json!("kube-system"), "does not match the namespace sent on the request"),
        ("type", "add", "/data/x", json!([1]), "cannot unmarshal array"),
        ("nowhere", "replace", "/nothing/here", json!(1), "the patch of admission webhook \"t.example.com\""),
    ] {
        let status = create(&client, told(name, op, path, value)).await.expect_err(name);
        assert!(status.code == 500 && status.message.contains(why), "{name}: {status}");
    }
    let stored = create(&client, told("field", "add", "/nothing", json!(1))).await.expect("is stored");
    assert_eq!(stored["nothing"], Value::Null);
    let stored = create(&client, told("before", "replace", "/metadata/name", json!("after"))).await.expect("is stored");
    assert_eq!(stored["metadata"]["name"], "after");
    let maps = support::gvr("", "v1", "configmaps");
    client.get(&maps, "default", "after").await.expect("is where its name says");
    assert_eq!(client.get(&maps, "default", "before").await.expect_err("is nowhere").code, 404);
}

#[tokio::test]
async fn a_webhook_sees_the_options_and_of_a_scale_the_scale() {
    let (_server, client) = support::server().await;
    let heard = Arc::new(parking_lot::Mutex::new(Value::Null));
    let hears = heard.clone();
    let three = move |review: &Value| {
        *hears.lock() = review["request"].clone();
        patched(&review["request"], r#"[{"op": "replace", "path": "/spec/replicas", "value": 3}]"#)
    };
    let (url, bundle) = support::webhook::serve("/scale", three).await;
    let mut configuration = hook("s", &json!({"url": url, "caBundle": bundle}), "Fail");
    configuration["webhooks"][0]["rules"] =
        json!([{"operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]}]);
    store(&client, "mutatingwebhookconfigurations", configuration).await;
    let deployments = support::gvr("apps", "v1", "deployments");
    let labels = json!({"app": "a"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}});
    let deployment =
        json!({"metadata": {"name": "d"}, "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}});
    client.write(ApiRequest::create(&deployments, "default", deployment)).await.expect("is stored");
    let tries = async {
        loop {
            let scale = json!({"spec": {"replicas": 2}});
            let mut request = ApiRequest::patch(&deployments, "default", "d", PatchKind::Merge, scale).subresource("scale");
            request.write.field_manager = "me".to_owned();
            let scale = client.write(request).await.expect("is scaled").object.value().expect("JSON");
            if scale["spec"]["replicas"] == 3 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), tries).await.expect("the webhook decides");
    let request = heard.lock().clone();
    let kind = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
    assert_eq!((&request["kind"], &request["requestKind"], &request["subResource"]), (&kind, &kind, &json!("scale")));
    assert_eq!(request["object"]["kind"], "Scale");
    assert_eq!(request["object"]["spec"], json!({"replicas": 2}));
    assert_eq!(request["options"]["fieldManager"], "me");
}

#[tokio::test]
async fn a_webhook_that_cannot_be_reached_fails_as_its_policy_says() {
    let (_server, client) = support::server().await;
    let nowhere = json!({"service": {"name": "nobody", "namespace": "default"}});
    store(&client, "validatingwebhookconfigurations", hook("open", &nowhere, "Ignore")).await;
    store(&client, "validatingwebhookconfigurations", hook("closed", &nowhere, "Fail")).await;
    let status = until(&client, map("a", &json!({})), Result::is_err).await.expect_err("fails");
    assert_eq!(status.code, 500);
    assert!(status.message.starts_with("Internal error occurred: failed calling webhook \"closed.example.com\""), "{status}");
    // Its own objects are never asked about: the mistake can be mended.
    let configurations = support::gvr(GROUP, "v1", "validatingwebhookconfigurations");
    client.write(ApiRequest::delete(&configurations, "", "closed", DeleteOptions::default())).await.expect("is deleted");
    until(&client, map("b", &json!({})), Result::is_ok).await.expect("the other fails open");
}

#[tokio::test]
async fn a_policy_says_in_its_status_what_its_expressions_get_wrong() {
    let (_server, client) = support::server().await;
    let resource = support::gvr(GROUP, "v1", "validatingadmissionpolicies");
    let rules = json!([{"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}]);
    let policy = json!({"metadata": {"name": "p"}, "spec": {"matchConstraints": {"resourceRules": rules}, "validations": [
        {"expression": "object.replicas > 1"}, {"expression": "object.spec.replicas > 1"}]}});
    let stored = client.write(ApiRequest::create(&resource, "", policy)).await.expect("is stored").object.value().expect("JSON");
    let warning = "apps/v1, Kind=Deployment: ERROR: <input>: undefined field 'replicas'";
    let wanted = json!([{"fieldRef": "spec.validations[0].expression", "warning": warning}]);
    assert_eq!(stored["status"], json!({"observedGeneration": 1, "typeChecking": {"expressionWarnings": wanted}}));
    let mut mended = stored;
    mended["spec"]["validations"][0]["expression"] = json!("object.spec.paused");
    let update = ApiRequest::update(&resource, "", "p", mended);
    let stored = client.write(update).await.expect("is stored").object.value().expect("JSON");
    assert_eq!(stored["metadata"]["generation"], 2);
    assert_eq!(stored["status"], json!({"observedGeneration": 2, "typeChecking": {}}));
}
