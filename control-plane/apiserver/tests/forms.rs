//! Kinds that are served in more than one form: one stored object, seen alike through each.

mod support;

use futures::StreamExt as _;
use mizzen_client::{ApiRequest, DeleteOptions, ListOptions, PatchKind, WatchEvent, WatchOptions};
use serde_json::json;
use support::{gvr, server};

#[tokio::test]
async fn an_autoscaler_is_one_object_in_both_versions() {
    let (_server, client) = server().await;
    let (v1, v2) = (gvr("autoscaling", "v1", "horizontalpodautoscalers"), gvr("autoscaling", "v2", "horizontalpodautoscalers"));
    let spec =
        json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "targetCPUUtilizationPercentage": 70});
    let created = client.write(ApiRequest::create(&v1, "default", json!({"metadata": {"name": "a"}, "spec": spec}))).await;
    let created = created.expect("creates").object.value().expect("JSON");
    assert_eq!(
        (&created["apiVersion"], &created["spec"]["targetCPUUtilizationPercentage"]),
        (&json!("autoscaling/v1"), &json!(70))
    );
    let newer = client.get(&v2, "default", "a").await.expect("gets").value().expect("JSON");
    assert_eq!((&newer["apiVersion"], &newer["metadata"]["uid"]), (&json!("autoscaling/v2"), &created["metadata"]["uid"]));
    assert_eq!(newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 70);

    let patch = json!({"spec": {"targetCPUUtilizationPercentage": 50}});
    let patched = client.write(ApiRequest::patch(&v1, "default", "a", PatchKind::Strategic, patch)).await.expect("patches");
    assert_eq!(patched.object.value().expect("JSON")["spec"]["targetCPUUtilizationPercentage"], 50);
    let mut newer = client.get(&v2, "default", "a").await.expect("gets").value().expect("JSON");
    newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] = json!(60);
    client.write(ApiRequest::update(&v2, "default", "a", newer)).await.expect("updates");
    let listed = client.list(&v1, "default", &ListOptions::default()).await.expect("lists");
    assert_eq!(listed.items[0].value().expect("JSON")["spec"]["targetCPUUtilizationPercentage"], 60);
}

#[tokio::test]
async fn an_event_is_one_object_in_both_groups() {
    let (_server, client) = server().await;
    let (core, own) = (gvr("", "v1", "events"), gvr("events.k8s.io", "v1", "events"));
    let mut watch = client.watch(&own, "default", &WatchOptions::default()).await.expect("watches");
    let event = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}, "note": "n",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.com/c", "reportingInstance": "i", "action": "A",
        "reason": "R", "type": "Normal"});
    client.write(ApiRequest::create(&own, "default", event)).await.expect("creates");
    let older = client.get(&core, "default", "e").await.expect("gets").value().expect("JSON");
    assert_eq!(
        (&older["apiVersion"], &older["involvedObject"]["name"], &older["message"]),
        (&json!("v1"), &json!("p"), &json!("n"))
    );

    let selected = |selector: &str| ListOptions { field_selector: selector.to_owned(), ..ListOptions::default() };
    for (resource, selector) in [(&own, "regarding.name=p,reportingController=example.com/c"), (&core, "involvedObject.name=p")] {
        assert_eq!(client.list(resource, "default", &selected(selector)).await.expect("lists").items.len(), 1, "{selector}");
    }
    assert!(client.list(&own, "default", &selected("involvedObject.name=p")).await.is_err());
    match watch.next().await {
        Some(Ok(WatchEvent::Added(seen))) => assert_eq!(seen.value().expect("JSON")["regarding"]["name"], "p"),
        other => panic!("{other:?}"),
    }
    client.write(ApiRequest::delete(&own, "default", "e", DeleteOptions::default())).await.expect("deletes");
    assert!(client.get(&core, "default", "e").await.is_err());
}

#[tokio::test]
async fn annotations_that_the_stored_form_cannot_hold_are_refused() {
    let (_server, client) = server().await;
    let autoscalers = gvr("autoscaling", "v1", "horizontalpodautoscalers");
    let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}});
    for (name, value) in [("behavior", "\"fast\""), ("metrics", "[5]")] {
        let annotations = json!({format!("autoscaling.alpha.kubernetes.io/{name}"): value});
        let object = json!({"metadata": {"name": "a", "annotations": annotations}, "spec": spec});
        let refused = client.write(ApiRequest::create(&autoscalers, "default", object)).await.expect_err(name);
        assert_eq!(refused.code, 400, "{name}: {refused}");
    }
}

#[tokio::test]
async fn a_new_event_is_checked_by_its_version_whatever_verb_creates_it() {
    let (_server, client) = server().await;
    let own = gvr("events.k8s.io", "v1", "events");
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}, "reason": "R", "type": "Normal"});
    let mut apply = ApiRequest::patch(&own, "default", "e", PatchKind::Apply, event.clone());
    apply.write.field_manager = "test".to_owned();
    let create = ApiRequest::create(&own, "default", event.clone());
    for (verb, request) in [("create", create), ("update", ApiRequest::update(&own, "default", "e", event)), ("apply", apply)] {
        let refused = client.write(request).await.expect_err(verb);
        assert!(refused.details.causes.iter().any(|cause| cause.field == "eventTime"), "{verb}: {refused}");
    }
}
