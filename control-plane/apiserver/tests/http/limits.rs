//! What the cluster and a namespace's rules make of the pods and claims that clients create.

use reqwest::Method;
use serde_json::{Value, json};

use crate::served::{PODS, Served, answer, served};
use crate::support::pod;

const RANGES: &str = "/api/v1/namespaces/default/limitranges";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const PRIORITY_CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
const RUNTIME_CLASSES: &str = "/apis/node.k8s.io/v1/runtimeclasses";

async fn send(served: &Served, method: Method, path: &'static str, body: Value) -> (u16, Value) {
    let request = served.request(method, path).header("content-type", "application/json").body(body.to_string());
    let (code, value) = answer(request.send().await.expect("an answer")).await;
    (code.as_u16(), value)
}

async fn post(served: &Served, path: &'static str, body: Value) -> (u16, Value) {
    send(served, Method::POST, path, body).await
}

fn pod_with(name: &str, field: &str, value: Value) -> Value {
    let mut pod = pod(name);
    pod["spec"][field] = value;
    pod
}

fn pod_asking(name: &str, resources: Value) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["resources"] = resources;
    pod
}

#[tokio::test]
async fn a_limit_range_fills_in_and_bounds_what_containers_ask_for() {
    let served = served().await;
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [{
        "type": "Container", "min": {"cpu": "50m", "memory": "100Mi"}, "max": {"cpu": "500m", "memory": "500Mi"},
        "default": {"cpu": "500m", "memory": "500Mi"}, "defaultRequest": {"cpu": "100m", "memory": "200Mi"},
    }]}});
    assert_eq!(post(&served, RANGES, range).await.0, 201);
    let (code, filled) = post(&served, PODS, pod("plain")).await;
    assert_eq!(code, 201, "{filled}");
    let given = json!({"requests": {"cpu": "100m", "memory": "200Mi"}, "limits": {"cpu": "500m", "memory": "500Mi"}});
    assert_eq!(filled["spec"]["containers"][0]["resources"], given);
    assert_eq!(filled["status"]["qosClass"], "Burstable", "the class follows from what it asks for in the end");
    let set = "LimitRanger plugin set: cpu, memory request for container main; cpu, memory limit for container main";
    assert_eq!(filled["metadata"]["annotations"]["kubernetes.io/limit-ranger"], set);

    let (code, partial) = post(&served, PODS, pod_asking("partial", json!({"limits": {"cpu": "300m"}}))).await;
    assert_eq!(code, 201, "{partial}");
    let given = json!({"requests": {"cpu": "300m", "memory": "200Mi"}, "limits": {"cpu": "300m", "memory": "500Mi"}});
    assert_eq!(partial["spec"]["containers"][0]["resources"], given);

    for (resources, why) in [
        (json!({"requests": {"cpu": "10m"}}), "minimum cpu usage per Container is 50m, but request is 10m"),
        (json!({"limits": {"cpu": "600m"}}), "maximum cpu usage per Container is 500m, but limit is 600m"),
    ] {
        let (code, status) = post(&served, PODS, pod_asking("refused", resources)).await;
        assert_eq!((code, &status["reason"]), (403, &json!("Forbidden")));
        assert_eq!(status["message"], format!("pods \"refused\" is forbidden: {why}"));
    }
}

#[tokio::test]
async fn a_limit_range_bounds_claims() {
    let served = served().await;
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [
        {"type": "PersistentVolumeClaim", "max": {"storage": "2Gi"}},
    ]}});
    assert_eq!(post(&served, RANGES, range).await.0, 201);
    let claim = |name: &str, storage: &str| {
        json!({"metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}},
        }})
    };
    assert_eq!(post(&served, CLAIMS, claim("small", "1Gi")).await.0, 201);
    let (code, status) = post(&served, CLAIMS, claim("big", "3Gi")).await;
    assert_eq!(code, 403);
    let why = "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi";
    assert_eq!(status["message"], format!("persistentvolumeclaims \"big\" is forbidden: {why}"));
}

#[tokio::test]
async fn a_priority_class_gives_pods_their_priority_and_one_of_them_is_the_default() {
    let served = served().await;
    let (code, status) = post(&served, PODS, pod_with("p", "priorityClassName", json!("high"))).await;
    let missing = "pods \"p\" is forbidden: no PriorityClass with name high was found";
    assert_eq!((code, &status["message"]), (403, &json!(missing)));
    let class =
        |name: &str, value: i64, default: bool| json!({"metadata": {"name": name}, "value": value, "globalDefault": default});
    let mut never = class("high", 1000, false);
    never["preemptionPolicy"] = json!("Never");
    assert_eq!(post(&served, PRIORITY_CLASSES, never).await.0, 201);
    let (code, high) = post(&served, PODS, pod_with("p", "priorityClassName", json!("high"))).await;
    assert_eq!((code, &high["spec"]["priority"], &high["spec"]["preemptionPolicy"]), (201, &json!(1000), &json!("Never")));

    assert_eq!(post(&served, PODS, pod("before")).await.1["spec"]["priority"], 0);
    assert_eq!(post(&served, PRIORITY_CLASSES, class("usual", 5, true)).await.0, 201);
    let usual = post(&served, PODS, pod("after")).await.1;
    assert_eq!((&usual["spec"]["priority"], &usual["spec"]["priorityClassName"]), (&json!(5), &json!("usual")));
    let (code, status) = post(&served, PRIORITY_CLASSES, class("second", 6, true)).await;
    assert_eq!(code, 403);
    let why = "PriorityClass usual is already marked as default. Only one default can exist";
    assert_eq!(status["message"], format!("priorityclasses.scheduling.k8s.io \"second\" is forbidden: {why}"));
}

#[tokio::test]
async fn a_pod_needs_the_runtime_class_it_names_and_bears_its_overhead() {
    let served = served().await;
    let asks = |name: &str| pod_with(name, "runtimeClassName", json!("wasm"));
    let refused = json!("pods \"p\" is forbidden: pod rejected: RuntimeClass \"wasm\" not found");
    let (code, status) = post(&served, PODS, asks("p")).await;
    assert_eq!((code, &status["message"]), (403, &refused));
    let class = json!({"metadata": {"name": "wasm"}, "handler": "wasm", "overhead": {"podFixed": {"memory": "16Mi"}},
        "scheduling": {"nodeSelector": {"wasm": "yes"}, "tolerations": [{"key": "wasm", "operator": "Exists"}]}});
    assert_eq!(post(&served, RUNTIME_CLASSES, class).await.0, 201);
    let (code, admitted) = post(&served, PODS, asks("p")).await;
    assert_eq!(code, 201, "{admitted}");
    assert_eq!(admitted["spec"]["overhead"], json!({"memory": "16Mi"}));
    assert_eq!(admitted["spec"]["nodeSelector"], json!({"wasm": "yes"}));
    assert!(admitted["spec"]["tolerations"].as_array().is_some_and(|all| all.iter().any(|one| one["key"] == "wasm")));
    let deleted = send(&served, Method::DELETE, "/apis/node.k8s.io/v1/runtimeclasses/wasm", Value::Null).await;
    assert_eq!(deleted.0, 200);
    let (code, status) = post(&served, PODS, asks("p")).await;
    assert_eq!((code, &status["message"]), (403, &refused), "the class is gone");
}
