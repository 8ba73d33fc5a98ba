//! Bodies that are made to hurt: each is answered clearly, in bounded time and memory, and nothing else is disturbed.
//!
//! Time and memory are those of the process: the bounds hold where each test has one of its own, as nextest gives it. By
//! `cargo test`, what other tests take counts too.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::served::{PODS, Served, answer, served};
use crate::support::eventually;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// What the server says of it may be no longer, in bytes.
const LONGEST_ANSWER: usize = 8 << 20;
/// Of the processor, for one body, in seconds; what takes the square of a million would take hours.
const LONGEST: f64 = 20.0;
/// By the clock, on a machine that has more to do.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of this process, in bytes.
const MOST_MEMORY: u64 = 2 << 30;

/// What this process has had of the processor, in seconds.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // User and system time, in hundredths (proc(5), fields 14 and 15).
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}

/// The most memory that this process has had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("has a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
}

/// `[item,item,…]`, filled in with numbers where it has a `#`.
fn list(item: &str, count: usize) -> String {
    let mut text = String::with_capacity(count * (item.len() + 1));
    for number in 0..count {
        let _ = write!(text, ",{}", item.replace('#', &number.to_string()));
    }
    format!("[{}]", &text[1..])
}

/// The same as the fields of an object.
fn fields(field: &str, count: usize) -> String {
    let list = list(field, count);
    format!("{{{}}}", &list[1..list.len() - 1])
}

struct Case {
    what: &'static str,
    method: Method,
    path: String,
    media_type: &'static str,
    body: Vec<u8>,
    codes: &'static [u16],
}

fn case(what: &'static str, path: &str, body: String, codes: &'static [u16]) -> Case {
    Case { what, method: Method::POST, path: path.to_owned(), media_type: JSON, body: body.into_bytes(), codes }
}

fn patch(what: &'static str, path: &str, media_type: &'static str, body: String, codes: &'static [u16]) -> Case {
    Case { method: Method::PATCH, media_type, ..case(what, path, body, codes) }
}

fn pod_with(spec: &str) -> String {
    format!(r#"{{"metadata":{{"generateName":"p"}},"spec":{{"containers":[{{"name":"c","image":"i"}}],{spec}}}}}"#)
}

fn container_with(fields: &str) -> String {
    format!(r#"{{"metadata":{{"generateName":"p"}},"spec":{{"containers":[{{"name":"c","image":"i",{fields}}}]}}}}"#)
}

fn metadata_with(fields: &str) -> String {
    format!(r#"{{"metadata":{{"generateName":"p",{fields}}}}}"#)
}

fn definition_with(schema: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"things.hostile.example"}},"spec":{{"group":"hostile.example","scope":"Cluster",
        "names":{{"plural":"things","kind":"Thing"}},"versions":[{{"name":"v1","served":true,"storage":true,
        "schema":{{"openAPIV3Schema":{schema}}}}}]}}}}"#
    )
}

/// A pod as protobuf whose spec has so many containers of which nothing is said.
fn containers_as_protobuf(count: usize) -> Vec<u8> {
    let varint = |mut number: usize| {
        let mut bytes = Vec::new();
        while number > 0x7f {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2][..], &varint(bytes.len()), bytes].concat();
    let spec = [0x12, 0x00].repeat(count);
    let type_meta = [field(1, b"v1"), field(2, b"Pod")].concat();
    [&b"k8s\0"[..], &field(1, &type_meta), &field(2, &field(2, &spec))].concat()
}

/// Sends everything one after the other, and says what was answered otherwise than it should be.
async fn send(served: &Served, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for Case { what, method, path, media_type, body, codes } in cases {
        assert!(body.len() <= 3 << 20, "{what} has {} bytes", body.len());
        let (before, bytes) = (processor(), body.len());
        let request = served.request(method, &path).header("content-type", media_type).timeout(PATIENCE);
        let response = request.body(body).send().await;
        let response = response.unwrap_or_else(|error| panic!("{what} is not answered: {error:?}"));
        let code = response.status().as_u16();
        let warnings: usize = response.headers().get_all("warning").iter().map(http::HeaderValue::len).sum();
        let text = response.text().await.expect("text");
        let (took, peak) = (processor() - before, peak());
        println!("{what}: {bytes} bytes, {code}, {took:.1} s, answered {} bytes, peak {} MiB", text.len(), peak >> 20);
        let is_fine = codes.contains(&code) && took < LONGEST && text.len() < LONGEST_ANSWER && warnings < 8 << 10;
        if !is_fine || peak > MOST_MEMORY {
            let begin: String = text.chars().take(300).collect();
            wrong.push(format!("{what}: {code}, {took:.1} s, {} bytes, peak {} MiB: {begin}", text.len(), peak >> 20));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let ready = served.request(Method::GET, "/readyz").send().await.expect("an answer");
    assert_eq!(ready.text().await.expect("text"), "ok");
}

const MILLION: usize = 1_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_a_million_entries_is_refused() {
    let served = served().await;
    let protobuf = Case {
        media_type: "application/vnd.kubernetes.protobuf",
        body: containers_as_protobuf(MILLION),
        ..case("as protobuf", PODS, String::new(), &[413])
    };
    let one = format!("{PODS}/none");
    let empty = container_with(&format!(r#""args":{}"#, list("\"\"", MILLION - 1000)));
    let cases = vec![
        protobuf,
        case("objects", PODS, pod_with(&format!(r#""volumes":{}"#, list("{}", MILLION))), &[413]),
        case("lists", CONFIG_MAPS, format!(r#"{{"data":{}}}"#, list("[]", MILLION)), &[413]),
        case("numbers", PODS, container_with(&format!(r#""args":{}"#, list("1", MILLION))), &[413]),
        case("texts", PODS, empty, &[413]),
        case("nothing but a list", PODS, list("{}", MILLION), &[413]),
        Case { media_type: "application/yaml", ..case("as YAML", PODS, format!("a: {}", list("1", MILLION)), &[413]) },
        patch("operations", &one, "application/json-patch+json", list("{}", MILLION), &[404, 413]),
        patch("applied", &format!("{one}?fieldManager=a"), APPLY, list("{}", MILLION), &[413]),
    ];
    send(&served, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_entry_of_a_long_list_may_be_wrong() {
    let served = served().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let many = list("{}", 30_000);
    let mut cases = Vec::new();
    for field in ["volumes", "tolerations", "hostAliases", "topologySpreadConstraints"] {
        cases.push(case(field, PODS, pod_with(&format!(r#""{field}":{many}"#)), &[422]));
    }
    for field in ["ports", "env", "volumeMounts"] {
        cases.push(case(field, PODS, container_with(&format!(r#""{field}":{many}"#)), &[422]));
    }
    let finalizers = format!(r#""finalizers":{}"#, list("\"\"", 450_000));
    cases.extend([
        case("containers", PODS, format!(r#"{{"metadata":{{"name":"p"}},"spec":{{"containers":{many}}}}}"#), &[422]),
        case("finalizers", CONFIG_MAPS, metadata_with(&finalizers), &[422]),
        case("owners", CONFIG_MAPS, metadata_with(&format!(r#""ownerReferences":{many}"#)), &[422]),
        case("managed fields", CONFIG_MAPS, metadata_with(&format!(r#""managedFields":{many}"#)), &[201, 422]),
        case("rules", roles, format!(r#"{{"metadata":{{"name":"r"}},"rules":{many}}}"#), &[422]),
        case("subjects", bindings, format!(r#"{{"metadata":{{"name":"b"}},"subjects":{many}}}"#), &[422]),
        case("endpoints", slices, format!(r#"{{"metadata":{{"name":"e"}},"addressType":"IPv4","endpoints":{many}}}"#), &[422]),
        case(
            "ports of a service",
            "/api/v1/namespaces/default/services",
            format!(r#"{{"metadata":{{"name":"s"}},"spec":{{"ports":{many}}}}}"#),
            &[422],
        ),
    ]);
    send(&served, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_to_differ_is_compared_in_bounded_time() {
    let served = served().await;
    let made = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    assert_eq!(served.create(DEPLOYMENTS, &made).await.0, 201);
    let one = format!("{DEPLOYMENTS}/d");
    let in_template = |containers: &str| {
        format!(
            r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"d"}},"spec":{{"template":{{"spec":{{"containers":{containers}}}}}}}}}"#
        )
    };
    let named = list(r##"{"name":"c#","image":"i"}"##, 15_000);
    let volumes = list(r##"{"name":"v#","emptyDir":{}}"##, 20_000);
    let mounts = list(r##"{"name":"v#","mountPath":"/#"}"##, 20_000);
    let mounted = format!(
        r#"{{"metadata":{{"name":"p"}},"spec":{{"containers":[{{"name":"c","image":"i","volumeMounts":{mounts}}}],"volumes":{volumes}}}}}"#
    );
    let spread = list(r##"{"maxSkew":1,"topologyKey":"k#","whenUnsatisfiable":"DoNotSchedule"}"##, 20_000);
    let values = list(r##""v#""##, 100_000);
    let expression = format!(
        r#"{{"metadata":{{"name":"e"}},"spec":{{"selector":{{"matchExpressions":[{{"key":"a","operator":"In","values":{values}}}]}},
        "template":{{"metadata":{{"labels":{{"a":"v1"}}}},"spec":{{"containers":[{{"name":"c","image":"i"}}]}}}}}}}}"#
    );
    let ports = list(r##"{"containerPort":#}"##, 30_000);
    let services = list(r##"{"name":"p#","port":#}"##, 30_000);
    let owners = list(r##"{"apiVersion":"v1","kind":"Pod","name":"p#","uid":"#"}"##, 30_000);
    let finalizers = list(r##""a.b/f#""##, 60_000);
    let applied = |metadata: &str| format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"m",{metadata}}}}}"#);
    let map = format!("{CONFIG_MAPS}/m");
    let by = |path: &str| format!("{path}?fieldManager=a&force=true");
    let cases = vec![
        case("containers", PODS, format!(r#"{{"metadata":{{"name":"p"}},"spec":{{"containers":{named}}}}}"#), &[201, 413, 422]),
        case("mounts", PODS, mounted, &[201, 413, 422]),
        case("constraints", PODS, pod_with(&format!(r#""topologySpreadConstraints":{spread}"#)), &[201, 413, 422]),
        case("values", DEPLOYMENTS, expression, &[201, 413, 422]),
        case("ports", PODS, container_with(&format!(r#""ports":{ports}"#)), &[201, 413, 422]),
        case(
            "ports of a service",
            "/api/v1/namespaces/default/services",
            format!(r#"{{"metadata":{{"name":"s"}},"spec":{{"selector":{{"a":"b"}},"ports":{services}}}}}"#),
            &[201, 413, 422],
        ),
        case("owners", CONFIG_MAPS, metadata_with(&format!(r#""ownerReferences":{owners}"#)), &[201, 413, 422]),
        patch("strategic merge", &one, STRATEGIC, in_template(&named), &[200, 413, 422]),
        patch("the same again", &one, STRATEGIC, in_template(&named), &[200, 413, 422]),
        patch("apply", &by(&one), APPLY, in_template(&named), &[200, 413, 422]),
        patch("apply finalizers", &by(&map), APPLY, applied(&format!(r#""finalizers":{finalizers}"#)), &[201, 413, 422]),
        patch("apply them again", &by(&map), APPLY, applied(&format!(r#""finalizers":{finalizers}"#)), &[200, 201, 413, 422]),
        patch("apply others", &by(&map), APPLY, applied(r#""finalizers":["a.b/c"]"#), &[200, 201, 413, 422]),
    ];
    send(&served, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_labels_and_fields_are_taken_or_told_of_shortly() {
    let served = served().await;
    let labels = fields(r##""l#":"v""##, 10_000);
    let unknown = fields(r##""u#":1"##, 200_000);
    let twice = fields(r#""a":1"#, 400_000);
    let long = "k".repeat(1 << 20);
    let below_long = |inner: &str| format!(r#"{{"{long}":{inner}}}"#);
    let schema = |properties: &str| definition_with(&format!(r#"{{"type":"object","properties":{properties}}}"#));
    let strict = format!("{CONFIG_MAPS}?fieldValidation=Strict");
    let ignored = format!("{CONFIG_MAPS}?fieldValidation=Ignore");
    let map = |name: &str, fields: &str| format!(r#"{{"metadata":{{"name":"{name}"}},{}"#, &fields[1..]);
    let all = fields(r##""k#":"""##, 200_000);
    let cases = vec![
        case("labels", CONFIG_MAPS, format!(r#"{{"metadata":{{"name":"labelled","labels":{labels}}}}}"#), &[201]),
        patch(
            "labels applied",
            &format!("{CONFIG_MAPS}/applied?fieldManager=a"),
            APPLY,
            format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"applied","labels":{labels}}}}}"#),
            &[201],
        ),
        case("unknown fields", CONFIG_MAPS, map("unknown", &unknown), &[201, 413]),
        case("unknown fields, strictly", &strict, map("strict", &unknown), &[400]),
        case("unknown fields, ignored", &ignored, map("ignored", &unknown), &[201, 413]),
        case("a field again and again", CONFIG_MAPS, map("twice", &twice), &[201]),
        case(
            "the same below a long name",
            CONFIG_MAPS,
            format!(r#"{{"metadata":{{"name":"long"}},"x":{}}}"#, below_long(&fields(r#""a":1"#, 250_000))),
            &[201, 400],
        ),
        case(
            "unknown fields below a long name",
            DEFINITIONS,
            schema(&below_long(&unknown[..2_000_000].rsplit_once(',').map_or(String::new(), |(begin, _)| format!("{begin}}}")))),
            &[422, 400, 201],
        ),
        case(
            "schemas below a long name",
            DEFINITIONS,
            schema(&below_long(&format!(r#"{{"type":"object","properties":{}}}"#, fields(r##""p#":{}"##, 90_000)))),
            &[422],
        ),
        case("keys of a map", CONFIG_MAPS, format!(r#"{{"metadata":{{"name":"keys"}},"data":{all}}}"#), &[201, 422]),
    ];
    send(&served, cases).await;
    let (code, selected) = served.get(&format!("{CONFIG_MAPS}?labelSelector=l9999=v,l1")).await;
    assert_eq!((code.as_u16(), selected["items"].as_array().map(Vec::len)), (200, Some(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_custom_kinds_are_checked_in_bounded_time() {
    let served = served().await;
    let mut definition: Value = serde_json::from_str(&definition_with(
        r#"{"type":"object","properties":{"spec":{"type":"object","properties":{
            "set":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}},
            "map":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],
                "items":{"type":"object","required":["k"],"properties":{"k":{"type":"integer"},"v":{"type":"string","default":"x"}}}},
            "by":{"type":"object","additionalProperties":{"type":"array","items":{"type":"object","properties":{"a":{"type":"integer"}}}}},
            "free":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}}"#,
    ))
    .expect("JSON");
    assert_eq!(served.create(DEFINITIONS, &definition).await.0, 201);
    let things = "/apis/hostile.example/v1/things";
    // What its controller would say.
    definition["metadata"] = json!({"name": "things.hostile.example"});
    definition["status"]["acceptedNames"] =
        json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"});
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "Test", "message": ""});
    definition["status"]["conditions"] = json!([condition("NamesAccepted"), condition("Established")]);
    let told = served.request(Method::PATCH, &format!("{DEFINITIONS}/things.hostile.example/status"));
    let told = told.header("content-type", "application/merge-patch+json").body(definition.to_string());
    assert_eq!(told.send().await.expect("an answer").status(), 200);
    eventually("the kind", async || match served.get(things).await {
        (code, _) if code == 200 => Ok(()),
        (_, status) => Err(status.to_string()),
    })
    .await;
    let thing = |name: &str, spec: &str| {
        format!(r#"{{"apiVersion":"hostile.example/v1","kind":"Thing","metadata":{{"name":"{name}"}},"spec":{spec}}}"#)
    };
    let long = "k".repeat(1 << 20);
    let below_long = |inner: &str| format!(r#"{{"by":{{"{long}":{inner}}}}}"#);
    let keyed = list(r##"{"k":#}"##, 20_000);
    let set = list(r##""s#""##, 50_000);
    let one = |name: &str| format!("{things}/{name}?fieldManager=a&force=true");
    let cases = vec![
        case("items below a long name", things, thing("items", &below_long(&list("{}", 90_000))), &[201, 413]),
        case("wrong items below a long name", things, thing("wrong", &below_long(&list("0", 450_000))), &[422]),
        case("unknown fields below a long name", things, thing("unknown", &below_long(&list(r#"{"x":1}"#, 90_000))), &[201, 413]),
        case("a set", things, thing("set", &format!(r#"{{"set":{set}}}"#)), &[201, 413]),
        case("the same in a set", things, thing("same", &format!(r#"{{"set":{}}}"#, list("\"\"", 450_000))), &[422]),
        case("a map", things, thing("map", &format!(r#"{{"map":{keyed}}}"#)), &[201, 413]),
        case("anything", things, thing("free", &format!(r#"{{"free":{{"a":{}}}}}"#, list("1", 450_000))), &[201, 413]),
        patch("a set applied", &one("set2"), APPLY, thing("set2", &format!(r#"{{"set":{set}}}"#)), &[201, 413]),
        patch("a map applied", &one("map2"), APPLY, thing("map2", &format!(r#"{{"map":{keyed}}}"#)), &[201, 413]),
        patch("and taken back", &one("map2"), APPLY, thing("map2", "{}"), &[200, 201]),
        patch(
            "free applied",
            &one("free2"),
            APPLY,
            thing("free2", &format!(r#"{{"free":{}}}"#, fields(r##""k#":1"##, 200_000))),
            &[201, 413],
        ),
    ];
    send(&served, cases).await;
}

#[tokio::test]
async fn what_nests_too_deep_is_refused_in_every_form() {
    let served = served().await;
    let yaml = "application/yaml";
    let deep =
        |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(100_000), close.repeat(100_000)).into_bytes();
    let bomb = (1..30).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let reference = format!("*a{}", level - 1);
        text + &format!("a{level}: &a{level} [{}]\n", [reference.as_str(); 10].join(", "))
    });
    let block: Vec<u8> = (0..1500).flat_map(|level| format!("{}a:\n", " ".repeat(level)).into_bytes()).collect();
    for (what, media_type, body) in [
        ("lists", JSON, deep("[", "", "]")),
        ("objects", JSON, deep("{\"a\":", "1", "}")),
        ("flow", yaml, deep("[", "", "]")),
        ("mappings", yaml, deep("{a: ", "1", "}")),
        ("sequences", yaml, "- ".repeat(100_000).into_bytes()),
        ("blocks", yaml, block),
        ("a bomb", yaml, bomb.into_bytes()),
        ("tags", yaml, "!!a ".repeat(100_000).into_bytes()),
    ] {
        let response = served.request(Method::POST, CONFIG_MAPS).header("content-type", media_type).body(body).send();
        let response = response.await.unwrap_or_else(|error| panic!("{what} is not answered: {error}"));
        let (code, status) = answer(response).await;
        assert_eq!((code.as_u16(), &status["kind"]), (400, &json!("Status")), "{what}: {status}");
    }
    // As deep as can be read, and by a patch one deeper than could be read back.
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let kinds = json!({"metadata": {"name": "m"}, "data": {}});
    assert_eq!(served.create(CONFIG_MAPS, &kinds).await.0, 201);
    let operations: Vec<Value> = (0..300)
        .map(|level| json!({"op": "add", "path": format!("/x{}", "/0".repeat(level)), "value": [1]}))
        .chain([json!({"op": "test", "path": "/metadata/name", "value": "m"})])
        .collect();
    for (media_type, body) in [
        ("application/json-patch+json", json!(operations)),
        ("application/merge-patch+json", json!({"x": nested(124)})),
        (STRATEGIC, json!({"x": nested(124)})),
    ] {
        let request = served.request(Method::PATCH, &format!("{CONFIG_MAPS}/m")).header("content-type", media_type);
        let (code, status) = answer(request.body(body.to_string()).send().await.expect("an answer")).await;
        assert!((200..500).contains(&code.as_u16()), "{media_type}: {status}");
        let (code, read) = served.get(&format!("{CONFIG_MAPS}/m")).await;
        assert_eq!((code.as_u16(), &read["metadata"]["name"]), (200, &json!("m")), "{media_type}");
    }
}

#[tokio::test]
async fn more_than_three_mebibytes_are_not_read() {
    let served = served().await;
    let whole = vec![b' '; (3 << 20) + 1];
    let chunks = futures::stream::iter((0..4).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 20])));
    for (method, path, media_type, body) in [
        (Method::POST, PODS.to_owned(), JSON, reqwest::Body::from(whole.clone())),
        (Method::POST, PODS.to_owned(), JSON, reqwest::Body::wrap_stream(chunks)),
        (Method::PUT, format!("{PODS}/p"), JSON, whole.clone().into()),
        (Method::PATCH, format!("{PODS}/p"), APPLY, whole.clone().into()),
        (Method::PATCH, format!("{PODS}/p"), STRATEGIC, whole.clone().into()),
        (Method::DELETE, format!("{PODS}/p"), JSON, whole.into()),
        // A client that is still sending hears of it, too.
        (Method::POST, PODS.to_owned(), JSON, vec![b' '; 24 << 20].into()),
    ] {
        let response = served.request(method.clone(), &path).header("content-type", media_type).body(body).send();
        let (code, status) = answer(response.await.expect("an answer")).await;
        assert_eq!((code.as_u16(), &status["reason"]), (413, &json!("RequestEntityTooLarge")), "{method} {path}: {status}");
        assert_eq!(status["message"], "Request entity too large: limit is 3145728");
    }
}
