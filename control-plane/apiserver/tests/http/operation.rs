//! What operators ask: health, metrics, discovery that did not change, the issuer's keys.

use reqwest::Method;
use serde_json::json;

use crate::served::{PODS, answer, served};
use crate::support::pod;

#[tokio::test]
async fn discovery_and_openapi_are_sent_once() {
    let served = served().await;
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;profile=nopeer,application/json";
    for (path, accept) in [("/apis", aggregated), ("/openapi/v3", "application/json"), ("/openapi/v2", "application/json")] {
        let first = served.request(Method::GET, path).header("accept", accept).send().await.expect("an answer");
        assert_eq!(first.status(), 200, "{path}");
        let tag = first.headers()["etag"].clone();
        let again = served.request(Method::GET, path).header("accept", accept).header("if-none-match", tag).send();
        let again = again.await.expect("an answer");
        assert_eq!(again.status(), 304, "{path}");
        assert!(again.bytes().await.expect("a body").is_empty());
    }
    let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    let beta = served.request(Method::GET, "/api").header("accept", beta).send().await.expect("an answer");
    assert_eq!(answer(beta).await.1["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    let (_, index) = served.get("/openapi/v3").await;
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().expect("a URL").to_owned();
    let hashed = served.request(Method::GET, &url).send().await.expect("an answer");
    assert_eq!(hashed.headers()["cache-control"], "public, immutable");
    // An old address leads to the new one.
    let moved = served.request(Method::GET, "/openapi/v3/api/v1?hash=OLD").send().await.expect("an answer");
    assert_eq!((moved.status().as_u16(), moved.url().as_str().ends_with(&url)), (200, true));
    for name in ["v3@v1.0", "v3.v1.0"] {
        let message = format!("application/com.github.proto-openapi.spec.{name}+protobuf");
        let message = served.request(Method::GET, &url).header("accept", message).send().await.expect("an answer");
        assert_eq!(message.headers()["content-type"], "application/com.github.proto-openapi.spec.v3.v1.0+protobuf");
        assert_eq!(message.headers()["etag"], hashed.headers()["etag"]);
        assert_eq!(message.headers()["cache-control"], "public, immutable");
        let message = message.bytes().await.expect("a body");
        assert!(message.starts_with(b"\x0a\x053.0.0") && message.len() > 100_000, "{} bytes", message.len());
    }
    let (_, v2) = served.get("/openapi/v2").await;
    let pod = &v2["definitions"]["io.k8s.api.core.v1.Pod"];
    assert_eq!(pod["x-kubernetes-group-version-kind"], json!([{"group": "", "kind": "Pod", "version": "v1"}]));
    assert_eq!(pod["properties"]["spec"]["$ref"], "#/definitions/io.k8s.api.core.v1.PodSpec");
    let old = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let old = served.request(Method::GET, "/openapi/v2").header("accept", old).send().await.expect("an answer");
    assert_eq!(old.headers()["content-type"], "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    assert!(old.bytes().await.expect("a body").starts_with(b"\x0a\x032.0"));
}

#[tokio::test]
async fn requests_and_open_watches_are_counted() {
    let served = served().await;
    assert_eq!(served.create(PODS, &pod("p")).await.0, 201);
    assert_eq!(served.get(&format!("{PODS}/zz")).await.0, 404);
    let watch = served.request(Method::GET, &format!("{PODS}?watch=true")).send().await.expect("a watch");
    let page = served.request(Method::GET, "/metrics").send().await.expect("an answer");
    assert_eq!(page.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let page = page.text().await.expect("text");
    let of = |verb: &str, scope: &str| {
        format!(
            "component=\"apiserver\",verb=\"{verb}\",group=\"\",version=\"v1\",resource=\"pods\",subresource=\"\",scope=\"{scope}\""
        )
    };
    let step = |part: &str, name: &str| {
        let labels = "type=\"validate\",operation=\"CREATE\",rejected=\"false\"";
        format!("apiserver_admission_{part}_admission_duration_seconds_count{{{name}{labels}}} ")
    };
    for wanted in [
        format!("apiserver_request_total{{{},code=\"201\",dry_run=\"\"}} 1\n", of("POST", "namespace")),
        format!("apiserver_request_total{{{},code=\"404\",dry_run=\"\"}} 1\n", of("GET", "resource")),
        format!("apiserver_longrunning_requests{{{}}} 1\n", of("WATCH", "namespace")),
        format!("apiserver_response_sizes_count{{{}}} 1\n", of("GET", "resource")),
        format!("apiserver_request_sli_duration_seconds_count{{{}}} 1\n", of("POST", "namespace")),
        step("step", ""),
        step("controller", "name=\"NodeRestriction\","),
        "apiserver_storage_objects{resource=\"pods\"} 1\n".to_owned(),
        "apiserver_resource_objects{group=\"apps\",resource=\"deployments\"} 0\n".to_owned(),
        "process_cpu_seconds_total ".to_owned(),
    ] {
        assert!(page.contains(&wanted), "{wanted} in {page}");
    }
    drop(watch);
}

#[tokio::test]
async fn health_tells_its_checks_when_it_is_asked_to() {
    let served = served().await;
    let text = async |path: &str| {
        let response = served.request(Method::GET, path).send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("text"))
    };
    assert_eq!(text("/livez").await, (200, "ok".to_owned()));
    let (code, page) = text("/readyz?verbose").await;
    assert_eq!(code, 200);
    assert!(page.starts_with("[+]ping ok\n") && page.ends_with("readyz check passed\n"), "{page}");
}

#[tokio::test]
async fn what_is_old_is_told_so_and_what_is_nowhere_is_not_found() {
    let served = served().await;
    assert_eq!(served.get("/api/v1/namespaces/default/nodes").await.0, 404);
    assert_eq!(served.get(&format!("{PODS}/p/nothing")).await.0, 404);
    let put = served.request(Method::PUT, PODS).json(&pod("p")).send().await.expect("an answer");
    assert_eq!(put.status(), 405);
    let (_, root) = served.get("/").await;
    assert!(root["paths"].as_array().is_some_and(|paths| paths.contains(&json!("/apis/apps/v1"))), "{root}");
}
