//! An API server of somebody else's behind an APIService, through the real binary.

use std::time::Duration;

use base64::Engine as _;
use futures::StreamExt;
use http::Request;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::core::WatchEvent;
use mizzen_tests::authority::Authority;
use mizzen_tests::folder::Folder;
use mizzen_tests::sample_server::{GROUP, NAMESPACE, SERVICE, SampleServer, administrator, ask, until};
use mizzen_tests::{Cluster, eventually_async};
use serde_json::{Value, json};

const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const OWN: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.wardle.example.com";
const FLUNDERS: &str = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn with_cluster<F: Future<Output = ()>>(scenario: impl FnOnce(Cluster) -> F) {
    with(Cluster::server, scenario);
}

fn with<F: Future<Output = ()>>(start: impl FnOnce() -> Cluster + Send + 'static, scenario: impl FnOnce(Cluster) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { scenario(tokio::task::spawn_blocking(start).await.unwrap()).await });
}

fn flunder(name: &str) -> Value {
    json!({"apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder", "metadata": {"name": name}, "spec": {"reference": "a"}})
}

async fn code(client: &Client, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let request =
        headers.iter().fold(Request::builder().method(method).uri(path), |request, (name, value)| request.header(*name, *value));
    let answer = client.send(request.body(Body::empty()).unwrap()).await.unwrap();
    let code = answer.status().as_u16();
    (code, String::from_utf8_lossy(&answer.into_body().collect_bytes().await.unwrap()).into_owned())
}

/// Asks for the flunders until they are answered as `wanted` says.
async fn until_answered(client: &Client, headers: &[(&str, &str)], wanted: (u16, &str)) {
    eventually_async("the flunders are answered", async || {
        let (code, text) = code(client, "GET", FLUNDERS, headers).await;
        if code == wanted.0 && text.contains(wanted.1) { Ok(()) } else { Err(format!("{code}: {text}")) }
    })
    .await;
}

/// The group in the aggregated form, once the server was asked what it has.
async fn until_current(client: &Client) -> Value {
    eventually_async("the group is current", async || {
        let (_, document) = code(client, "GET", "/apis", &[("accept", AGGREGATED)]).await;
        let document: Value = serde_json::from_str(&document).unwrap();
        let found = document["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == GROUP);
        let current = found.filter(|found| found["versions"][0]["freshness"] == "Current").cloned();
        current.ok_or_else(|| format!("{found:?}"))
    })
    .await
}

/// Waits for a reason of the condition `Available`.
async fn available(admin: &Client, reason: &str) -> Value {
    let service = until(admin, OWN, |service| service["status"]["conditions"][0]["reason"] == reason).await;
    service["status"]["conditions"][0].clone()
}

#[test]
fn a_sample_api_server_works_behind_the_aggregator() {
    with_cluster(async |cluster| {
        let admin = administrator(&cluster).await;
        let sample = SampleServer::start(&cluster, &admin).await;
        sample.register(&admin).await;

        // Objects, through a client that finds the kind by discovery.
        let kind = GroupVersionKind::gvk(GROUP, "v1alpha1", "Flunder");
        let (resource, _) = kube::discovery::pinned_kind(&admin, &kind).await.unwrap();
        assert_eq!(resource, ApiResource { plural: "flunders".to_owned(), ..resource.clone() });
        let flunders: Api<DynamicObject> = Api::default_namespaced_with(admin.clone(), &resource);
        let object: DynamicObject = serde_json::from_value(flunder("test-flunder")).unwrap();
        let made = flunders.create(&PostParams::default(), &object).await.unwrap();
        assert_eq!(made.metadata.resource_version.as_deref(), Some("1"));
        let mut events = flunders.watch(&kube::api::WatchParams::default(), "0").await.unwrap().boxed();
        let patch = Patch::Merge(json!({"spec": {"reference": "b"}}));
        let patched = flunders.patch("test-flunder", &PatchParams::default(), &patch).await.unwrap();
        assert_eq!(patched.data["spec"]["reference"], "b");
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let event = tokio::time::timeout(Duration::from_secs(30), events.next()).await.unwrap().unwrap().unwrap();
            seen.push(match event {
                WatchEvent::Added(object) => ("ADDED", object.data["spec"]["reference"].clone()),
                WatchEvent::Modified(object) => ("MODIFIED", object.data["spec"]["reference"].clone()),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(seen, [("ADDED", json!("a")), ("MODIFIED", json!("b"))]);
        assert_eq!(flunders.list(&ListParams::default()).await.unwrap().items.len(), 1);
        flunders.delete("test-flunder", &Default::default()).await.unwrap();
        assert!(flunders.get_opt("test-flunder").await.unwrap().is_none());

        // Its APIService, as any other object.
        let status = ask(&admin, "GET", &format!("{OWN}/status"), None).await.unwrap();
        assert_eq!(status["status"]["conditions"][0]["type"], "Available");
        let patched = ask(&admin, "PATCH", OWN, Some(json!({"spec": {"versionPriority": 400}}))).await.unwrap();
        assert_eq!(patched["spec"]["versionPriority"], 400);
        let condition = json!({"type": "StatusUpdated", "status": "True", "reason": "E2E", "message": "Set from a test"});
        let conditions = json!({"status": {"conditions": [status["status"]["conditions"][0], condition]}});
        let patched = ask(&admin, "PATCH", &format!("{OWN}/status"), Some(conditions)).await.unwrap();
        assert_eq!(patched["status"]["conditions"][1]["reason"], "E2E");
        ask(&admin, "PATCH", OWN, Some(json!({"metadata": {"labels": {"e2e": "yes"}}}))).await.unwrap();
        let listed = ask(&admin, "GET", &format!("{API_SERVICES}?labelSelector=e2e%3Dyes"), None).await.unwrap();
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
        ask(&admin, "DELETE", &format!("{API_SERVICES}?labelSelector=e2e%3Dyes"), None).await.unwrap();
        until(&admin, "/apis", |groups| !groups["groups"].as_array().unwrap().iter().any(|group| group["name"] == GROUP)).await;
        until_answered(&admin, &[], (404, "")).await;
    });
}

#[test]
fn an_api_server_is_believed_by_the_machines_store_where_there_is_no_bundle() {
    let folder = Folder::new();
    let (store, file) = (folder.path().join("store.pem"), folder.path().join("store.pem"));
    let start = move || Cluster::up_with(&[("SSL_CERT_FILE", &store)]);
    with(start, async |cluster| {
        let admin = administrator(&cluster).await;
        let sample = SampleServer::start(&cluster, &admin).await;
        // The store is read when somebody is to be believed by it.
        std::fs::write(&file, sample.bundle()).unwrap();
        let mut api_service = sample.api_service();
        api_service["spec"].as_object_mut().unwrap().remove("caBundle");
        sample.register_as(&admin, api_service).await;
        until_answered(&admin, &[], (200, "FlunderList")).await;
    });
}

#[test]
fn discovery_and_openapi_have_what_the_sample_api_server_says() {
    with_cluster(async |cluster| {
        let admin = administrator(&cluster).await;
        let sample = SampleServer::start(&cluster, &admin).await;
        sample.register(&admin).await;
        let group = until(&admin, &format!("/apis/{GROUP}"), |group| group["name"] == GROUP).await;
        assert_eq!(group["preferredVersion"]["version"], "v1alpha1");
        // It knows only the plain form.
        let found = until_current(&admin).await;
        let resource = &found["versions"][0]["resources"][0];
        assert_eq!((&resource["resource"], &resource["scope"]), (&json!("flunders"), &json!("Namespaced")));
        assert_eq!(resource["subresources"][0]["subresource"], "echo");

        // Its OpenAPI v2 stands in the whole, and is served as v3 too.
        let kind = "com.example.wardle.v1alpha1.Flunder";
        let v2 = until(&admin, "/openapi/v2", |v2| v2["definitions"][kind].is_object()).await;
        assert!(v2["paths"][format!("{}/{{name}}", FLUNDERS.replace("default", "{namespace}"))].is_object());
        let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        assert!(v2["definitions"][meta]["properties"]["managedFields"].is_object(), "the cluster's own stays");
        let refers = v2["definitions"][kind]["properties"]["metadata"]["$ref"].as_str().unwrap().to_owned();
        assert_eq!(refers, format!("#/definitions/{meta}_v2"));
        assert!(v2["definitions"][format!("{meta}_v2")]["properties"]["clusterName"].is_object());
        let index = ask(&admin, "GET", "/openapi/v3", None).await.unwrap();
        let url = index["paths"]["apis/wardle.example.com/v1alpha1"]["serverRelativeURL"].as_str().unwrap().to_owned();
        let v3 = ask(&admin, "GET", &url, None).await.unwrap();
        assert_eq!(v3["components"]["schemas"][kind]["description"], "A Flunder is what the sample is about.");
    });
}

#[test]
fn the_user_is_told_by_the_front_proxy_and_both_servers_are_asked_what_they_may_do() {
    with_cluster(async |cluster| {
        let admin = administrator(&cluster).await;
        let sample = SampleServer::start(&cluster, &admin).await;
        sample.register(&admin).await;
        // What a client says of itself, and of others, goes nowhere.
        let forged = [("x-remote-user", "root"), ("x-remote-group", "system:masters"), ("x-remote-extra-evil", "1")];
        let jane = [("impersonate-user", "jane"), ("impersonate-group", "devs"), ("impersonate-extra-scopes", "view")];
        let (denied, why) = code(&admin, "GET", FLUNDERS, &[&forged[..], &jane[..]].concat()).await;
        assert_eq!(denied, 403);
        assert!(why.contains("User \\\"jane\\\" cannot list resource \\\"flunders\\\" in API group"), "{why}");
        let role = json!({"metadata": {"name": "flunders"},
            "rules": [{"apiGroups": [GROUP], "resources": ["flunders"], "verbs": ["list"]}]});
        ask(&admin, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", Some(role)).await.unwrap();
        let binding = json!({"metadata": {"name": "flunders"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "flunders"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "devs"}]});
        ask(&admin, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", Some(binding)).await.unwrap();
        until_answered(&admin, &[&forged[..], &jane[..]].concat(), (200, "FlunderList")).await;
        let heard = sample.heard_of("jane");
        let text = |name: &str| heard.get(name).map(String::as_str);
        assert_eq!((text("x-remote-user"), text("x-remote-extra-scopes")), (Some("jane"), Some("view")));
        // Of several headers of one name, the last was noted.
        assert_eq!(text("x-remote-group"), Some("system:authenticated"));
        for gone in ["x-remote-extra-evil", "impersonate-user", "impersonate-group", "authorization"] {
            assert_eq!(text(gone), None, "{gone}");
        }
        // Without the front proxy's certificate nobody gets in.
        let port = sample.service()["spec"]["ports"][0]["targetPort"].to_string();
        let address = sample.slice(true)["endpoints"][0]["addresses"][0].as_str().unwrap().to_owned();
        let direct = tokio::process::Command::new("curl")
            .args(["-ksS", "--max-time", "5", "-H", "x-remote-user: root", &format!("https://{address}:{port}{FLUNDERS}")])
            .output()
            .await
            .unwrap();
        assert!(!direct.status.success(), "{}", String::from_utf8_lossy(&direct.stdout));
    });
}

#[test]
fn a_server_that_cannot_be_reached_is_unavailable_for_the_reason_that_it_is() {
    with_cluster(async |cluster| {
        let admin = administrator(&cluster).await;
        let sample = SampleServer::start(&cluster, &admin).await;
        let services = format!("/api/v1/namespaces/{NAMESPACE}/services");
        let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices");
        let (service, slice) = (format!("{services}/{SERVICE}"), format!("{slices}/{SERVICE}"));
        ask(&admin, "POST", API_SERVICES, Some(sample.api_service())).await.unwrap();
        let condition = available(&admin, "ServiceNotFound").await;
        assert_eq!(
            (&condition["status"], &condition["message"]),
            (&json!("False"), &json!("service/sample-api in \"wardle\" is not present"))
        );
        until_answered(&admin, &[], (503, "service unavailable\n")).await;

        let mut other = sample.service();
        other["spec"]["ports"][0]["port"] = json!(443);
        ask(&admin, "POST", &services, Some(other)).await.unwrap();
        available(&admin, "ServicePortError").await;
        ask(&admin, "DELETE", &service, None).await.unwrap();
        ask(&admin, "POST", &services, Some(sample.service())).await.unwrap();
        available(&admin, "EndpointsNotFound").await;
        ask(&admin, "POST", &slices, Some(sample.slice(false))).await.unwrap();
        available(&admin, "MissingEndpoints").await;
        let ready = json!({"endpoints": sample.slice(true)["endpoints"]});
        ask(&admin, "PATCH", &slice, Some(ready)).await.unwrap();
        available(&admin, "Passed").await;

        // A root that did not sign its certificate, and then none.
        let folder = tempfile::tempdir().unwrap();
        let wrong = base64::engine::general_purpose::STANDARD.encode(Authority::new(folder.path()).pem());
        ask(&admin, "PATCH", OWN, Some(json!({"spec": {"caBundle": wrong}}))).await.unwrap();
        let condition = available(&admin, "FailedDiscoveryCheck").await;
        assert!(condition["message"].as_str().unwrap().starts_with("failing or missing response from https://"), "{condition}");
        let insecure = json!({"spec": {"caBundle": null, "insecureSkipTLSVerify": true}});
        ask(&admin, "PATCH", OWN, Some(insecure)).await.unwrap();
        available(&admin, "Passed").await;
        until_answered(&admin, &[], (200, "FlunderList")).await;

        // The server goes away.
        drop(sample);
        until_answered(&admin, &[], (503, "error trying to reach service: dial tcp")).await;
        available(&admin, "FailedDiscoveryCheck").await;
    });
}

/// Waits until there is nothing at a path.
async fn until_gone(client: &Client, path: &str) {
    eventually_async("it is gone", async || match ask(client, "GET", path, None).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(object) => Err(object.to_string()),
    })
    .await;
}

fn owned_by(owner: &Value) -> Value {
    let metadata = &owner["metadata"];
    json!([{"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"], "uid": metadata["uid"]}])
}

#[test]
fn objects_of_another_server_go_with_their_namespace_and_with_their_owners() {
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    with_cluster(async |cluster| {
        let admin = administrator(&cluster).await;
        let sample = SampleServer::start(&cluster, &admin).await;
        sample.register(&admin).await;
        until_current(&admin).await;

        ask(&admin, "POST", "/api/v1/namespaces", Some(json!({"metadata": {"name": "going"}}))).await.unwrap();
        for name in ["a", "b"] {
            ask(&admin, "POST", &FLUNDERS.replace("default", "going"), Some(flunder(name))).await.unwrap();
        }
        let stays = ask(&admin, "POST", FLUNDERS, Some(flunder("stays"))).await.unwrap();
        ask(&admin, "DELETE", "/api/v1/namespaces/going", None).await.unwrap();
        until_gone(&admin, "/api/v1/namespaces/going").await;
        assert_eq!((sample.names("going"), sample.names("default")), (vec![], vec!["stays".to_owned()]));

        // What is here belongs to what is there, and the other way around.
        let map = |name: &str, owners: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners}});
        ask(&admin, "POST", MAPS, Some(map("dependent", owned_by(&stays)))).await.unwrap();
        let owner = ask(&admin, "POST", MAPS, Some(map("owner", json!([])))).await.unwrap();
        let mut held = flunder("held");
        held["metadata"]["ownerReferences"] = owned_by(&owner);
        ask(&admin, "POST", FLUNDERS, Some(held)).await.unwrap();
        // One whose owner never was goes, and by then the others were looked at: they stay.
        let mut nobodys = owned_by(&stays);
        (nobodys[0]["name"], nobodys[0]["uid"]) = (json!("never"), json!("flunder-0"));
        ask(&admin, "POST", MAPS, Some(map("nobodys", nobodys))).await.unwrap();
        until_gone(&admin, &format!("{MAPS}/nobodys")).await;
        ask(&admin, "GET", &format!("{MAPS}/dependent"), None).await.unwrap();
        ask(&admin, "GET", &format!("{FLUNDERS}/held"), None).await.unwrap();
        ask(&admin, "DELETE", &format!("{MAPS}/owner"), None).await.unwrap();
        until_gone(&admin, &format!("{FLUNDERS}/held")).await;
        ask(&admin, "DELETE", &format!("{FLUNDERS}/stays"), None).await.unwrap();
        until_gone(&admin, &format!("{MAPS}/dependent")).await;
    });
}

#[test]
fn a_namespace_waits_for_a_server_that_does_not_answer() {
    const WAITING: &str = "/api/v1/namespaces/waiting";
    with_cluster(async |cluster| {
        let admin = administrator(&cluster).await;
        let sample = SampleServer::start(&cluster, &admin).await;
        sample.register(&admin).await;
        ask(&admin, "POST", "/api/v1/namespaces", Some(json!({"metadata": {"name": "waiting"}}))).await.unwrap();
        let map = json!({"metadata": {"name": "a"}});
        ask(&admin, "POST", &format!("{WAITING}/configmaps"), Some(map)).await.unwrap();
        drop(sample);
        available(&admin, "FailedDiscoveryCheck").await;
        ask(&admin, "DELETE", WAITING, None).await.unwrap();
        let failed = |namespace: &Value| {
            let conditions = namespace["status"]["conditions"].as_array().into_iter().flatten();
            conditions.into_iter().find(|condition| condition["type"] == "NamespaceDeletionDiscoveryFailure").cloned()
        };
        let namespace = until(&admin, WAITING, |namespace| failed(namespace).is_some_and(|told| told["status"] == "True")).await;
        let told = failed(&namespace).unwrap();
        let version = "wardle.example.com/v1alpha1";
        let why = format!(
            "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: \
             {version}: stale GroupVersion discovery: {version}"
        );
        assert_eq!((&told["reason"], &told["message"]), (&json!("DiscoveryFailed"), &json!(why)));
        // What is known goes, and the namespace once nobody claims to have more.
        until_gone(&admin, &format!("{WAITING}/configmaps/a")).await;
        ask(&admin, "DELETE", OWN, None).await.unwrap();
        until_gone(&admin, WAITING).await;
    });
}
