//! The verbs of the pipeline, in process.

mod support;

use std::time::Duration;

use futures::StreamExt as _;
use mizzen_api::{Reason, Verb};
use mizzen_client::{ApiRequest, DeleteOptions, ListOptions, PatchKind, Propagation, WatchEvent, WatchOptions, WriteOptions};
use mizzen_store::MemoryStore;
use serde_json::{Value, json};
use support::{gvr, pod, server, server_with};

fn config_maps() -> mizzen_api::GroupVersionResource {
    gvr("", "v1", "configmaps")
}

fn pods() -> mizzen_api::GroupVersionResource {
    gvr("", "v1", "pods")
}

fn config_map(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"name": name}}, "data": {"a": "1"}})
}

async fn next(stream: &mut mizzen_client::WatchStream) -> WatchEvent {
    let item = tokio::time::timeout(Duration::from_secs(10), stream.next()).await.expect("an event in time");
    item.expect("the watch goes on").expect("no error")
}

#[tokio::test]
async fn an_object_is_created_read_updated_and_deleted() {
    let (_server, client) = server().await;
    let created = client.write(ApiRequest::create(&config_maps(), "default", config_map("a"))).await.expect("creates");
    assert_eq!(created.code, 201);
    let head = created.object.head();
    assert!(!head.uid.is_empty() && head.creation_timestamp.is_some() && !head.resource_version.is_empty());
    let value = created.object.value().expect("JSON");
    assert_eq!((&value["kind"], &value["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));

    let again = client.write(ApiRequest::create(&config_maps(), "default", config_map("a"))).await.expect_err("is there already");
    assert_eq!((again.reason, again.message.as_str()), (Reason::AlreadyExists, "configmaps \"a\" already exists"));

    let mut changed = value.clone();
    changed["data"]["a"] = json!("2");
    let updated = client.write(ApiRequest::update(&config_maps(), "default", "a", changed.clone())).await.expect("updates");
    assert_ne!(updated.object.head().resource_version, head.resource_version);
    let stale = client.write(ApiRequest::update(&config_maps(), "default", "a", changed)).await.expect_err("the revision is old");
    assert_eq!(stale.reason, Reason::Conflict);
    assert!(stale.message.ends_with("please apply your changes to the latest version and try again"), "{}", stale.message);

    client.write(ApiRequest::delete(&config_maps(), "default", "a", DeleteOptions::default())).await.expect("deletes");
    let gone = client.get(&config_maps(), "default", "a").await.expect_err("is gone");
    assert_eq!((gone.code, gone.message.as_str()), (404, "configmaps \"a\" not found"));
}

#[tokio::test]
async fn an_update_that_changes_nothing_writes_nothing() {
    let (_server, client) = server().await;
    let created = client.write(ApiRequest::create(&config_maps(), "default", config_map("a"))).await.expect("creates");
    let same = client
        .write(ApiRequest::update(&config_maps(), "default", "a", created.object.value().expect("JSON")))
        .await
        .expect("updates");
    assert_eq!(same.object.revision(), created.object.revision());
}

#[tokio::test]
async fn generated_names_differ_and_dry_runs_store_nothing() {
    let (_server, client) = server().await;
    let generated = json!({"metadata": {"generateName": "x-"}});
    let first = client.write(ApiRequest::create(&config_maps(), "default", generated.clone())).await.expect("creates");
    let second = client.write(ApiRequest::create(&config_maps(), "default", generated)).await.expect("creates");
    assert!(first.object.head().name.starts_with("x-") && first.object.head().name.len() == 7);
    assert_ne!(first.object.head().name, second.object.head().name);

    let mut dry = ApiRequest::create(&config_maps(), "default", config_map("dry"));
    dry.write = WriteOptions { dry_run: true, ..WriteOptions::default() };
    client.write(dry).await.expect("would create");
    assert!(client.get(&config_maps(), "default", "dry").await.is_err());
}

#[tokio::test]
async fn every_patch_type_changes_the_document() {
    let (_server, client) = server().await;
    client.write(ApiRequest::create(&pods(), "default", pod("p"))).await.expect("creates");
    let patch = |kind, patch| client.write(ApiRequest::patch(&pods(), "default", "p", kind, patch));
    patch(PatchKind::Json, json!([{"op": "add", "path": "/metadata/labels", "value": {"j": "1"}}])).await.expect("patches");
    patch(PatchKind::Merge, json!({"metadata": {"labels": {"m": "1"}}})).await.expect("patches");
    let strategic = json!({"spec": {"containers": [{"name": "main", "image": "example.com/a:2"}]}});
    let patched = patch(PatchKind::Strategic, strategic).await.expect("patches");
    let value = patched.object.value().expect("JSON");
    assert_eq!(value["metadata"]["labels"], json!({"j": "1", "m": "1"}));
    assert_eq!(value["spec"]["containers"].as_array().map(Vec::len), Some(1));
    assert_eq!(value["spec"]["containers"][0]["image"], "example.com/a:2");
    let wrong = patch(PatchKind::Json, json!([{"op": "test", "path": "/kind", "value": "X"}])).await.expect_err("the test fails");
    assert_eq!(wrong.code, 422);
}

#[tokio::test]
async fn server_side_apply_owns_fields_and_conflicts() {
    let (_server, client) = server().await;
    let apply = |manager: &str, force: bool, document: Value| {
        let mut request = ApiRequest::patch(&config_maps(), "default", "c", PatchKind::Apply, document).manager(manager);
        request.write.force = force;
        client.write(request)
    };
    let of = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": value}});
    let created = apply("one", false, of("1")).await.expect("creates");
    assert_eq!(created.code, 201);
    let value = created.object.value().expect("JSON");
    assert_eq!(value["metadata"]["managedFields"][0]["manager"], "one");
    assert_eq!(value["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]["f:k"], json!({}));
    let conflict = apply("two", false, of("2")).await.expect_err("somebody else owns it");
    assert_eq!(conflict.reason, Reason::Conflict);
    assert_eq!(conflict.details.causes[0].field, ".data.k");
    let taken = apply("two", true, of("2")).await.expect("takes it over");
    assert_eq!(taken.object.value().expect("JSON")["data"]["k"], "2");
    let nobody = apply("", false, of("3")).await;
    assert!(nobody.is_ok() || nobody.is_err_and(|status| status.code == 400 || status.code == 409));
}

#[tokio::test]
async fn finalizers_and_preconditions_hold_a_deletion_back() {
    let (_server, client) = server().await;
    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let created = client.write(ApiRequest::create(&config_maps(), "default", held)).await.expect("creates");
    let wrong = DeleteOptions { uid: Some("other".to_owned()), ..DeleteOptions::default() };
    let refused = client.write(ApiRequest::delete(&config_maps(), "default", "held", wrong)).await.expect_err("another uid");
    assert_eq!(refused.reason, Reason::Conflict);

    client.write(ApiRequest::delete(&config_maps(), "default", "held", DeleteOptions::default())).await.expect("marks");
    let marked = client.get(&config_maps(), "default", "held").await.expect("is still there");
    assert!(marked.head().is_terminating());
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    let refused =
        client.write(ApiRequest::patch(&config_maps(), "default", "held", PatchKind::Merge, more)).await.expect_err("too late");
    assert_eq!(refused.code, 422);
    let released = json!({"metadata": {"finalizers": null, "uid": created.object.head().uid}});
    client.write(ApiRequest::patch(&config_maps(), "default", "held", PatchKind::Merge, released)).await.expect("releases");
    assert!(client.get(&config_maps(), "default", "held").await.is_err());
}

#[tokio::test]
async fn propagation_becomes_a_finalizer() {
    let (_server, client) = server().await;
    client.write(ApiRequest::create(&config_maps(), "default", config_map("a"))).await.expect("creates");
    let foreground = DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::default() };
    client.write(ApiRequest::delete(&config_maps(), "default", "a", foreground)).await.expect("marks");
    let marked = client.get(&config_maps(), "default", "a").await.expect("waits for the garbage collector");
    assert_eq!(marked.head().finalizers, ["foregroundDeletion"]);
}

#[tokio::test]
async fn a_bound_pod_is_deleted_with_grace_and_an_unbound_one_at_once() {
    let (_server, client) = server().await;
    for name in ["bound", "unbound"] {
        client.write(ApiRequest::create(&pods(), "default", pod(name))).await.expect("creates");
    }
    let bind = |node: &str| {
        let binding = json!({"metadata": {"name": "bound"}, "target": {"kind": "Node", "name": node}});
        let mut request = ApiRequest::new(Verb::Create, &pods(), "default", "bound").subresource("binding");
        request.body = mizzen_client::Body::Value(binding);
        client.write(request)
    };
    bind("node-1").await.expect("binds");
    assert_eq!(bind("node-2").await.expect_err("is bound already").reason, Reason::Conflict);
    let bound = client.get(&pods(), "default", "bound").await.expect("is there").value().expect("JSON");
    assert_eq!((&bound["spec"]["nodeName"], &bound["metadata"]["generation"]), (&json!("node-1"), &json!(1)));
    assert!(!bound["metadata"]["managedFields"].to_string().contains("f:nodeName"), "as in Kubernetes, it is nobody's field");
    assert!(
        bound["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|c| c["type"] == "PodScheduled" && c["status"] == "True"))
    );

    let delete = |name: &str, grace: Option<i64>| {
        let options = DeleteOptions { grace_period_seconds: grace, ..DeleteOptions::default() };
        client.write(ApiRequest::delete(&pods(), "default", name, options))
    };
    delete("unbound", None).await.expect("deletes");
    assert!(client.get(&pods(), "default", "unbound").await.is_err());
    delete("bound", None).await.expect("marks");
    let marked = client.get(&pods(), "default", "bound").await.expect("waits for its node");
    assert_eq!(marked.head().deletion_grace_period_seconds, Some(30));
    delete("bound", Some(0)).await.expect("deletes");
    assert!(client.get(&pods(), "default", "bound").await.is_err());
}

#[tokio::test]
async fn lists_come_in_pages_and_through_selectors() {
    let (_server, client) = server().await;
    for name in ["a", "b", "c"] {
        client.write(ApiRequest::create(&config_maps(), "default", config_map(name))).await.expect("creates");
    }
    let first = client.list(&config_maps(), "", &ListOptions { limit: 2, ..ListOptions::default() }).await.expect("lists");
    assert_eq!((first.items.len(), first.remaining), (2, Some(1)));
    client.write(ApiRequest::create(&config_maps(), "default", config_map("d"))).await.expect("creates");
    let token = first.continue_token.expect("there is more");
    let rest = ListOptions { limit: 2, continue_token: token, ..ListOptions::default() };
    let rest = client.list(&config_maps(), "", &rest).await.expect("lists");
    assert_eq!(rest.revision, first.revision);
    assert_eq!(rest.items.iter().map(|item| item.head().name.as_str()).collect::<Vec<_>>(), ["c"]);
    assert!(rest.continue_token.is_none());

    let labelled = ListOptions { label_selector: "name in (a,b),name!=b".to_owned(), ..ListOptions::default() };
    assert_eq!(client.list(&config_maps(), "default", &labelled).await.expect("lists").items.len(), 1);
    let named = ListOptions { field_selector: "metadata.name=c".to_owned(), ..ListOptions::default() };
    assert_eq!(client.list(&config_maps(), "default", &named).await.expect("lists").items.len(), 1);
    // A longer name lies right behind the one that is asked for.
    client.write(ApiRequest::create(&config_maps(), "default", config_map("cc"))).await.expect("creates");
    let named = ListOptions { limit: 1, ..named };
    for namespace in ["default", ""] {
        let list = client.list(&config_maps(), namespace, &named).await.expect("lists");
        assert_eq!(list.items.iter().map(|item| item.head().name.as_str()).collect::<Vec<_>>(), ["c"]);
        if let Some(continue_token) = list.continue_token {
            let rest = ListOptions { continue_token, ..named.clone() };
            assert!(client.list(&config_maps(), namespace, &rest).await.expect("lists").items.is_empty());
        }
    }
    let unknown = ListOptions { field_selector: "spec.x=c".to_owned(), ..ListOptions::default() };
    assert_eq!(client.list(&config_maps(), "default", &unknown).await.expect_err("no such field").code, 400);
    let future = ListOptions { resource_version: "999999".to_owned(), ..ListOptions::default() };
    assert_eq!(client.list(&config_maps(), "default", &future).await.expect_err("not reached").reason, Reason::Timeout);

    let all = ApiRequest::new(Verb::DeleteCollection, &config_maps(), "default", "");
    client.write(all).await.expect("deletes all");
    assert!(client.list(&config_maps(), "", &ListOptions::default()).await.expect("lists").items.is_empty());
}

#[tokio::test]
async fn a_watch_resumes_and_tells_who_enters_and_leaves_its_selector() {
    let (_server, client) = server().await;
    let before = client.list(&config_maps(), "default", &ListOptions::default()).await.expect("lists").revision;
    client.write(ApiRequest::create(&config_maps(), "default", config_map("a"))).await.expect("creates");
    let options =
        WatchOptions { resource_version: before.to_string(), label_selector: "in=yes".to_owned(), ..WatchOptions::default() };
    let mut watch = client.watch(&config_maps(), "default", &options).await.expect("watches");
    let label = |value: Value| {
        client.write(ApiRequest::patch(
            &config_maps(),
            "default",
            "a",
            PatchKind::Merge,
            json!({"metadata": {"labels": {"in": value}}}),
        ))
    };
    label(json!("yes")).await.expect("labels");
    assert!(matches!(next(&mut watch).await, WatchEvent::Added(object) if object.head().name == "a"));
    label(json!("no")).await.expect("labels");
    let WatchEvent::Deleted(left) = next(&mut watch).await else { panic!("it left the selection") };
    assert_eq!(left.head().labels["in"], "yes");
    assert_eq!(
        left.head().resource_version,
        client.get(&config_maps(), "default", "a").await.expect("is there").head().resource_version
    );

    let resumed = WatchOptions { resource_version: before.to_string(), ..WatchOptions::default() };
    let mut resumed = client.watch(&config_maps(), "default", &resumed).await.expect("watches");
    assert!(matches!(next(&mut resumed).await, WatchEvent::Added(_)));
    assert!(matches!(next(&mut resumed).await, WatchEvent::Modified(_)));
    assert!(matches!(next(&mut resumed).await, WatchEvent::Modified(_)));
    client.write(ApiRequest::delete(&config_maps(), "default", "a", DeleteOptions::default())).await.expect("deletes");
    let WatchEvent::Deleted(deleted) = next(&mut resumed).await else { panic!("it was deleted") };
    assert_eq!(deleted.head().resource_version, deleted.revision().to_string());
}

#[tokio::test]
async fn a_watch_can_begin_with_what_is_there_and_says_where_that_ends() {
    let (_server, client) = server().await;
    client.write(ApiRequest::create(&config_maps(), "default", config_map("a"))).await.expect("creates");
    let options = WatchOptions {
        send_initial_events: Some(true),
        resource_version_match: "NotOlderThan".to_owned(),
        allow_bookmarks: true,
        ..WatchOptions::default()
    };
    let mut watch = client.watch(&config_maps(), "", &options).await.expect("watches");
    assert!(matches!(next(&mut watch).await, WatchEvent::Added(_)));
    assert!(matches!(next(&mut watch).await, WatchEvent::Bookmark { initial_events_end: true, .. }));
    client.write(ApiRequest::create(&config_maps(), "default", config_map("b"))).await.expect("creates");
    assert!(matches!(next(&mut watch).await, WatchEvent::Added(object) if object.head().name == "b"));
}

#[tokio::test]
async fn a_revision_that_is_compacted_is_expired_for_lists_and_watches() {
    let store = std::sync::Arc::new(MemoryStore::new(mizzen_store::HISTORY_BYTES));
    let (_server, client) = server_with(store.clone()).await;
    for name in ["a", "b", "c"] {
        client.write(ApiRequest::create(&config_maps(), "default", config_map(name))).await.expect("creates");
    }
    let page = client.list(&config_maps(), "", &ListOptions { limit: 1, ..ListOptions::default() }).await.expect("lists");
    client.write(ApiRequest::delete(&config_maps(), "default", "c", DeleteOptions::default())).await.expect("deletes");
    client.write(ApiRequest::create(&config_maps(), "default", config_map("d"))).await.expect("creates");
    mizzen_store::Store::compact(store.as_ref(), mizzen_store::Store::revision(store.as_ref())).await.expect("compacts");
    let stale = ListOptions { continue_token: page.continue_token.expect("more"), ..ListOptions::default() };
    assert_eq!(client.list(&config_maps(), "", &stale).await.expect_err("too old").reason, Reason::Expired);
    let watch = WatchOptions { resource_version: "1".to_owned(), ..WatchOptions::default() };
    let status = match client.watch(&config_maps(), "", &watch).await {
        Err(status) => status,
        Ok(mut stream) => stream.next().await.expect("an answer").expect_err("too old"),
    };
    assert_eq!((status.code, status.reason), (410, Reason::Expired));
}

#[tokio::test]
async fn nothing_is_created_in_a_namespace_that_is_missing_or_going_away() {
    let (_server, client) = server().await;
    let missing = client.write(ApiRequest::create(&config_maps(), "nowhere", config_map("a"))).await.expect_err("no namespace");
    assert_eq!((missing.code, missing.message.as_str()), (404, "namespaces \"nowhere\" not found"));
    let namespaces = gvr("", "v1", "namespaces");
    client.write(ApiRequest::create(&namespaces, "", json!({"metadata": {"name": "n"}}))).await.expect("creates");
    client.write(ApiRequest::delete(&namespaces, "", "n", DeleteOptions::default())).await.expect("marks");
    let namespace = client.get(&namespaces, "", "n").await.expect("waits for its finalizer").value().expect("JSON");
    assert_eq!(namespace["status"]["phase"], "Terminating");
    let refused = client.write(ApiRequest::create(&config_maps(), "n", config_map("a"))).await.expect_err("is terminating");
    assert_eq!(refused.code, 403);
    assert_eq!(refused.details.causes[0].reason, "NamespaceTerminating");
    let mut finalize = ApiRequest::update(&namespaces, "", "n", {
        let mut namespace = namespace.clone();
        namespace["spec"]["finalizers"] = json!([]);
        namespace
    });
    finalize.subresource = "finalize".to_owned();
    client.write(finalize).await.expect("finalizes");
    assert!(client.get(&namespaces, "", "n").await.is_err());
    let default = client.write(ApiRequest::delete(&namespaces, "", "default", DeleteOptions::default())).await;
    assert_eq!(default.expect_err("stays").code, 403);
}

#[tokio::test]
async fn status_and_spec_are_written_through_their_own_paths() {
    let (_server, client) = server().await;
    let deployments = gvr("apps", "v1", "deployments");
    let document = json!({"metadata": {"name": "d"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }, "status": {"replicas": 7}});
    let created = client.write(ApiRequest::create(&deployments, "default", document)).await.expect("creates");
    assert!(created.object.value().expect("JSON").pointer("/status/replicas").is_none());
    assert_eq!(created.object.head().generation, 1);
    let status = json!({"status": {"replicas": 2, "observedGeneration": 1}, "spec": {"replicas": 9}});
    let patched = client
        .write(ApiRequest::patch(&deployments, "default", "d", PatchKind::Merge, status).subresource("status"))
        .await
        .expect("patches the status");
    let value = patched.object.value().expect("JSON");
    assert_eq!((&value["status"]["replicas"], &value["spec"]["replicas"]), (&json!(2), &json!(2)));
    assert_eq!(patched.object.head().generation, 1);

    let scale = json!({"spec": {"replicas": 5}});
    let scaled = client
        .write(ApiRequest::patch(&deployments, "default", "d", PatchKind::Merge, scale).subresource("scale"))
        .await
        .expect("scales")
        .object
        .value()
        .expect("JSON");
    assert_eq!(
        (&scaled["kind"], &scaled["spec"]["replicas"], &scaled["status"]["selector"]),
        (&json!("Scale"), &json!(5), &json!("a=b"))
    );
    let scaled = client.get(&deployments, "default", "d").await.expect("is there");
    assert_eq!(scaled.head().generation, 2);

    let apply = |manager: &str, replicas: i64, force: bool| {
        let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": replicas}});
        let mut request =
            ApiRequest::patch(&deployments, "default", "d", PatchKind::Apply, scale).subresource("scale").manager(manager);
        request.write.force = force;
        client.write(request)
    };
    let refused = apply("autoscaler", 7, false).await.expect_err("another manager has it");
    assert_eq!((refused.code, refused.details.causes[0].field.as_str()), (409, ".spec.replicas"));
    let scaled = apply("autoscaler", 7, true).await.expect("applies").object.value().expect("JSON");
    assert_eq!((&scaled["kind"], &scaled["spec"]["replicas"]), (&json!("Scale"), &json!(7)));
    let scaled = client.get(&deployments, "default", "d").await.expect("is there").value().expect("JSON");
    let entries = scaled["metadata"]["managedFields"].as_array().expect("owners");
    let owner = entries.iter().find(|entry| entry["manager"] == "autoscaler").expect("owns it");
    assert_eq!(
        (&owner["operation"], &owner["subresource"], &owner["fieldsV1"]),
        (&json!("Apply"), &json!("scale"), &json!({"f:spec": {"f:replicas": {}}}))
    );
    let negative = ApiRequest::patch(&deployments, "default", "d", PatchKind::Merge, json!({"spec": {"replicas": -1}}));
    let refused = client.write(negative.subresource("scale")).await.expect_err("is no number of pods");
    let why = "Scale.autoscaling \"d\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0";
    assert_eq!((refused.code, refused.message.as_str()), (422, why));
    let gone = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gone", "uid": "u"}});
    let gone = ApiRequest::patch(&deployments, "default", "gone", PatchKind::Apply, gone).manager("a");
    let refused = client.write(gone).await.expect_err("there is none of this uid");
    assert!(refused.code == 409 && refused.message.ends_with("specified uid u, and no existing object was found"), "{refused}");
    let kindless = ApiRequest::patch(&deployments, "default", "d", PatchKind::Apply, json!({"spec": {"replicas": 1}}));
    let refused = client.write(kindless.subresource("scale").manager("a")).await.expect_err("says no kind");
    assert_eq!((refused.code, refused.message.as_str()), (400, "invalid object type: /, Kind="));
}

#[tokio::test]
async fn a_new_pod_gets_its_account_its_token_and_its_tolerations() {
    let (_server, client) = server().await;
    let created =
        client.write(ApiRequest::create(&pods(), "default", pod("p"))).await.expect("creates").object.value().expect("JSON");
    let spec = &created["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["containers"][0]["volumeMounts"][0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(spec["volumes"][0]["projected"]["sources"].as_array().map(Vec::len), Some(3));
    assert_eq!(spec["tolerations"].as_array().map(Vec::len), Some(2));
    assert_eq!((&spec["priority"], &created["status"]["phase"]), (&json!(0), &json!("Pending")));
    let mut stranger = pod("q");
    stranger["spec"]["serviceAccountName"] = json!("stranger");
    let refused = client.write(ApiRequest::create(&pods(), "default", stranger)).await.expect_err("no such account");
    assert_eq!(refused.code, 403);
    assert!(refused.message.contains("serviceaccount \"stranger\" not found"), "{}", refused.message);
}

#[tokio::test]
async fn patches_cannot_nest_a_document_deeper_than_it_can_be_read() {
    let (_server, client) = server().await;
    client.write(ApiRequest::create(&config_maps(), "default", config_map("deep"))).await.expect("creates");
    let nested = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({ "x": inner }));
    let path = format!("/x{}", "/x".repeat(90));
    let patch = |value: Value| client.write(ApiRequest::patch(&config_maps(), "default", "deep", PatchKind::Json, value));
    let first = patch(json!([{"op": "add", "path": "/x", "value": nested(95)}])).await;
    let second = patch(json!([{"op": "add", "path": path, "value": nested(95)}])).await;
    assert!(first.is_err() || second.is_err());
    client
        .write(ApiRequest::delete(&config_maps(), "default", "deep", DeleteOptions::default()))
        .await
        .expect("can still be deleted");
}

#[tokio::test]
async fn patches_at_the_same_time_all_count() {
    let (_server, client) = server().await;
    client.write(ApiRequest::create(&config_maps(), "default", config_map("busy"))).await.expect("creates");
    let patches = (0..20).map(|index| {
        let (client, data) = (client.clone(), json!({"data": {format!("k{index}"): "1"}}));
        tokio::spawn(
            async move { client.write(ApiRequest::patch(&config_maps(), "default", "busy", PatchKind::Merge, data)).await },
        )
    });
    for patch in patches.collect::<Vec<_>>() {
        patch.await.expect("no panic").expect("patches");
    }
    let value = client.get(&config_maps(), "default", "busy").await.expect("is there").value().expect("JSON");
    assert_eq!(value["data"].as_object().map(serde_json::Map::len), Some(21));
}

#[tokio::test]
async fn an_unknown_field_is_told_of_and_left_out_or_refused() {
    let (_server, client) = server().await;
    let write = |mut request: ApiRequest, validation: &str| {
        request.write.field_validation = validation.to_owned();
        let client = client.clone();
        async move { client.write(request).await }
    };
    let unknown = "unknown field \"colour\"";
    for (name, validation, warnings) in [("a", "", vec![unknown]), ("b", "Warn", vec![unknown]), ("c", "Ignore", vec![])] {
        let mut object = config_map(name);
        object["colour"] = json!("blue");
        let created = write(ApiRequest::create(&config_maps(), "default", object.clone()), validation).await.expect("creates");
        assert_eq!(created.warnings, warnings);
        let updated = write(ApiRequest::update(&config_maps(), "default", name, object), validation).await.expect("updates");
        let patch = ApiRequest::patch(&config_maps(), "default", name, PatchKind::Merge, json!({"colour": "red"}));
        let patched = write(patch, validation).await.expect("patches");
        for written in [created, updated, patched] {
            assert_eq!(written.object.value().expect("JSON").get("colour"), None, "{validation}");
        }
    }
    let patch = |kind, patch| ApiRequest::patch(&config_maps(), "default", "a", kind, patch);
    let refused = write(patch(PatchKind::Merge, json!({"colour": "red"})), "Strict").await.expect_err("is refused");
    assert!(refused.message.ends_with("strict decoding error: unknown field \"colour\""), "{refused}");
    for validation in ["", "Ignore", "Strict"] {
        let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "colour": "red"});
        let mut request = patch(PatchKind::Apply, applied);
        request.write.field_manager = "me".to_owned();
        let refused = write(request, validation).await.expect_err("is refused");
        let why = "failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .colour: field not declared in schema";
        assert_eq!((refused.code, refused.message.as_str()), (500, why), "{validation}");
    }
}

#[tokio::test]
async fn the_parts_of_the_control_plane_are_told() {
    let (_server, client) = server().await;
    let components = gvr("", "v1", "componentstatuses");
    let list = client.list(&components, "", &ListOptions::default()).await.expect("lists");
    let names: Vec<_> = list.items.iter().map(|component| component.head().name.clone()).collect();
    assert_eq!(names, ["controller-manager", "etcd-0", "scheduler"]);
    let one = client.get(&components, "", "scheduler").await.expect("gets").value().expect("JSON");
    assert_eq!(one["conditions"][0]["status"], "True");
    assert_eq!(client.get(&components, "", "none").await.expect_err("is none").code, 404);
}
