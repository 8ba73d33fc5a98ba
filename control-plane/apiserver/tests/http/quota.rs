//! Quotas: counted with the write itself.

use reqwest::Method;
use serde_json::{Value, json};

use crate::served::{PODS, Served, answer, served};
use crate::support::pod;

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A quota as its controller has just filled it in.
async fn quota(served: &Served, hard: Value) {
    let unused: serde_json::Map<String, Value> =
        hard.as_object().expect("amounts").keys().map(|name| (name.clone(), json!("0"))).collect();
    let mut quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    assert_eq!(served.create(QUOTAS, &quota).await.0, 201);
    quota["status"] = json!({"hard": hard, "used": unused});
    let request = served.request(Method::PUT, &format!("{QUOTAS}/q/status")).header("content-type", "application/json");
    assert_eq!(answer(request.body(quota.to_string()).send().await.expect("an answer")).await.0, 200);
}

async fn used(served: &Served) -> Value {
    served.get(&format!("{QUOTAS}/q")).await.1["status"]["used"].clone()
}

#[tokio::test]
async fn the_last_place_is_given_once_to_however_many_ask_at_the_same_time() {
    let served = served().await;
    quota(&served, json!({"count/configmaps": "7"})).await;
    let maps: Vec<Value> = (0..20).map(|index| json!({"metadata": {"name": format!("m{index}")}})).collect();
    let answers = futures::future::join_all(maps.iter().map(|map| served.create(CONFIG_MAPS, map))).await;
    let stored = answers.iter().filter(|(code, _)| *code == 201).count();
    assert_eq!(stored, 7);
    let why = "exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=7, limited: count/configmaps=7";
    for (code, status) in answers.iter().filter(|(code, _)| *code != 201) {
        assert_eq!(*code, 403, "{status}");
        assert!(status["message"].as_str().is_some_and(|message| message.ends_with(why)), "{status}");
    }
    assert_eq!(used(&served).await, json!({"count/configmaps": "7"}));
}

#[tokio::test]
async fn what_is_not_stored_is_not_charged() {
    let served = served().await;
    quota(&served, json!({"configmaps": "1"})).await;
    let map = json!({"metadata": {"name": "m"}});
    assert_eq!(served.create(&format!("{CONFIG_MAPS}?dryRun=All"), &map).await.0, 201);
    assert_eq!(used(&served).await, json!({"configmaps": "0"}));
    assert_eq!(served.create(CONFIG_MAPS, &map).await.0, 201);
    assert_eq!(used(&served).await, json!({"configmaps": "1"}));
    let more = json!({"metadata": {"name": "n"}});
    assert_eq!(served.create(&format!("{CONFIG_MAPS}?dryRun=All"), &more).await.0, 403);
}

#[tokio::test]
async fn a_pod_is_charged_for_what_it_asks_and_has_to_say_it() {
    let served = served().await;
    quota(&served, json!({"pods": "5", "requests.cpu": "1", "limits.cpu": "2"})).await;
    let (code, status) = served.create(PODS, &pod("p")).await;
    assert_eq!(code, 403);
    let why = "failed quota: q: must specify limits.cpu for: main; requests.cpu for: main";
    assert_eq!(status["message"], format!("pods \"p\" is forbidden: {why}"));
    let asking = |name: &str, cpu: &str| {
        let mut pod = pod(name);
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}, "limits": {"cpu": "1"}});
        pod
    };
    assert_eq!(served.create(PODS, &asking("p", "600m")).await.0, 201);
    assert_eq!(used(&served).await, json!({"pods": "1", "requests.cpu": "600m", "limits.cpu": "1"}));
    let (code, status) = served.create(PODS, &asking("o", "500m")).await;
    let why = "exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1";
    assert_eq!((code.as_u16(), &status["message"]), (403, &json!(format!("pods \"o\" is forbidden: {why}"))));
}
