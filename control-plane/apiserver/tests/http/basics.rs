//! What every client does.

use std::time::Duration;

use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::served::{PODS, answer, frame, served};
use crate::support::pod;

#[tokio::test]
async fn discovery_names_what_is_served_in_both_forms() {
    let served = served().await;
    let (_, versions) = served.get("/api").await;
    assert_eq!(versions["versions"], json!(["v1"]));
    let (_, groups) = served.get("/apis").await;
    assert!(groups["groups"].as_array().is_some_and(|groups| groups.iter().any(|group| group["name"] == "apps")));
    let (_, core) = served.get("/api/v1").await;
    let names: Vec<&str> = core["resources"].as_array().expect("resources").iter().filter_map(|r| r["name"].as_str()).collect();
    assert!(names.contains(&"pods") && names.contains(&"pods/binding"));
    assert_eq!(served.get("/apis/nothing/v1").await.0, 404);
    let aggregated = served
        .request(Method::GET, "/apis")
        .header("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json")
        .send()
        .await
        .expect("an answer");
    let kind = aggregated.headers()["content-type"].to_str().expect("text").to_owned();
    assert_eq!(kind, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let (_, aggregated) = answer(aggregated).await;
    assert_eq!(aggregated["kind"], "APIGroupDiscoveryList");
}

#[tokio::test]
async fn openapi_tells_clients_which_kinds_take_field_validation() {
    let served = served().await;
    let (_, index) = served.get("/openapi/v3").await;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("a URL").to_owned();
    let (_, document) = served.get(&url).await;
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"], json!({"group": "apps", "version": "v1", "kind": "Deployment"}));
    assert!(patch["parameters"].as_array().is_some_and(|all| all.iter().any(|p| p["name"] == "fieldValidation")));
    let spec = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(spec["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(served.get("/openapi/v2").await.1["swagger"], "2.0");
    assert_eq!(served.get("/version").await.1["minor"], "36");
}

#[tokio::test]
async fn who_may_not_is_told_in_kubernetes_words() {
    let served = served().await;
    let as_user = |token: &str| served.request(Method::GET, PODS).bearer_auth(token).send();
    let (code, status) = answer(as_user("nobody").await.expect("an answer")).await;
    assert_eq!(code, 403);
    let wanted =
        "pods is forbidden: User \"nobody\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"";
    assert_eq!(status["message"], wanted);
    let unknown = served.request(Method::GET, "/apis/unknown.example/v1/things").bearer_auth("nobody").send();
    assert_eq!(unknown.await.expect("an answer").status(), 403);
    assert_eq!(served.get("/apis/unknown.example/v1/things").await.0, 404);
    assert_eq!(served.create(&format!("{PODS}/p"), &pod("p")).await.0, 405);
    let (code, status) = answer(as_user("wrong").await.expect("an answer")).await;
    assert_eq!((code.as_u16(), &status["reason"], &status["message"]), (401, &json!("Unauthorized"), &json!("Unauthorized")));
}

#[tokio::test]
async fn an_administrator_can_act_as_somebody_else_and_others_cannot() {
    let served = served().await;
    let as_nobody = served.request(Method::GET, PODS).header("impersonate-user", "nobody").send().await.expect("an answer");
    let (code, status) = answer(as_nobody).await;
    assert_eq!(code, 403);
    assert!(status["message"].as_str().is_some_and(|message| message.contains("User \"nobody\" cannot list")), "{status}");
    let nobody = served.request(Method::GET, PODS).bearer_auth("nobody").header("impersonate-user", "admin");
    let (code, status) = answer(nobody.send().await.expect("an answer")).await;
    assert_eq!(code, 403);
    assert!(
        status["message"].as_str().is_some_and(|message| message.contains("cannot impersonate resource \"users\"")),
        "{status}"
    );
    let groups = served.request(Method::GET, PODS).header("impersonate-group", "g").send().await.expect("an answer");
    assert_eq!(groups.status(), 400);
}

#[tokio::test]
async fn unknown_and_duplicate_fields_warn_or_fail_as_asked() {
    let served = served().await;
    let text = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":"i","imge":"x"}],"hostname":"a","hostname":"b"}}"#;
    let post = |validation: &str| {
        served
            .request(Method::POST, &format!("{PODS}?fieldValidation={validation}&dryRun=All"))
            .header("content-type", "application/json")
            .body(text)
            .send()
    };
    let warned = post("Warn").await.expect("an answer");
    assert_eq!(warned.status(), 201);
    let warnings: Vec<_> =
        warned.headers().get_all("warning").iter().map(|value| value.to_str().expect("text").to_owned()).collect();
    assert_eq!(
        warnings,
        [r#"299 - "unknown field \"spec.containers[0].imge\"""#, r#"299 - "duplicate field \"spec.hostname\"""#]
    );
    let (code, status) = answer(post("Strict").await.expect("an answer")).await;
    assert_eq!(code, 400);
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|m| m.contains("strict decoding error: unknown field \"spec.containers[0].imge\""))
    );
    let ignored = post("Ignore").await.expect("an answer");
    assert!(ignored.headers().get("warning").is_none() && ignored.headers().contains_key("audit-id"));
    assert_eq!(post("Maybe").await.expect("an answer").status(), 422);
}

#[tokio::test]
async fn bad_bodies_are_refused_and_nothing_breaks() {
    let served = served().await;
    let post =
        |kind: &'static str, body: Vec<u8>| served.request(Method::POST, PODS).header("content-type", kind).body(body).send();
    assert_eq!(post("application/json", b"{".to_vec()).await.expect("an answer").status(), 400);
    assert_eq!(post("application/json", b"[]".to_vec()).await.expect("an answer").status(), 400);
    assert_eq!(post("application/json", vec![b'['; 100_000]).await.expect("an answer").status(), 400);
    assert_eq!(post("text/html", b"x".to_vec()).await.expect("an answer").status(), 415);
    assert_eq!(post("application/vnd.kubernetes.protobuf", b"k8s\0\x0a".to_vec()).await.expect("an answer").status(), 400);
    assert_eq!(post("application/json", vec![b' '; 4 << 20]).await.expect("an answer").status(), 413);
    let wrong = json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "x"}});
    assert_eq!(served.create(PODS, &wrong).await.0, 400);
    let invalid = json!({"metadata": {"name": "No!"}, "spec": {"containers": [{"name": "c"}], "restartPolicy": "x"}});
    let (code, status) = served.create(PODS, &invalid).await;
    assert_eq!(code, 422);
    assert!(status["details"]["causes"].as_array().is_some_and(|causes| causes.len() >= 3), "{status}");
    let ready = served.request(Method::GET, "/readyz").send().await.expect("an answer");
    assert_eq!(ready.text().await.expect("text"), "ok");
}

#[tokio::test]
async fn a_health_check_that_does_not_exist_is_not_found() {
    let served = served().await;
    for probe in ["healthz", "livez", "readyz"] {
        let status = async |path: String| served.request(Method::GET, &path).send().await.expect("an answer").status();
        assert_eq!(status(format!("/{probe}")).await, 200);
        assert_eq!(status(format!("/{probe}/ping")).await, 200);
        assert_eq!(status(format!("/{probe}/nonsense")).await, 404);
    }
}

#[tokio::test]
async fn tables_and_metadata_are_given_to_who_asks() {
    let served = served().await;
    assert_eq!(served.create(PODS, &pod("p")).await.0, 201);
    let accept = |path: &str, accept: &str| served.request(Method::GET, path).header("accept", accept).send();
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let (_, listed) = answer(accept(PODS, table).await.expect("an answer")).await;
    assert_eq!((&listed["kind"], &listed["columnDefinitions"][0]["name"]), (&json!("Table"), &json!("Name")));
    assert_eq!(listed["rows"][0]["cells"][0], "p");
    assert_eq!(listed["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(listed["rows"][0]["cells"].as_array().map(Vec::len), listed["columnDefinitions"].as_array().map(Vec::len));
    let (_, one) = answer(accept(&format!("{PODS}/p"), table).await.expect("an answer")).await;
    assert_eq!(one["rows"].as_array().map(Vec::len), Some(1));
    let event =
        json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}, "reason": "R"});
    let events = "/api/v1/namespaces/default/events";
    assert_eq!(served.create(events, &event).await.0, 201);
    let (_, listed) = answer(accept(events, table).await.expect("an answer")).await;
    let names: Vec<&Value> =
        listed["columnDefinitions"].as_array().expect("columns").iter().map(|column| &column["name"]).collect();
    assert_eq!((names[0], names.iter().filter(|name| **name == "Name").count()), (&json!("Last Seen"), 1));
    assert_eq!(listed["rows"][0]["cells"].as_array().map(Vec::len), Some(names.len()));
    let controllers = "/api/v1/namespaces/default/replicationcontrollers";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    let controller = json!({"metadata": {"name": "r"}, "spec": {"replicas": 2, "selector": {"a": "b"}, "template": template}});
    assert_eq!(served.create(controllers, &controller).await.0, 201);
    let (_, scale) = answer(accept(&format!("{controllers}/r/scale"), table).await.expect("an answer")).await;
    let names: Vec<&Value> =
        scale["columnDefinitions"].as_array().expect("columns").iter().map(|column| &column["name"]).collect();
    assert_eq!(names, ["Name", "Desired", "Available", "Age"]);
    assert_eq!(scale["rows"][0]["cells"].as_array().map(|cells| &cells[..3]), Some(&[json!("r"), json!(2), json!(0)][..]));
    let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let (_, listed) = answer(accept(PODS, metadata).await.expect("an answer")).await;
    assert_eq!(listed["items"][0]["metadata"]["name"], "p");
    assert!(listed["items"][0].get("spec").is_none());
    assert_eq!(accept(PODS, "text/html").await.expect("an answer").status(), 406);
    let yaml = accept(&format!("{PODS}/p"), "application/yaml").await.expect("an answer");
    assert!(yaml.text().await.expect("text").contains("kind: Pod\n"));
}

#[tokio::test]
async fn a_list_is_the_stored_bytes_and_its_length_is_known() {
    let served = served().await;
    for index in 0..300 {
        let map = json!({"metadata": {"name": format!("c{index:03}")}, "data": {"x": "y".repeat(2000)}});
        assert_eq!(served.create("/api/v1/namespaces/default/configmaps", &map).await.0, 201);
    }
    let response = served.request(Method::GET, "/api/v1/configmaps").send().await.expect("an answer");
    let length = response.content_length().expect("a length");
    let bytes = response.bytes().await.expect("a body");
    assert_eq!(bytes.len() as u64, length);
    let list: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!((&list["kind"], list["items"].as_array().map(Vec::len)), (&json!("ConfigMapList"), Some(300)));
    let (_, one) = served.get("/api/v1/namespaces/default/configmaps/c007").await;
    assert_eq!(list["items"][7], one);
    let (_, empty) = served.get("/api/v1/namespaces/default/secrets").await;
    assert_eq!(empty["items"], json!([]));
}

#[tokio::test]
async fn a_watch_streams_frames_and_ends_when_the_server_stops() {
    let served = served().await;
    let path = "/api/v1/configmaps?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let watch = served.request(Method::GET, path).send().await.expect("a watch");
    let (mut stream, mut rest) = (watch.bytes_stream(), Vec::new());
    let bookmark = frame(&mut stream, &mut rest).await;
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    served.create("/api/v1/namespaces/default/configmaps", &json!({"metadata": {"name": "a"}})).await;
    let added = frame(&mut stream, &mut rest).await;
    assert_eq!((&added["type"], &added["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("a")));
    let deleted = served.request(Method::DELETE, "/api/v1/namespaces/default/configmaps/a").send().await.expect("an answer");
    let (_, deleted) = answer(deleted).await;
    assert_eq!((&deleted["kind"], &deleted["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(frame(&mut stream, &mut rest).await["type"], "DELETED");
    served.shutdown.cancel();
    let end = tokio::time::timeout(Duration::from_secs(10), stream.next()).await.expect("it ends");
    assert!(end.is_none() || end.is_some_and(|chunk| chunk.is_err()));
    tokio::time::timeout(Duration::from_secs(10), served.serving).await.expect("the server stops").expect("without a panic");
}

#[tokio::test]
async fn a_watch_times_out_when_it_is_told_to() {
    let served = served().await;
    let busy = async {
        for index in 0.. {
            let map = json!({"metadata": {"name": format!("busy{index}")}});
            served.create("/api/v1/namespaces/default/configmaps", &map).await;
        }
    };
    // Everything that happens is filtered out, and still the watch ends, with a bookmark of how far it got.
    let path = "/api/v1/configmaps?watch=1&timeoutSeconds=1&resourceVersion=1&allowWatchBookmarks=true&labelSelector=a%3Db";
    let watch = async { served.request(Method::GET, path).send().await.expect("a watch").text().await.expect("it ends") };
    let body = tokio::select! {
        body = watch => body,
        () = busy => panic!("never ends"),
    };
    let last: Value = serde_json::from_str(body.lines().last().expect("a last frame")).expect("JSON");
    assert_eq!(last["type"], "BOOKMARK");
}
