//! Revisions, pages and watches, as the API concepts define them.

use std::sync::Arc;

use futures::StreamExt as _;
use mizzen_store::{HISTORY_BYTES, MemoryStore, Store};
use reqwest::Method;
use serde_json::{Value, json};

use crate::served::{Served, frame, served, served_over};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn create(served: &Served, name: &str, labels: Value) -> Value {
    let (code, created) = served.create(CONFIG_MAPS, &json!({"metadata": {"name": name, "labels": labels}})).await;
    assert_eq!(code, 201);
    created
}

#[tokio::test]
async fn parameters_that_do_not_go_together_are_refused() {
    let served = served().await;
    let rows = [
        ("resourceVersionMatch=Exact", "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("resourceVersionMatch=Exact&resourceVersion=0", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""),
        ("resourceVersionMatch=Maybe&resourceVersion=1", "Unsupported value: \"Maybe\""),
        ("resourceVersionMatch=Exact&resourceVersion=1&continue=x", "forbidden when continue is provided"),
        ("sendInitialEvents=false", "sendInitialEvents is forbidden for list"),
        ("watch=1&sendInitialEvents=true", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
        (
            "watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1",
            "forbidden for watch unless sendInitialEvents is provided",
        ),
    ];
    for (query, wanted) in rows {
        let (code, status) = served.get(&format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!((code.as_u16(), &status["reason"]), (422, &json!("Invalid")), "{query}");
        assert!(status["message"].as_str().is_some_and(|message| message.contains(wanted)), "{query}: {status}");
        assert_eq!(status["details"]["kind"], "ListOptions");
    }
    for (query, wanted) in [
        ("resourceVersion=x", "invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing"),
        ("limit=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("timeoutSeconds=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("watch=1&timeoutSeconds=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("continue=%25", "invalid continue token: continue key is not valid: "),
    ] {
        let (code, status) = served.get(&format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!(code, 400, "{query}: {status}");
        assert!(status["message"].as_str().is_some_and(|message| message.starts_with(wanted)), "{query}: {status}");
    }
    assert_eq!(served.get(&format!("{CONFIG_MAPS}?limit=-1&watch=False")).await.0, 200);
    let (code, ahead) = served.get(&format!("{CONFIG_MAPS}?resourceVersion=99999")).await;
    assert_eq!((code.as_u16(), &ahead["details"]["causes"][0]["reason"]), (504, &json!("ResourceVersionTooLarge")));
}

#[tokio::test]
async fn a_list_goes_on_after_its_revision_was_forgotten() {
    let store = Arc::new(MemoryStore::new(HISTORY_BYTES));
    let served = served_over(store.clone()).await;
    for name in ["a", "b", "c"] {
        create(&served, name, json!({})).await;
    }
    let (_, first) = served.get(&format!("{CONFIG_MAPS}?limit=1")).await;
    assert_eq!((&first["items"][0]["metadata"]["name"], &first["metadata"]["remainingItemCount"]), (&json!("a"), &json!(2)));
    let token = first["metadata"]["continue"].as_str().expect("a token").to_owned();
    create(&served, "bb", json!({})).await;
    let (_, consistent) = served.get(&format!("{CONFIG_MAPS}?limit=5&continue={token}")).await;
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().expect("items");
        items.iter().filter_map(|item| item["metadata"]["name"].as_str()).map(str::to_owned).collect()
    };
    assert_eq!(names(&consistent), ["b", "c"]);
    store.compact(store.revision()).await.expect("compacts");
    let (code, expired) = served.get(&format!("{CONFIG_MAPS}?limit=5&continue={token}")).await;
    assert_eq!((code.as_u16(), &expired["reason"]), (410, &json!("Expired")));
    let token = expired["metadata"]["continue"].as_str().expect("a new token").to_owned();
    let (_, rest) = served.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
    assert_eq!(names(&rest), ["b", "bb"]);
    let token = rest["metadata"]["continue"].as_str().expect("one more page");
    let (_, last) = served.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
    assert_eq!((names(&last), last["metadata"].get("continue")), (vec!["c".to_owned()], None));
}

#[tokio::test]
async fn an_object_that_stops_matching_is_deleted_for_who_selects() {
    let served = served().await;
    let created = create(&served, "a", json!({"color": "red"})).await;
    let from = created["metadata"]["resourceVersion"].as_str().expect("a revision");
    let path = format!("{CONFIG_MAPS}?watch=true&labelSelector=color%3Dred&resourceVersion={from}");
    let watch = served.request(Method::GET, &path).send().await.expect("a watch");
    let recolored = served
        .request(Method::PATCH, &format!("{CONFIG_MAPS}/a"))
        .header("content-type", "application/merge-patch+json")
        .body(json!({"metadata": {"labels": {"color": "blue"}}}).to_string())
        .send();
    let (_, recolored) = crate::served::answer(recolored.await.expect("an answer")).await;
    let event = frame(&mut watch.bytes_stream(), &mut Vec::new()).await;
    // The last state that matched, at the revision of the change.
    assert_eq!((&event["type"], &event["object"]["metadata"]["labels"]["color"]), (&json!("DELETED"), &json!("red")));
    assert_eq!(event["object"]["metadata"]["resourceVersion"], recolored["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn all_watchers_see_each_change_in_their_own_way() {
    let served = served().await;
    let created = create(&served, "before", json!({})).await;
    let from = format!("watch=1&resourceVersion={}", created["metadata"]["resourceVersion"].as_str().expect("a revision"));
    let open = async |query: &str, accept: &'static str| {
        let request = served.request(Method::GET, &format!("{CONFIG_MAPS}?{from}{query}")).header("accept", accept);
        request.send().await.expect("a watch").bytes_stream()
    };
    let json = "application/json";
    let mut plain = [open("", json).await, open("", json).await, open("", json).await];
    let mut selected = open("&labelSelector=a%3D1", json).await;
    let mut metadata = open("", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").await;
    let mut messages = [
        open("", "application/vnd.kubernetes.protobuf;stream=watch").await,
        open("", "application/vnd.kubernetes.protobuf;stream=watch").await,
    ];
    create(&served, "m", json!({"a": "1"})).await;
    let one = format!("{CONFIG_MAPS}/m");
    let patch = json!({"metadata": {"labels": {"a": "2"}}}).to_string();
    let patch = served.request(Method::PATCH, &one).header("content-type", "application/merge-patch+json").body(patch);
    let patched = patch.send().await.expect("an answer").json::<Value>().await.expect("JSON");
    assert_eq!(served.request(Method::DELETE, &one).send().await.expect("an answer").status(), 200);

    let seen = |event: &Value| {
        let object = &event["object"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&object["metadata"]["name"]), text(&object["metadata"]["labels"]["a"]))
    };
    let wanted = |rows: &[(&str, &str)]| -> Vec<_> {
        rows.iter().map(|(kind, label)| ((*kind).to_owned(), "m".to_owned(), (*label).to_owned())).collect()
    };
    let all = wanted(&[("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]);
    let mut frames_of_first = Vec::new();
    for stream in &mut plain {
        let (mut rest, mut frames) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            frames.push(frame(stream, &mut rest).await);
        }
        assert_eq!(frames.iter().map(seen).collect::<Vec<_>>(), all);
        // What is deleted is shown with the revision of its deletion.
        assert_eq!(frames[1]["object"], patched);
        assert_ne!(frames[2]["object"]["metadata"]["resourceVersion"], patched["metadata"]["resourceVersion"]);
        frames_of_first = if frames_of_first.is_empty() { frames.clone() } else { frames_of_first };
        assert_eq!(frames, frames_of_first);
    }
    let mut rest = Vec::new();
    let gone = [frame(&mut selected, &mut rest).await, frame(&mut selected, &mut rest).await];
    assert_eq!(gone.iter().map(seen).collect::<Vec<_>>(), wanted(&[("ADDED", "1"), ("DELETED", "1")]));
    let mut rest = Vec::new();
    for wanted in &all {
        let event = frame(&mut metadata, &mut rest).await;
        assert_eq!((seen(&event), &event["object"]["kind"]), (wanted.clone(), &json!("PartialObjectMetadata")));
    }
    let mut bytes = [Vec::new(), Vec::new()];
    for (stream, bytes) in messages.iter_mut().zip(&mut bytes) {
        // The last frame ends with the last object's message, which names it.
        while memchr::memmem::find(bytes, b"DELETED").is_none() || bytes.len() < 300 {
            bytes.extend_from_slice(&stream.next().await.expect("the watch goes on").expect("a chunk"));
        }
    }
    let kinds =
        |bytes: &[u8]| ["ADDED", "MODIFIED", "DELETED"].map(|kind| memchr::memmem::find(bytes, kind.as_bytes()).is_some());
    assert_eq!(bytes.each_ref().map(|bytes| kinds(bytes)), [[true; 3]; 2]);
}
