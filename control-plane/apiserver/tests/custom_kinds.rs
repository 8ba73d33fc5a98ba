//! Custom kinds over TLS, as clients see them.

#[path = "custom_kinds/conversion.rs"]
mod conversion;
mod support;

use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

/// A server on loopback; dropped with the test.
struct Served {
    base: String,
    client: Client,
    shutdown: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Served {
    async fn start() -> Self {
        Self::over(support::server().await.0).await
    }

    async fn over(server: std::sync::Arc<mizzen_apiserver::ApiServer>) -> Self {
        let (certificate, tls) = support::tls();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("https://{}", listener.local_addr().expect("an address"));
        let shutdown = CancellationToken::new();
        tokio::spawn(server.serve(listener, tls, shutdown.clone()));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("a root");
        let config = rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client =
            Client::builder().tls_backend_preconfigured(config).timeout(Duration::from_secs(60)).build().expect("a client");
        Self { base, client, shutdown }
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: String) -> Response {
        let request = self.client.request(method, format!("{}{path}", self.base));
        request.header("content-type", kind).body(body).send().await.expect("an answer")
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.send(Method::GET, path, "application/json", String::new()).await).await
    }

    async fn create(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.send(Method::POST, path, "application/json", body.to_string()).await).await
    }

    async fn put(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.send(Method::PUT, path, "application/json", body.to_string()).await).await
    }

    async fn merge(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.send(Method::PATCH, path, "application/merge-patch+json", body.to_string()).await).await
    }

    async fn apply(&self, path: &str, body: &str) -> (StatusCode, Value) {
        let path = format!("{path}?fieldManager=test&fieldValidation=Strict");
        answer(self.send(Method::PATCH, &path, "application/apply-patch+yaml", body.to_owned()).await).await
    }

    /// Stores a definition and does what the controller does: accepts its names and establishes it.
    async fn define(&self, definition: &Value) {
        let (code, stored) = self.create(DEFINITIONS, definition).await;
        assert_eq!(code, 201, "{stored}");
        self.establish(stored).await;
    }

    async fn establish(&self, mut definition: Value) {
        definition["status"]["acceptedNames"] = definition["spec"]["names"].clone();
        let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "Test", "message": ""});
        definition["status"]["conditions"] = json!([condition("NamesAccepted"), condition("Established")]);
        let name = definition["metadata"]["name"].as_str().expect("a name").to_owned();
        let (code, told) = self.put(&format!("{DEFINITIONS}/{name}/status"), &definition).await;
        assert_eq!(code, 200, "{told}");
    }
}

async fn answer(response: Response) -> (StatusCode, Value) {
    let code = response.status();
    (code, response.json().await.expect("a JSON body"))
}

fn definition(spec_schema: Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": spec_schema,
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                    "labelSelectorPath": ".status.selector"}},
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "additionalPrinterColumns": [
                    {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]}]}})
}

fn widget_schema() -> Value {
    json!({"type": "object", "properties": {
        "color": {"type": "string", "enum": ["red", "blue"]},
        "replicas": {"type": "integer", "minimum": 0, "default": 1},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
            "items": {"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"}, "name": {"type": "string"}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        "x-kubernetes-validations": [
            {"rule": "self.color != 'blue' || self.replicas < 3", "message": "blue ones are few"},
            {"rule": "!has(oldSelf.color) || self.color == oldSelf.color", "message": "color is immutable", "fieldPath": ".color"}]})
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

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
    let mut tries = 0;
    while served.get(WIDGETS).await.0 != 404 {
        tries += 1;
        assert!(tries < 100, "the kind is still served");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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
async fn objects_are_pruned_defaulted_and_checked_in_every_verb() {
    let served = Served::start().await;
    served.define(&definition(widget_schema())).await;
    let object = widget("a", json!({"color": "red", "unknown": 1, "free": {"any": [1]}}));
    let (code, created) = served.create(WIDGETS, &object).await;
    assert_eq!(code, 201, "{created}");
    assert_eq!(created["spec"], json!({"color": "red", "replicas": 1, "free": {"any": [1]}}));
    assert_eq!(created["metadata"]["generation"], 1);
    let (code, told) = served.create(&format!("{WIDGETS}?fieldValidation=Strict"), &object).await;
    assert_eq!(code, 400);
    assert!(
        told["message"].as_str().is_some_and(|m| m.contains("strict decoding error: unknown field \"spec.unknown\"")),
        "{told}"
    );

    for (spec, wrong) in [
        (json!({"color": "green"}), "spec.color: Unsupported value: \"green\": supported values: \"blue\", \"red\""),
        (
            json!({"replicas": "two"}),
            "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
        ),
        (json!({"replicas": -1}), "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0"),
        (json!({"ports": [{"port": 1}, {"port": 1}]}), "spec.ports[1]: Duplicate value: {\"port\":1}"),
        (json!({"ports": [{}]}), "spec.ports[0].port: Required value"),
        (json!({"color": "blue", "replicas": 3}), "spec: Invalid value: \"object\": blue ones are few"),
    ] {
        let (code, told) = served.create(WIDGETS, &widget("wrong", spec)).await;
        assert_eq!(code, 422, "{told}");
        assert_eq!(told["message"], format!("Widget.example.com \"wrong\" is invalid: {wrong}"));
    }

    let path = format!("{WIDGETS}/a");
    let (code, told) = served.merge(&path, &json!({"spec": {"color": "blue"}})).await;
    assert_eq!(
        (code, told["details"]["causes"][0]["field"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("spec.color")),
        "{told}"
    );
    let (code, patched) = served.merge(&path, &json!({"spec": {"replicas": 2}, "status": {"ignored": true}})).await;
    assert_eq!(code, 200, "{patched}");
    assert_eq!((&patched["metadata"]["generation"], patched.get("status")), (&json!(2), None));
    let (_, status) = served
        .merge(&format!("{path}/status"), &json!({"status": {"replicas": 2, "selector": "a=b"}, "spec": {"replicas": 9}}))
        .await;
    assert_eq!(
        (&status["status"]["replicas"], &status["spec"]["replicas"], &status["metadata"]["generation"]),
        (&json!(2), &json!(2), &json!(2))
    );
    let (_, scale) = served.get(&format!("{path}/scale")).await;
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"], &scale["status"]["selector"]),
        (&json!("Scale"), &json!(2), &json!("a=b"))
    );
    let (code, scaled) = served.merge(&format!("{path}/scale"), &json!({"spec": {"replicas": 5}})).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (StatusCode::OK, &json!(5)), "{scaled}");
    let refused = served.send(Method::PATCH, &path, "application/strategic-merge-patch+json", "{}".to_owned()).await;
    assert_eq!(refused.status(), 415);

    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = served.client.get(format!("{}{WIDGETS}", served.base)).header("accept", accept).send().await.expect("an answer");
    let (_, table) = answer(table).await;
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().expect("columns").iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(columns, ["Name", "Color", "Replicas", "Age"]);
    assert_eq!((&table["rows"][0]["cells"][1], &table["rows"][0]["cells"][2]), (&json!("red"), &json!(5)));

    served.create(WIDGETS, &widget("b", json!({"color": "blue"}))).await;
    let (_, found) = served.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dblue")).await;
    let names: Vec<&str> =
        found["items"].as_array().expect("items").iter().filter_map(|i| i["metadata"]["name"].as_str()).collect();
    assert_eq!(names, ["b"]);
    assert_eq!(served.get(&format!("{WIDGETS}?fieldSelector=spec.replicas%3D1")).await.0, 400);
}

#[tokio::test]
async fn apply_merges_by_the_schema_and_refuses_what_is_not_declared() {
    let served = Served::start().await;
    served.define(&definition(widget_schema())).await;
    let path = format!("{WIDGETS}/a");
    let head = "apiVersion: example.com/v1\nkind: Widget\n";
    let (code, told) = served
        .apply(&path, &format!("{head}metadata: {{finalizers: [test-finalizer]}}\nspec:\n  ports: [{{port: 80, name: http}}]\n"))
        .await;
    assert_eq!(code, 201, "{told}");
    let other = format!("{path}?fieldManager=other");
    let body = format!("{head}spec:\n  ports: [{{port: 443, name: https}}]\n");
    let (code, merged) = answer(served.send(Method::PATCH, &other, "application/apply-patch+yaml", body).await).await;
    assert_eq!(code, 200, "{merged}");
    assert_eq!(merged["spec"]["ports"], json!([{"port": 80, "name": "http"}, {"port": 443, "name": "https"}]));
    let body = format!("{head}spec:\n  ports: [{{port: 80, name: changed}}]\n");
    let (code, conflict) = answer(served.send(Method::PATCH, &other, "application/apply-patch+yaml", body).await).await;
    assert_eq!(code, 409, "{conflict}");
    assert!(conflict["message"].as_str().is_some_and(|m| m.contains(".spec.ports[port=80].name")), "{conflict}");

    let (_, told) = served.apply(&path, &format!("{head}unknownField: x\n")).await;
    assert!(told["message"].as_str().is_some_and(|m| m.contains(".unknownField: field not declared in schema")), "{told}");
    let (_, told) = served.apply(&path, &format!("{head}metadata:\n  unknownMeta: x\n")).await;
    assert!(
        told["message"].as_str().is_some_and(|m| m.contains(".metadata.unknownMeta: field not declared in schema")),
        "{told}"
    );
    let (code, told) = served.apply(&path, &format!("{head}spec:\n  color: red\n  color: blue\n")).await;
    assert_eq!(code, 400);
    assert!(told["message"].as_str().is_some_and(|m| m.contains("line 5: key \"color\" already set in map")), "{told}");
}

#[tokio::test]
async fn defaults_reach_stored_objects_and_versions_are_converted() {
    let served = Served::start().await;
    let mut definition = definition(json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}));
    let version = |name: &str, storage: bool, schema: &Value| json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}, "deprecated": name == "v1beta1"});
    let schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    definition["spec"]["versions"] = json!([version("v1beta1", true, &schema), version("v1", false, &schema)]);
    served.define(&definition).await;
    let (code, created) = served.create(WIDGETS, &widget("a", json!({"a": "x"}))).await;
    assert_eq!((code, &created["apiVersion"]), (StatusCode::CREATED, &json!("example.com/v1")), "{created}");
    let old = served
        .send(Method::GET, "/apis/example.com/v1beta1/namespaces/default/widgets/a", "application/json", String::new())
        .await;
    let warning = old.headers().get("warning").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    assert!(warning.contains("example.com/v1beta1 Widget is deprecated"), "{warning}");
    assert_eq!(answer(old).await.1["apiVersion"], "example.com/v1beta1");

    // A default that comes later is seen in what is stored already, and v1 becomes the stored version.
    let patch = json!([
        {"op": "add", "path": "/spec/versions/1/schema/openAPIV3Schema/properties/spec/properties/b/default", "value": "later"},
        {"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]);
    let changed = served
        .send(Method::PATCH, &format!("{DEFINITIONS}/widgets.example.com"), "application/json-patch+json", patch.to_string())
        .await;
    let (code, changed) = answer(changed).await;
    assert_eq!((code, &changed["status"]["storedVersions"]), (StatusCode::OK, &json!(["v1beta1", "v1"])), "{changed}");
    let mut tries = 0;
    let shown = loop {
        let (_, shown) = served.get(&format!("{WIDGETS}/a")).await;
        if shown["spec"]["b"] == "later" || tries == 100 {
            break shown;
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(shown["spec"], json!({"a": "x", "b": "later"}));
    let (_, list) = served.get(WIDGETS).await;
    assert_eq!((&list["items"][0]["spec"]["b"], &list["items"][0]["apiVersion"]), (&json!("later"), &json!("example.com/v1")));
    let (_, groups) = served.get("/apis/example.com").await;
    assert_eq!(groups["preferredVersion"]["version"], "v1");
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

#[tokio::test]
async fn a_write_that_changes_nothing_keeps_the_revision_whatever_the_fields_are_called() {
    let served = Served::start().await;
    let mut definition = definition(widget_schema());
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["access"] = json!({"type": "string"});
    served.define(&definition).await;
    let mut widget = widget("a", json!({"color": "red"}));
    widget["access"] = json!("all");
    let (code, created) = served.create(WIDGETS, &widget).await;
    assert_eq!(code, 201, "{created}");
    let (code, updated) = served.put(&format!("{WIDGETS}/a"), &created).await;
    assert_eq!((code, &updated["metadata"]), (StatusCode::OK, &created["metadata"]));
    let (code, patched) = served.merge(&format!("{WIDGETS}/a"), &json!({"access": "all"})).await;
    assert_eq!((code, &patched["metadata"]["resourceVersion"]), (StatusCode::OK, &created["metadata"]["resourceVersion"]));
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
