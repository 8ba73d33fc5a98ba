//! Protobuf, compression, and the shapes that clients ask for.

use std::time::Duration;

use futures::StreamExt as _;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::served::{PODS, Served, answer, served};
use crate::support::pod;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn accepting(served: &Served, method: Method, path: &str, accept: &str) -> Response {
    served.request(method, path).header("accept", accept).send().await.expect("an answer")
}

fn content_type(response: &Response) -> String {
    response.headers()["content-type"].to_str().expect("text").to_owned()
}

async fn bytes(response: Response) -> Vec<u8> {
    response.bytes().await.expect("a body").to_vec()
}

#[tokio::test]
async fn what_is_sent_as_protobuf_comes_back_as_json_and_as_protobuf() {
    let served = served().await;
    let map = json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "v"}});
    assert_eq!(served.create(CONFIG_MAPS, &map).await.0, 201);
    let got = accepting(&served, Method::GET, &format!("{CONFIG_MAPS}/a"), &format!("{PROTOBUF},application/json")).await;
    assert_eq!(content_type(&got), PROTOBUF);
    let body = bytes(got).await;
    assert!(body.starts_with(b"k8s\0"));
    // The same bytes are taken back, as client-go sends an update.
    let put = served.request(Method::PUT, &format!("{CONFIG_MAPS}/a")).header("content-type", PROTOBUF).body(body.clone());
    let (code, back) = answer(put.send().await.expect("an answer")).await;
    assert_eq!((code.as_u16(), &back["data"], &back["metadata"]["labels"]), (200, &json!({"k": "v"}), &json!({"x": "y"})));
    let again = accepting(&served, Method::GET, &format!("{CONFIG_MAPS}/a"), PROTOBUF).await;
    assert_eq!(bytes(again).await, body);
    let listed = accepting(&served, Method::GET, CONFIG_MAPS, PROTOBUF).await;
    let length = listed.content_length().expect("a length");
    let list = bytes(listed).await;
    assert_eq!(list.len() as u64, length);
    assert!(list.windows(13).any(|window| window == b"ConfigMapList"));
    // A failure is told in the same encoding.
    let missing = accepting(&served, Method::GET, &format!("{CONFIG_MAPS}/zz"), PROTOBUF).await;
    assert_eq!((missing.status().as_u16(), content_type(&missing)), (404, PROTOBUF.to_owned()));
    assert!(bytes(missing).await.windows(9).any(|window| window == b"not found"));
}

#[tokio::test]
async fn a_watch_in_protobuf_is_frames_with_their_length() {
    let served = served().await;
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion=1");
    let watch = accepting(&served, Method::GET, &path, "application/vnd.kubernetes.protobuf;stream=watch").await;
    assert_eq!(content_type(&watch), "application/vnd.kubernetes.protobuf;stream=watch");
    assert_eq!(served.create(CONFIG_MAPS, &json!({"metadata": {"name": "seen"}})).await.0, 201);
    let (mut stream, mut got) = (watch.bytes_stream(), Vec::new());
    let frame = loop {
        if let Some((length, rest)) = got.split_first_chunk::<4>()
            && rest.len() >= u32::from_be_bytes(*length) as usize
        {
            break rest[..u32::from_be_bytes(*length) as usize].to_vec();
        }
        let chunk = tokio::time::timeout(Duration::from_secs(10), stream.next()).await.expect("a frame in time");
        got.extend_from_slice(&chunk.expect("the watch goes on").expect("a chunk"));
    };
    assert!(frame.starts_with(b"\x0a\x05ADDED"), "{}", frame.escape_ascii());
    assert!(frame.windows(4).any(|window| window == b"k8s\0") && frame.windows(4).any(|window| window == b"seen"));
    let yaml = accepting(&served, Method::GET, &path, "application/yaml").await;
    assert_eq!(yaml.status(), 406);
}

#[tokio::test]
async fn metadata_and_tables_come_in_every_form_that_is_asked() {
    let served = served().await;
    assert_eq!(served.create(PODS, &pod("p")).await.0, 201);
    let one = format!("{PODS}/p");
    let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    assert_eq!(content_type(&accepting(&served, Method::GET, &one, metadata).await), PROTOBUF);
    let beta = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1beta1";
    let (_, list) = answer(accepting(&served, Method::GET, PODS, beta).await).await;
    assert_eq!(
        (&list["apiVersion"], &list["items"][0]["apiVersion"]),
        (&json!("meta.k8s.io/v1beta1"), &json!("meta.k8s.io/v1beta1"))
    );
    assert_eq!(accepting(&served, Method::GET, &one, beta).await.status(), 406);
    let single = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    assert_eq!(accepting(&served, Method::GET, PODS, single).await.status(), 406);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for (include, kind) in [("None", Value::Null), ("Metadata", json!("PartialObjectMetadata")), ("Object", json!("Pod"))] {
        let (_, shown) = answer(accepting(&served, Method::GET, &format!("{PODS}?includeObject={include}"), table).await).await;
        assert_eq!(shown["rows"][0]["object"]["kind"], kind, "{include}");
    }
    let posted = served.request(Method::POST, PODS).header("accept", table).json(&pod("q")).send().await.expect("an answer");
    assert_eq!(answer(posted).await.1["kind"], "Table");
    let unsupported =
        accepting(&served, Method::GET, PODS, "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!(unsupported.status(), 406);
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_accepts_it() {
    let served = served().await;
    for index in 0..40 {
        let map = json!({"metadata": {"name": format!("c{index}")}, "data": {"x": "y".repeat(5000)}});
        assert_eq!(served.create(CONFIG_MAPS, &map).await.0, 201);
    }
    let get = |path: String| served.request(Method::GET, &path).header("accept-encoding", "gzip").send();
    let large = get(CONFIG_MAPS.to_owned()).await.expect("an answer");
    assert_eq!(large.headers()["content-encoding"], "gzip");
    let packed = bytes(large).await;
    assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() < 50_000);
    let small = get(format!("{CONFIG_MAPS}/c1")).await.expect("an answer");
    assert!(small.headers().get("content-encoding").is_none());
}

const CBOR: &str = "application/cbor";

/// Text as Kubernetes writes it, in bytes; documents begin with their tag.
fn cbor(value: &Value) -> Vec<u8> {
    let mut bytes = vec![0xd9, 0xd9, 0xf7];
    ciborium::into_writer(value, &mut bytes).expect("is written");
    bytes
}

/// What a CBOR item says as JSON.
fn json_of(item: ciborium::Value) -> Value {
    match item {
        ciborium::Value::Tag(55799, item) => json_of(*item),
        ciborium::Value::Bytes(bytes) => json!(String::from_utf8(bytes).expect("UTF-8")),
        ciborium::Value::Array(items) => items.into_iter().map(json_of).collect(),
        ciborium::Value::Map(entries) => {
            let text = |key: ciborium::Value| json_of(key).as_str().expect("a key").to_owned();
            Value::Object(entries.into_iter().map(|(key, value)| (text(key), json_of(value))).collect())
        }
        other => other.deserialized().expect("a plain value"),
    }
}

fn read(bytes: &mut &[u8]) -> Value {
    assert!(bytes.starts_with(&[0xd9, 0xd9, 0xf7]), "every document says what it is");
    json_of(ciborium::from_reader(bytes).expect("an item"))
}

#[tokio::test]
async fn who_speaks_cbor_is_answered_in_it() {
    let served = served().await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let send = async |method: Method, path: &str, kind: &str, value: &Value| {
        let request = served.request(method, path).header("content-type", kind).header("accept", CBOR);
        request.body(cbor(value)).send().await.expect("an answer")
    };
    let created = send(Method::POST, CONFIG_MAPS, CBOR, &map).await;
    assert_eq!((created.status().as_u16(), content_type(&created)), (201, CBOR.to_owned()));
    let created = read(&mut bytes(created).await.as_slice());
    assert_eq!((&created["data"], &created["kind"]), (&json!({"k": "v"}), &json!("ConfigMap")));
    let (_, stored) = served.get(&format!("{CONFIG_MAPS}/a")).await;
    assert_eq!(created, stored, "the same in JSON");

    let list = accepting(&served, Method::GET, CONFIG_MAPS, CBOR).await;
    let length = list.content_length().expect("a length");
    let list = bytes(list).await;
    assert_eq!(list.len() as u64, length);
    let list = read(&mut list.as_slice());
    assert_eq!((&list["kind"], &list["items"][0]["data"]), (&json!("ConfigMapList"), &json!({"k": "v"})));

    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"m": "n"}});
    let path = format!("{CONFIG_MAPS}/a?fieldManager=tester");
    let applied = send(Method::PATCH, &path, "application/apply-patch+cbor", &applied).await;
    assert_eq!(applied.status(), 200);
    assert_eq!(read(&mut bytes(applied).await.as_slice())["data"], json!({"k": "v", "m": "n"}));

    let missing = accepting(&served, Method::GET, &format!("{CONFIG_MAPS}/zz"), CBOR).await;
    assert_eq!((missing.status().as_u16(), content_type(&missing)), (404, CBOR.to_owned()));
    assert_eq!(read(&mut bytes(missing).await.as_slice())["reason"], "NotFound");
    let broken = served.request(Method::POST, CONFIG_MAPS).header("content-type", CBOR).body(vec![0xa1, 0x61]);
    assert_eq!(answer(broken.send().await.expect("an answer")).await.0, 400);
}

#[tokio::test]
async fn a_watch_in_cbor_is_one_document_after_the_other() {
    let served = served().await;
    for asked in ["application/cbor-seq", CBOR] {
        let watch = accepting(&served, Method::GET, &format!("{CONFIG_MAPS}?watch=true&resourceVersion=1"), asked).await;
        assert_eq!(content_type(&watch), "application/cbor-seq");
    }
    let watch = accepting(&served, Method::GET, &format!("{CONFIG_MAPS}?watch=true"), "application/cbor-seq").await;
    for name in ["a", "b"] {
        assert_eq!(served.create(CONFIG_MAPS, &json!({"metadata": {"name": name}})).await.0, 201);
    }
    let (mut stream, mut got, mut seen) = (watch.bytes_stream(), Vec::new(), Vec::new());
    while seen.len() < 2 {
        let chunk = tokio::time::timeout(Duration::from_secs(10), stream.next()).await.expect("an event in time");
        got.extend_from_slice(&chunk.expect("the watch goes on").expect("a chunk"));
        seen.clear();
        let mut rest = got.as_slice();
        while let Ok(item) = ciborium::from_reader::<ciborium::Value, _>(&mut rest) {
            seen.push(json_of(item));
        }
    }
    let told: Vec<(&Value, &Value)> = seen.iter().map(|event| (&event["type"], &event["object"]["metadata"]["name"])).collect();
    assert_eq!(told, [(&json!("ADDED"), &json!("a")), (&json!("ADDED"), &json!("b"))]);
}
