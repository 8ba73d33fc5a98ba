//! How long a kind is served: from its definition on, and no longer.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::served::{DEFINITIONS, Served, WIDGETS, answer, definition, widget, widget_schema};
use crate::support;

#[tokio::test]
async fn a_definition_is_served_once_it_is_established_and_gone_with_it() {
    let served = Served::start().await;
    let (code, stored) = served.create(DEFINITIONS, &definition(widget_schema())).await;
    assert_eq!(code, 201, "{stored}");
    assert_eq!(stored["spec"]["names"]["singular"], "widget");
    assert_eq!(stored["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(stored["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(stored["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(served.get(WIDGETS).await.0, 404);
    served.establish(stored).await;

    let (code, list) = served.get(WIDGETS).await;
    assert_eq!((code, &list["kind"], &list["apiVersion"]), (StatusCode::OK, &json!("WidgetList"), &json!("example.com/v1")));
    let (_, resources) = served.get("/apis/example.com/v1").await;
    let names: Vec<&str> =
        resources["resources"].as_array().expect("resources").iter().filter_map(|r| r["name"].as_str()).collect();
    assert_eq!(names, ["widgets", "widgets/status", "widgets/scale"]);
    assert_eq!(resources["resources"][0]["shortNames"], json!(["wd"]));
    let (_, groups) = served.get("/apis").await;
    assert!(groups["groups"].as_array().is_some_and(|groups| groups.iter().any(|group| group["name"] == "example.com")));
    let (_, document) = served.get("/openapi/v3/apis/example.com/v1").await;
    assert!(document.to_string().contains("application/merge-patch+json"));
    assert!(!document.to_string().contains("strategic-merge-patch"), "kubectl takes any path's word for the whole kind");
    let schema = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(schema["x-kubernetes-group-version-kind"], json!([{"group": "example.com", "version": "v1", "kind": "Widget"}]));
    assert_eq!(schema["properties"]["spec"]["properties"]["color"]["enum"], json!(["red", "blue"]));
    assert!(document["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"].is_object());

    let (code, marked) = answer(
        served.send(Method::DELETE, &format!("{DEFINITIONS}/widgets.example.com"), "application/json", String::new()).await,
    )
    .await;
    assert_eq!(code, 200);
    assert_eq!(marked["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let (code, refused) = served.create(WIDGETS, &widget("late", json!({}))).await;
    assert_eq!(code, 405, "{refused}");
    let (code, _) = served.merge(&format!("{DEFINITIONS}/widgets.example.com"), &json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(code, 200);
    support::eventually("the end of the kind", async || match served.get(WIDGETS).await {
        (code, _) if code == 404 => Ok(()),
        (code, list) => Err(format!("{code}: {list}")),
    })
    .await;
    assert_eq!(served.get("/apis/example.com/v1").await.0, 404);
}

#[tokio::test]
async fn older_clients_find_a_custom_kind_as_soon_as_it_is_established() {
    let served = Served::start().await;
    let mut definition = definition(widget_schema());
    let free = json!({"type": "object", "nullable": true, "properties": {"a": {"type": "string"}}});
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["free"] = free;
    served.define(&definition).await;
    // The first look: nothing is waited for.
    let (_, list) = served.get(WIDGETS).await;
    assert_eq!(list["kind"], "WidgetList");
    let (code, document) = served.get("/openapi/v2").await;
    assert_eq!(code, 200);
    let schema = &document["definitions"]["com.example.v1.Widget"];
    assert_eq!(schema["x-kubernetes-group-version-kind"], json!([{"group": "example.com", "version": "v1", "kind": "Widget"}]));
    assert_eq!(schema["properties"]["free"], json!({}), "what may be null has no type there");
    assert_eq!(schema["properties"]["spec"]["properties"]["replicas"], json!({"type": "integer", "minimum": 0, "default": 1}));
    assert_eq!(schema["properties"]["metadata"]["$ref"], "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    assert_eq!(
        document["definitions"]["com.example.v1.WidgetList"]["properties"]["items"]["items"],
        json!({"$ref": "#/definitions/com.example.v1.Widget"})
    );
    let path = &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets"];
    assert_eq!(path["get"]["responses"]["200"]["schema"]["$ref"], "#/definitions/com.example.v1.WidgetList");
    assert_eq!(path["post"]["produces"], json!(["application/json", "application/yaml"]));
    let one = &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"];
    assert_eq!(one["get"]["x-kubernetes-group-version-kind"]["kind"], "Widget");
    assert!(document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}/status"]["put"].is_object());
}

#[tokio::test]
async fn a_custom_kind_has_no_messages() {
    let served = Served::start().await;
    served.define(&definition(widget_schema())).await;
    const MESSAGE: &str = "application/vnd.kubernetes.protobuf";
    let (code, told) = answer(served.send(Method::POST, WIDGETS, MESSAGE, "k8s\0".to_owned()).await).await;
    assert_eq!(code, 415);
    let why =
        "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml";
    assert!(told["message"].as_str().is_some_and(|message| message.starts_with(why)), "{told}");
    let accepting = async |accept: &str| {
        served.client.get(format!("{}{WIDGETS}", served.base)).header("accept", accept).send().await.expect("an answer")
    };
    assert_eq!(accepting(MESSAGE).await.status(), StatusCode::NOT_ACCEPTABLE);
    let (code, list) = answer(accepting(&format!("{MESSAGE},application/json")).await).await;
    assert_eq!((code, &list["kind"]), (StatusCode::OK, &json!("WidgetList")));
}

#[tokio::test]
async fn a_restarted_server_serves_custom_kinds_at_once() {
    let store: std::sync::Arc<dyn mizzen_store::Store> =
        std::sync::Arc::new(mizzen_store::MemoryStore::new(mizzen_store::HISTORY_BYTES));
    {
        let served = Served::over(support::server_with(store.clone()).await.0).await;
        served.define(&definition(widget_schema())).await;
        assert_eq!(served.create(WIDGETS, &widget("a", json!({}))).await.0, 201);
    }
    let server = support::server_over(store);
    assert!(server.registry().by_resource("example.com", "v1", "widgets").is_some());
    let served = Served::over(server).await;
    assert_eq!(served.get(&format!("{WIDGETS}/a")).await.0, 200);
}

#[tokio::test]
async fn a_watch_tells_changes_and_ends_with_the_kind() {
    let served = Served::start().await;
    served.define(&definition(widget_schema())).await;
    let mut watch = served.send(Method::GET, &format!("{WIDGETS}?watch=1"), "application/json", String::new()).await;
    served.create(WIDGETS, &widget("a", json!({"color": "red"}))).await;
    let chunk = watch.chunk().await.expect("a chunk").expect("an event");
    let event: Value = serde_json::from_slice(&chunk).expect("is JSON");
    assert_eq!((&event["type"], &event["object"]["spec"]["replicas"]), (&json!("ADDED"), &json!(1)));
    let path = format!("{DEFINITIONS}/widgets.example.com");
    served.send(Method::DELETE, &path, "application/json", String::new()).await;
    served.send(Method::DELETE, &format!("{WIDGETS}/a"), "application/json", String::new()).await;
    served.merge(&path, &json!({"metadata": {"finalizers": null}})).await;
    let mut told = Vec::new();
    while let Some(chunk) = watch.chunk().await.expect("a chunk or the end") {
        told.extend_from_slice(&chunk);
    }
    assert!(String::from_utf8_lossy(&told).contains("\"DELETED\""), "the deletion is told before the end");
}

#[tokio::test]
async fn a_custom_kind_with_the_name_of_a_built_in_one_leaves_that_alone() {
    let served = Served::start().await;
    let mut pods = definition(widget_schema());
    pods["metadata"] =
        json!({"name": "pods.core.api.k8s.io", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}});
    pods["spec"]["group"] = json!("core.api.k8s.io");
    pods["spec"]["names"] = json!({"plural": "pods", "kind": "Pod"});
    served.define(&pods).await;
    assert_eq!(served.get("/apis/core.api.k8s.io/v1/pods").await.0, 200);
    let mut pod = support::pod("a");
    pod["spec"]["imge"] = json!("a");
    let (code, told) = served.create("/api/v1/namespaces/default/pods?fieldValidation=Strict", &pod).await;
    assert_eq!(code, 400, "{told}");
    assert!(told["message"].as_str().is_some_and(|message| message.contains("unknown field \"spec.imge\"")), "{told}");
}
