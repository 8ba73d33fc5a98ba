//! The event recorder against an API that remembers what was written.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mizzen_api::{GroupVersionResource, Object, Reason, Status, Verb};
use mizzen_client::{ApiRequest, ApiResponse, Body, Client, Discovery, ListOptions, ObjectList, WatchOptions, WatchStream};
use mizzen_reconcile::{ManualClock, Recorder, reference};
use parking_lot::Mutex;
use serde_json::Value;

/// What was asked, as verb, namespace, name and body.
#[derive(Default)]
struct Api {
    written: Mutex<Vec<(Verb, String, String, Value)>>,
    /// Patches answer NotFound, as when the event has expired.
    expired: Mutex<bool>,
    /// How many writes are under way, and how many were at most.
    under_way: Mutex<(usize, usize)>,
}

#[async_trait]
impl Client for Api {
    async fn get(&self, _: &GroupVersionResource, _: &str, _: &str) -> Result<Arc<Object>, Status> {
        Err(Status::internal("not scripted"))
    }

    async fn list(&self, _: &GroupVersionResource, _: &str, _: &ListOptions) -> Result<ObjectList, Status> {
        Err(Status::internal("not scripted"))
    }

    async fn watch(&self, _: &GroupVersionResource, _: &str, _: &WatchOptions) -> Result<WatchStream, Status> {
        Err(Status::internal("not scripted"))
    }

    async fn write(&self, request: ApiRequest) -> Result<ApiResponse, Status> {
        let Body::Value(body) = request.body else { return Err(Status::bad_request("a value is expected")) };
        {
            let mut under_way = self.under_way.lock();
            under_way.0 += 1;
            under_way.1 = under_way.1.max(under_way.0);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.under_way.lock().0 -= 1;
        self.written.lock().push((request.verb, request.namespace, request.name, body));
        if request.verb == Verb::Patch && *self.expired.lock() {
            return Err(Status::new(Reason::NotFound, "expired"));
        }
        Ok(ApiResponse { code: 200, object: Arc::new(Object::new(&b"{}"[..], 1)), warnings: Vec::new() })
    }

    async fn discover(&self) -> Result<Arc<Discovery>, Status> {
        Err(Status::internal("not scripted"))
    }
}

fn metadata(name: &str, namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: namespace.map(str::to_owned),
        uid: Some("u".into()),
        ..ObjectMeta::default()
    }
}

async fn settled(api: &Api, count: usize) -> Vec<(Verb, String, String, Value)> {
    let wait = async {
        while api.written.lock().len() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the events are written");
    api.written.lock().clone()
}

#[tokio::test(start_paused = true)]
async fn a_repeated_event_counts_up_and_an_expired_one_is_made_anew() {
    let api = Arc::new(Api::default());
    let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_000).expect("in range")));
    let recorder = Recorder::start(api.clone(), clock.clone(), "tester", "");
    let pod = reference(&Pod { metadata: metadata("web", Some("team")), ..Pod::default() });
    recorder.warning(&pod, "Failed", "no image");
    recorder.normal(&pod, "Pulled", "got it");
    settled(&api, 2).await;
    clock.advance(Duration::from_secs(5));
    recorder.warning(&pod, "Failed", "no image");
    let written = settled(&api, 3).await;
    let (verb, namespace, name, first) = &written[0];
    assert_eq!((*verb, namespace.as_str(), name.as_str()), (Verb::Create, "team", ""));
    assert_eq!(
        (&first["type"], &first["count"], &first["involvedObject"]["kind"]),
        (&"Warning".into(), &1.into(), &"Pod".into())
    );
    assert_eq!(first["lastTimestamp"], "1970-01-01T00:16:40Z");
    let (verb, _, name, again) = &written[2];
    assert_eq!((*verb, name.as_str()), (Verb::Patch, first["metadata"]["name"].as_str().expect("has a name")));
    assert_eq!((&again["count"], &again["lastTimestamp"]), (&2.into(), &"1970-01-01T00:16:45Z".into()));
    *api.expired.lock() = true;
    recorder.warning(&pod, "Failed", "no image");
    let written = settled(&api, 5).await;
    assert_eq!((written[3].0, written[4].0), (Verb::Patch, Verb::Create));
    assert_eq!(written[4].3["count"], 1);
}

#[tokio::test(start_paused = true)]
async fn events_about_cluster_scoped_objects_live_in_default() {
    let api = Arc::new(Api::default());
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let recorder = Recorder::start(api.clone(), clock, "tester", "n1");
    recorder.normal(&reference(&Node { metadata: metadata("n1", None), ..Node::default() }), "Starting", "here");
    let (_, namespace, _, event) = settled(&api, 1).await.remove(0);
    assert_eq!((namespace.as_str(), &event["source"]["host"]), ("default", &"n1".into()));
}

#[tokio::test(start_paused = true)]
async fn thousands_of_events_are_all_written_one_by_one_until_no_more_come() {
    let api = Arc::new(Api::default());
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let recorder = Recorder::start(api.clone(), clock, "tester", "");
    let record = |number: usize| {
        let pod = Pod { metadata: metadata(&format!("web-{number}"), Some("team")), ..Pod::default() };
        recorder.normal(&reference(&pod), "Scheduled", "placed");
    };
    for number in 0..5_000 {
        record(number);
        if number % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(api.under_way.lock().1, 1);
    let written = settled(&api, 5_000).await;
    assert_eq!(api.under_way.lock().1, 16);
    let names: std::collections::HashSet<_> = written.iter().map(|(_, _, _, event)| event["metadata"]["name"].as_str()).collect();
    assert_eq!(names.len(), 5_000);
}

#[tokio::test(start_paused = true)]
async fn what_differs_in_its_message_only_becomes_one_event_that_counts_up() {
    let api = Arc::new(Api::default());
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let recorder = Recorder::start(api.clone(), clock, "tester", "");
    let pod = reference(&Pod { metadata: metadata("web", Some("team")), ..Pod::default() });
    for turn in 1..=11 {
        recorder.warning(&pod, "Unhealthy", format!("probe failed: {turn}"));
        settled(&api, turn).await;
    }
    let written = settled(&api, 11).await;
    assert!(written[..10].iter().all(|(verb, ..)| *verb == Verb::Create));
    assert_eq!(written[9].3["message"], "(combined from similar events): probe failed: 10");
    let (verb, _, name, last) = &written[10];
    assert_eq!((*verb, Some(name.as_str())), (Verb::Patch, written[9].3["metadata"]["name"].as_str()));
    assert_eq!((&last["message"], &last["count"]), (&"(combined from similar events): probe failed: 11".into(), &2.into()));
}
